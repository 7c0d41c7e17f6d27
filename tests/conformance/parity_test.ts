/** Owns the proof that engines compute what transformers computes, on every golden: fp32 close, bf16 and fp16 near. */
import assert from "node:assert/strict";
import type { EngineInfo } from "../../gpu-worker/engine/types.ts";
import { type ChatConfig, contextLength, tokensPerTile } from "../support/checkpoint_config.ts";
import { cosine, relativeError } from "../support/errors.ts";
import { keptRows, nativeTest, onNative, onReference, type OpenGolden } from "../support/golden_engine.ts";
import { type Golden, goldenRows, loadGoldens } from "../support/goldens.ts";

/** Over a row of logits; see `relativeError`. */
const MAX_RELATIVE_ERROR = 1e-4;
const MIN_ROUNDED_COSINE = 0.9995;
/** Of a log-probability, which is a number of order 1 to 10. */
const MAX_LOGPROB_ERROR = 2e-3;

/** log softmax of `row` at `id`. */
function logprob(row: Float32Array, id: number): number {
  return -Math.log(row.reduce((sum, value) => sum + Math.exp(value - row[id]!), 0));
}

function assertInfo(info: EngineInfo, config: ChatConfig): void {
  assert.equal(info.tileSize, config.force_image_size);
  assert.equal(info.tokensPerTile, tokensPerTile(config));
  assert.equal(info.vocabSize, config.llm_config.vocab_size);
  assert.equal(info.hiddenSize, config.llm_config.hidden_size);
  assert.equal(info.trainedLength, config.llm_config.max_position_embeddings);
  assert.equal(info.contextLength, contextLength(config));
  assert.ok(info.numKvBlocks * info.kvBlockSize >= info.trainedLength);
}

/** Kept logits within the error, and all greedy ids, for prefills in each chunk size. */
async function assertFp32Parity(golden: Golden, open: OpenGolden, chunks: readonly number[]): Promise<void> {
  const { driver, prompts } = open;
  assert.equal(driver.info.dtype, "fp32");
  assertInfo(driver.info, golden.config);
  for (const [i, expected] of golden.prompts.entries()) {
    const rows = await keptRows(driver, prompts[i]!, expected);
    goldenRows(expected.logits).forEach((row, k) => {
      const error = relativeError(rows[k]!, row);
      const where = `prompt ${i} position ${expected.logit_positions[k]}`;
      assert.ok(error <= MAX_RELATIVE_ERROR, `${where}: relative error ${error}`);
    });
    for (const chunk of chunks) {
      const ids = await driver.generate(prompts[i]!, expected.greedy_ids.length, {}, chunk);
      assert.deepEqual(ids, expected.greedy_ids, `prompt ${i} in chunks of ${chunk}`);
    }
  }
  assert.equal(driver.numFreeBlocks, driver.info.numKvBlocks);
}

/** Every kept row points where transformers' fp32 row does. */
async function assertRoundedParity(golden: Golden, { driver, prompts }: OpenGolden): Promise<void> {
  for (const [i, expected] of golden.prompts.entries()) {
    const rows = await keptRows(driver, prompts[i]!, expected);
    goldenRows(expected.logits).forEach((row, k) => {
      const got = cosine(rows[k]!, row);
      const where = `prompt ${i} position ${expected.logit_positions[k]}`;
      assert.ok(
        got >= MIN_ROUNDED_COSINE,
        `${where}: cosine ${got}, bf16 rounding alone gives ${expected.bf16_cosine}`,
      );
    });
  }
}

/** `step` reports the log-probability of the id it took, as transformers' logits have it. */
async function assertLogprobs(golden: Golden, { driver, prompts }: OpenGolden): Promise<void> {
  for (const [i, expected] of golden.prompts.entries()) {
    const last = goldenRows(expected.logits)[expected.logit_positions.indexOf(expected.input_ids.length - 1)]!;
    const sequence = driver.add(prompts[i]!);
    const { logprobs } = await driver.step([{ sequence, numTokens: sequence.tokenIds.length }]);
    driver.free(sequence);
    const error = Math.abs(logprobs[0]! - logprob(last, expected.greedy_ids[0]!));
    assert.ok(error <= MAX_LOGPROB_ERROR, `prompt ${i}: log-probability off by ${error}`);
  }
}

for (const golden of loadGoldens()) {
  Deno.test(`${golden.name}: the plain reference engine agrees with transformers`, () =>
    onReference(golden, async (open) => {
      await assertFp32Parity(golden, open, [7]);
      await assertLogprobs(golden, open);
    }));
  nativeTest(
    `${golden.name}: fp32 logits, log-probabilities and 64 greedy ids are transformers'`,
    () =>
      onNative(golden, { dtype: "fp32" }, async (open) => {
        await assertFp32Parity(golden, open, [Infinity, 7, 1]);
        await assertLogprobs(golden, open);
      }),
  );
  for (const dtype of ["bf16", "fp16"] as const) {
    nativeTest(
      `${golden.name}: ${dtype} logits point where transformers' fp32 logits do`,
      () =>
        onNative(golden, { dtype }, async (open) => {
          assert.equal(open.engine.info.dtype, dtype);
          await assertRoundedParity(golden, open);
        }),
    );
  }
}
