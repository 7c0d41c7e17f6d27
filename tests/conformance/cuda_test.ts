/** Owns the proof that the whole CUDA backend, on emulated GPUs, computes what the CPU's and transformers compute. */
import assert from "node:assert/strict";
import { tinyConfig } from "../support/checkpoint_config.ts";
import { cosine, relativeError } from "../support/errors.ts";
import { emulatedTest, keptRows, onNative, type OpenGolden } from "../support/golden_engine.ts";
import { type Golden, goldenRows, loadGoldens } from "../support/goldens.ts";
import { withNativeEngine } from "../support/native_engine.ts";
import { describePictures } from "../support/picture_answers.ts";

/**
 * Of a row of logits. What lies between two operations is bf16 here and fp32 on the CPU, so the error of bf16 weights
 * (1 - 0.9998 in these models) about doubles.
 */
const MIN_COSINE = 0.9993;
/** Between two ways to compute the same row, relative to its largest value: roundings fall otherwise. */
const MAX_SHIFT = 0.03;
/** Of a log-probability against that of the CPU's bf16 on the trained model. */
const MAX_LOGIT_ERROR = 0.02;

const CUDA = { device: "cuda", dtype: "bf16" } as const;

async function assertParity(golden: Golden, { driver, prompts }: OpenGolden): Promise<void> {
  for (const [i, expected] of golden.prompts.entries()) {
    const rows = await keptRows(driver, prompts[i]!, expected);
    goldenRows(expected.logits).forEach((row, k) => {
      const got = cosine(rows[k]!, row);
      assert.ok(got >= MIN_COSINE, `prompt ${i} position ${expected.logit_positions[k]}: cosine ${got}`);
    });
  }
}

for (const golden of loadGoldens()) {
  emulatedTest(
    `${golden.name}: logits on an emulated GPU point where transformers' fp32 logits do`,
    () =>
      onNative(golden, CUDA, async (open) => {
        assert.equal(open.engine.info.device, "cuda");
        assert.match(open.engine.info.isa, /^sm_\d+$/);
        await assertParity(golden, open);
      }),
  );
}

emulatedTest("heads of a size that the kernels do not take are refused by name, before memory is taken", async () => {
  const config = tinyConfig({ decoder: { hidden_size: 48 } });
  await assert.rejects(
    withNativeEngine({ config, seed: 1 }, CUDA, () => Promise.resolve()),
    /attention's heads have 12 values, expected a multiple of 8 up to 128/,
  );
});

emulatedTest("a row is near what it is alone, whatever it is batched with and however its prompt is cut", async () => {
  for (const name of ["base", "gqa_7_as_1b", "vision_6b"]) {
    const golden = loadGoldens().find((one) => one.name === name)!;
    await onNative(golden, CUDA, async ({ driver, prompts }) => {
      const alone: { ids: number[]; rows: Float32Array[] }[] = [];
      for (const prompt of prompts) {
        const { ids, rows } = await driver.generateTogether([prompt], 6, [Infinity]);
        alone.push({ ids: ids[0]!, rows: rows[0]! });
      }
      const chunks = prompts.map((_, i) => 3 + 4 * i);
      const { ids, rows } = await driver.generateTogether([...prompts, ...prompts], 6, [...chunks, ...chunks]);
      rows.forEach((own, i) => {
        const expected = alone[i % prompts.length]!;
        for (const [k, row] of own.entries()) {
          const error = relativeError(row, expected.rows[k]!);
          assert.ok(error <= MAX_SHIFT, `${name}, sequence ${i}, token ${k}: ${error} off`);
          // Behind a choice that was close the tokens are others.
          if (ids[i]![k] !== expected.ids[k]) break;
        }
      });
    });
  }
});

emulatedTest("the embedded model says on an emulated GPU what it says on the CPU", async () => {
  const cpu = await describePictures({ device: "cpu", dtype: "bf16" });
  const cuda = await describePictures(CUDA);
  assert.ok(cpu.ids.flat().length > 40, "the answers are whole ones");
  assert.deepEqual(cuda.ids, cpu.ids);
  cuda.rows.flat().forEach((row, i) => {
    const error = relativeError(row, cpu.rows.flat()[i]!);
    assert.ok(error <= MAX_LOGIT_ERROR, `token ${i}: logits are ${error} off`);
  });
});
