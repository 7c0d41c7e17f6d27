/** Owns the proof that the native engine draws from the distribution it was asked for. */
import assert from "node:assert/strict";
import type { EngineOptions } from "../../gpu-worker/engine/types.ts";
import { tinyConfig } from "../support/checkpoint_config.ts";
import { type DriverSampling, EngineDriver, textPrompt } from "../support/engine_driver.ts";
import { emulatedTest, nativeTest } from "../support/golden_engine.ts";
import { withNativeEngine } from "../support/native_engine.ts";
import { changedLogits, distribution } from "../support/reference_sampling.ts";

interface Golden {
  readonly sampling: Omit<DriverSampling, "biases"> & {
    readonly biases?: readonly (readonly [id: number, bias: number | string])[];
    readonly forbidden?: readonly number[];
  };
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
  readonly logits: readonly number[];
  readonly probabilities: readonly number[];
}

const PROMPT = textPrompt([17, 4, 99, 3]);
const NUM_DRAWS = 4096;
const BATCH = 64;

/** The draws of many seeds for the token after the prompt, and the logits they come from. */
async function draws(driver: EngineDriver, sampling: DriverSampling): Promise<{ ids: number[]; logits: Float32Array }> {
  const logits = await plainLogits(driver);
  const ids: number[] = [];
  while (ids.length < NUM_DRAWS) {
    const sequences = Array.from(
      { length: BATCH },
      (_, i) => driver.add(PROMPT, { ...sampling, seed: BigInt(ids.length + i) }),
    );
    const numTokens = PROMPT.tokenIds.length;
    ids.push(...(await driver.step(sequences.map((sequence) => ({ sequence, numTokens })))).tokenIds);
    for (const sequence of sequences) driver.free(sequence);
  }
  return { ids, logits };
}

/** Logits of the token after the prompt. */
async function plainLogits(driver: EngineDriver): Promise<Float32Array> {
  const scored = driver.add(PROMPT);
  const [rows] = await driver.logits([{ sequence: scored, numTokens: PROMPT.tokenIds.length }]);
  driver.free(scored);
  return rows!.at(-1)!;
}

async function withDriver(
  use: (driver: EngineDriver) => Promise<void>,
  options: Partial<EngineOptions> = {},
): Promise<void> {
  await withNativeEngine({ config: tinyConfig(), seed: 4 }, options, (engine) => use(new EngineDriver(engine)));
}

const CASES: readonly DriverSampling[] = [
  { temperature: 1 },
  { temperature: 0.5 },
  { temperature: 3, topK: 7 },
  { temperature: 1.5, topP: 0.6 },
  { temperature: 2, topK: 30, topP: 0.8 },
  { temperature: 2, minP: 0.3 },
  { temperature: 3, topK: 20, topP: 0.9, minP: 0.2, biases: [[3, 2], [17, -Infinity]] },
  { temperature: 2, topK: 15, repetitionPenalty: 1.7, seen: [[3, 0], [4, 2], [99, 0], [50, 1]] },
  { temperature: 2, topK: 15, presencePenalty: 0.8, frequencyPenalty: 0.6, seen: [[3, 0], [4, 2], [99, 5], [50, 1]] },
];

for (const sampling of CASES) {
  nativeTest(`${NUM_DRAWS} draws follow ${JSON.stringify(sampling)}`, () =>
    withDriver(async (driver) => {
      const { ids, logits } = await draws(driver, sampling);
      const expected = distribution(logits, sampling);
      const counts = new Map<number, number>();
      for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
      for (const id of counts.keys()) assert.ok(expected.has(id), `drew ${id}, which the cuts remove`);
      let distance = 0;
      for (const [id, probability] of expected) {
        distance += Math.abs((counts.get(id) ?? 0) / NUM_DRAWS - probability) / 2;
      }
      // Total variation of n draws over k ids is about sqrt(k / 2 pi n); three times that never happens by chance.
      const limit = 3 * Math.sqrt(expected.size / (2 * Math.PI * NUM_DRAWS));
      assert.ok(distance < limit, `total variation ${distance}, limit ${limit}`);
    }));
}

Deno.test("the plain reference's distributions are those of transformers' own processors", async () => {
  const goldens: Golden[] = JSON.parse(
    await Deno.readTextFile(new URL("../golden/sampling/goldens.json", import.meta.url)),
  );
  assert.ok(goldens.length >= 10);
  for (const { sampling, prompt, answer, logits, probabilities } of goldens) {
    const { biases = [], forbidden = [], ...rest } = sampling;
    const counts = new Map(prompt.map((id) => [id, 0]));
    for (const id of answer) counts.set(id, (counts.get(id) ?? 0) + 1);
    const all = [
      ...biases.map(([id, bias]) => [id, Number(bias)] as const),
      ...forbidden.map((id) => [id, -Infinity] as const),
    ];
    const got = distribution(logits, { ...rest, seen: [...counts], biases: all });
    probabilities.forEach((expected, id) => {
      assert.ok(Math.abs((got.get(id) ?? 0) - expected) < 1e-6, `${JSON.stringify(sampling)}: token ${id}`);
    });
  }
});

/** Greedy ids with biases and penalties, and the likeliest tokens, are those of the logits that the engine shows. */
async function assertGreedy(driver: EngineDriver): Promise<void> {
  const logits = await plainLogits(driver);
  const best = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]!);
  for (const sampling of CASES) {
    const changed = changedLogits(logits, sampling);
    const sequence = driver.add(PROMPT, { ...sampling, temperature: 0, numTop: 4 });
    const numTokens = PROMPT.tokenIds.length;
    const { tokenIds, logprobs, topIds, topLogprobs, maxTop } = await driver.step([{ sequence, numTokens }]);
    driver.free(sequence);
    assert.equal(tokenIds[0], changed.indexOf(Math.max(...changed)), JSON.stringify(sampling));
    assert.equal(maxTop, 4);
    assert.deepEqual([...topIds], best.slice(0, 4));
    const logTotal = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - logits[best[0]!]!), 0));
    const expected = (id: number) => logits[id]! - logits[best[0]!]! - logTotal;
    topIds.forEach((id, i) => assert.ok(Math.abs(topLogprobs[i]! - expected(id)) < 1e-4));
    assert.ok(Math.abs(logprobs[0]! - expected(tokenIds[0]!)) < 1e-4);
  }
}

nativeTest(
  "greedy with biases and penalties takes the largest changed logit; the likeliest are those of the plain ones",
  () => withDriver(assertGreedy),
);

emulatedTest(
  "on an emulated GPU greedy with biases and penalties takes the largest changed logit, too",
  () =>
    withDriver(async (driver) => {
      await assertGreedy(driver);
      // A cut to one token leaves nothing to chance, so the draw is the greedy one.
      const greedy = await driver.generate(PROMPT, 8);
      assert.deepEqual(await driver.generate(PROMPT, 8, { temperature: 5, seed: 3n, topK: 1 }), greedy);
      assert.deepEqual(await driver.generate(PROMPT, 8, { temperature: 5, seed: 3n, topP: 1e-6 }), greedy);
    }, { device: "cuda", dtype: "bf16" }),
);

nativeTest("topK 1, a tiny topP and a tiny temperature are greedy", () =>
  withDriver(async (driver) => {
    const greedy = await driver.generate(PROMPT, 16);
    for (const cut of [{ topK: 1 }, { topP: 1e-6 }, { temperature: 1e-30 }]) {
      assert.deepEqual(await driver.generate(PROMPT, 16, { temperature: 5, seed: 3n, ...cut }), greedy);
    }
  }));
