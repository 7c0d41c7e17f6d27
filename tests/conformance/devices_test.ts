/** Owns the proof that a model split over virtual devices computes the same bits as on one, and that bad splits reject. */
import assert from "node:assert/strict";
import type { Dtype, EngineOptions } from "../../gpu-worker/engine/types.ts";
import { splitLayers } from "../../gpu-worker/plan/split_layers.ts";
import { tinyConfig } from "../support/checkpoint_config.ts";
import { keptRows, nativeTest, onNative } from "../support/golden_engine.ts";
import { type Golden, loadGoldens } from "../support/goldens.ts";
import { openNative, withNativeEngine } from "../support/native_engine.ts";

const goldens = loadGoldens();
/** Eight layers: on six devices each but the last has its own, and the last layer is on the first again. */
const MODELS = ["deep", "text_only", "base"].map((name) => goldens.find((golden) => golden.name === name)!);

/** Kept rows of every prompt, and ids generated in chunks, on so many devices. */
async function runOn(golden: Golden, dtype: Dtype, numDevices: number) {
  const out: { rows: Float32Array[]; ids: number[] }[] = [];
  await onNative(golden, { dtype, numDevices }, async ({ engine, driver, prompts }) => {
    const split = splitLayers(golden.config.llm_config.num_hidden_layers, numDevices);
    assert.equal(engine.info.numDevices, Math.max(...split) + 1);
    assert.ok(engine.info.numKvBlocks * engine.info.kvBlockSize >= engine.info.trainedLength);
    for (const [i, prompt] of prompts.entries()) {
      const rows = await keptRows(driver, prompt, golden.prompts[i]!);
      out.push({ rows, ids: await driver.generate(prompt, 20, { temperature: 1, seed: 5n }, 7) });
    }
  });
  return out;
}

for (const golden of MODELS) {
  for (const dtype of ["fp32", "bf16", "int8", "nf4"] as const) {
    nativeTest(`${golden.name}: ${dtype} results on 2 to 6 virtual devices are those on one, bit for bit`, async () => {
      const one = await runOn(golden, dtype, 1);
      for (const numDevices of [2, 3, 6]) {
        assert.deepEqual(await runOn(golden, dtype, numDevices), one, `${numDevices} devices`);
      }
    });
  }
}

nativeTest("splits that are none are refused", async () => {
  const checkpoint = { config: tinyConfig(), seed: 1 };
  for (const numDevices of [0, 1.5, -1, 65]) {
    await assert.rejects(withNativeEngine(checkpoint, { numDevices }, () => Promise.resolve()), /Cannot split layers/);
  }
  for (const layerDevices of [Int32Array.of(0), Int32Array.of(0, 64), Int32Array.of(-1, 0), [0, 0]]) {
    const options = { layerDevices } as Partial<EngineOptions>;
    await assert.rejects(withNativeEngine(checkpoint, options, () => Promise.resolve()), /layerDevices/);
  }
  await assert.rejects(openNative(undefined as unknown as EngineOptions), /options/);
});
