/** Owns the proof that a sequence's results on the native engine depend on its own tokens alone, bit for bit. */
import assert from "node:assert/strict";
import type { Generated } from "../support/engine_driver.ts";
import {
  keptRows,
  nativeTest,
  type NativeVariant,
  onNative,
  onReference,
  type OpenGolden,
} from "../support/golden_engine.ts";
import { type Golden, loadGoldens } from "../support/goldens.ts";
import { inFp16 } from "../support/random_checkpoint.ts";
import { wholeBlocks } from "../support/quantise.ts";

const NUM_TOKENS = 24;

function assertSameBits(rows: readonly Float32Array[], expected: readonly Float32Array[], what: string): void {
  assert.equal(rows.length, expected.length);
  rows.forEach((row, i) => {
    const bits = new Uint32Array(expected[i]!.buffer);
    assert.ok(new Uint32Array(row.buffer).every((word, k) => word === bits[k]), `${what}, row ${i}: other bits`);
  });
}

/**
 * All prompts twice in one batch, against each alone: with whole prefills, and with unlike chunks, so that prefill and
 * decode of different sequences share steps.
 */
async function assertBatchInvariance({ driver, prompts }: OpenGolden): Promise<void> {
  const alone: Generated[] = [];
  for (const prompt of prompts) alone.push(await driver.generateTogether([prompt], NUM_TOKENS, [Infinity]));
  for (const chunks of [prompts.map(() => Infinity), prompts.map((_, i) => 3 + 4 * i)]) {
    const { ids, rows } = await driver.generateTogether([...prompts, ...prompts], NUM_TOKENS, [...chunks, ...chunks]);
    ids.forEach((got, i) => {
      const own = alone[i % prompts.length]!;
      assert.deepEqual(got, own.ids[0], `ids of sequence ${i}, chunks ${chunks}`);
      assertSameBits(rows[i]!, own.rows[0]!, `sequence ${i}, chunks ${chunks}`);
    });
  }
}

/** Decoding resumed on a prefill over prompt and ids so far goes on as if it had never stopped. */
async function assertResume({ driver, prompts }: OpenGolden): Promise<void> {
  const sampling = { temperature: 1.5, topP: 0.95, topK: 40, seed: 77n };
  for (const prompt of prompts) {
    const whole = await driver.generate(prompt, NUM_TOKENS, sampling);
    const soFar = whole.slice(0, NUM_TOKENS / 2);
    const resumed = {
      tokenIds: [...prompt.tokenIds, ...soFar],
      embeddingRows: [...prompt.embeddingRows, ...soFar.map(() => -1)],
      promptLength: prompt.tokenIds.length,
    };
    assert.deepEqual([...soFar, ...await driver.generate(resumed, NUM_TOKENS / 2, sampling)], whole);
  }
}

const goldens = loadGoldens();
const base = goldens.find(({ name }) => name === "base")!;

for (const golden of [...goldens, wholeBlocks(base)]) {
  for (const dtype of ["fp32", "bf16", "fp16", "int8", "nf4"] as const) {
    nativeTest(
      `${golden.name}: ${dtype} results do not depend on the batch, on chunks, or on a resume`,
      () =>
        onNative(golden, { dtype }, async (open) => {
          await assertBatchInvariance(open);
          await assertResume(open);
        }),
    );
  }
}

for (const golden of [base, goldens.find(({ name }) => name === "tied_head")!, wholeBlocks(base)]) {
  for (const dtype of ["bf16", "int8", "nf4"] as const) {
    nativeTest(
      `${golden.name}: ${dtype} results with an int8 head do not depend on the batch or on chunks`,
      () => onNative(golden, { dtype, headDtype: "int8" }, assertBatchInvariance),
    );
  }
}

Deno.test("base: the plain reference engine's results do not depend on the batch or on chunks", () =>
  onReference(base, assertBatchInvariance));

/** The kept rows of a golden's first and last prompt on a variant of the engine; nothing where it refuses a feature. */
async function rowsOn(golden: Golden, variant: NativeVariant): Promise<Float32Array[]> {
  const rows: Float32Array[] = [];
  await onNative(golden, variant, async ({ driver, prompts }) => {
    for (const i of [0, prompts.length - 1]) rows.push(...await keptRows(driver, prompts[i]!, golden.prompts[i]!));
  });
  return rows;
}

const VARIANTS: readonly Omit<NativeVariant, "dtype">[] = [
  { storage: "F32" },
  { numShards: 3 },
  { layout: "transformers_v4" },
  { layout: "transformers_v5", storage: "F32", numShards: 2 },
  { numThreads: 1 },
  { numThreads: 3 },
];

for (const dtype of ["fp32", "bf16", "fp16", "int8"] as const) {
  nativeTest(`base: ${dtype} logits are the same bits from fp16 files and from files of mixed types`, async () => {
    const expected = await rowsOn(base, { dtype, storage: "F32", change: inFp16 });
    for (const variant of [{ storage: "F16" }, { storage: "mixed" }, { storage: "mixed", numShards: 4 }] as const) {
      assertSameBits(await rowsOn(base, { dtype, ...variant, change: inFp16 }), expected, JSON.stringify(variant));
    }
  });
}

const some = goldens.filter(({ name }) => ["base", "tied_head", "vision_6b", "gqa_7_as_1b"].includes(name));

for (const golden of [...some, wholeBlocks(base)]) {
  for (const dtype of ["fp32", "bf16", "int8", "nf4"] as const) {
    nativeTest(
      `${golden.name}: ${dtype} logits are the same bits in every layout, storage, sharding and number of threads`,
      async () => {
        const expected = await rowsOn(golden, { dtype });
        for (const variant of VARIANTS) {
          // Transformers' layout holds q, k and v of the tower apart, and 4-bit scales are offset tensor by tensor.
          if (dtype === "nf4" && variant.layout !== undefined) continue;
          assertSameBits(await rowsOn(golden, { dtype, ...variant }), expected, JSON.stringify(variant));
        }
      },
    );
  }
}
