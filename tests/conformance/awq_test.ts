/** Owns the proof that an AWQ checkpoint runs as the weights that it stands for, and that others are refused by name. */
import assert from "node:assert/strict";
import type { Dtype, Engine } from "../../gpu-worker/engine/types.ts";
import { awqDequantised, writeAwqCheckpoint } from "../support/awq_checkpoint.ts";
import { EngineDriver, textPrompt } from "../support/engine_driver.ts";
import { nativeTest } from "../support/golden_engine.ts";
import { loadGoldens } from "../support/goldens.ts";
import { withNativeEngine } from "../support/native_engine.ts";
import { wholeBlocks } from "../support/quantise.ts";

const { config, seed } = wholeBlocks(loadGoldens().find(({ name }) => name === "base")!);
const GROUP = 64;

/** Runs `use` on an engine of an AWQ checkpoint in a folder of its own. */
function withAwq(
  dtype: Dtype,
  use: (engine: Engine) => Promise<void>,
  change: { settings?: Record<string, unknown>; drop?: string } = {},
): Promise<void> {
  const write = (folder: string) => writeAwqCheckpoint(folder, { config, seed, group: GROUP, ...change });
  return withNativeEngine(write, { dtype }, use);
}

async function logits(engine: Engine): Promise<Float32Array[]> {
  const driver = new EngineDriver(engine);
  const rows: Float32Array[] = [];
  for (const length of [1, 7, 40]) {
    const sequence = driver.add(textPrompt(Array.from({ length }, (_, i) => (7 * i + 3) % engine.info.vocabSize)));
    rows.push(...(await driver.logits([{ sequence, numTokens: length }]))[0]!);
    driver.free(sequence);
  }
  return rows;
}

for (const dtype of ["bf16", "fp16", "fp32"] as const) {
  nativeTest(`${dtype}: logits of an AWQ checkpoint are the bits of one with the dequantised values`, async () => {
    let expected: Float32Array[] = [];
    const change = (tensor: Parameters<typeof awqDequantised>[0]) => awqDequantised(tensor, GROUP);
    await withNativeEngine({ config, seed, storage: "F32", change }, { dtype }, async (engine) => {
      expected = await logits(engine);
    });
    await withAwq(dtype, async (engine) => {
      assert.match(engine.info.dtypeNote ?? "", /awq/);
      assert.deepEqual(await logits(engine), expected);
    });
  });
}

nativeTest("what is not AWQ as it is published is refused by its name", async () => {
  const refused = (settings: Record<string, unknown>, expected: RegExp, dtype: Dtype = "bf16") =>
    assert.rejects(withAwq(dtype, () => Promise.resolve(), { settings }), expected);
  await refused({ quant_method: "gptq" }, /quantization_config\.quant_method is "gptq"/);
  await refused({ version: "gemv" }, /quantization_config\.version is "gemv"/);
  await refused({ bits: 8 }, /quantization_config\.bits is 8/);
  await refused({ zero_point: false }, /quantization_config\.zero_point is false/);
  await refused({ group_size: 32 }, /quantization_config\.group_size is 32/);
  await refused({ group_size: 128 }, /q_proj\.qweight.*columns in groups of 128/);
  for (const dtype of ["int8", "nf4", "fp4"] as const) await refused({}, /quantised already \(awq\)/, dtype);
});

nativeTest("a tensor that an AWQ layer lacks is named", async () => {
  for (const part of ["qweight", "qzeros", "scales"]) {
    const drop = `language_model.model.layers.0.mlp.down_proj.${part}`;
    await assert.rejects(withAwq("bf16", () => Promise.resolve(), { drop }), new RegExp(drop));
  }
});
