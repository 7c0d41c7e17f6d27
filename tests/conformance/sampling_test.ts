/** Owns the proof that the native engine draws from the distribution it was asked for. */
import assert from "node:assert/strict";
import { tinyConfig } from "../support/checkpoint_config.ts";
import { type DriverSampling, EngineDriver, textPrompt } from "../support/engine_driver.ts";
import { nativeTest } from "../support/golden_engine.ts";
import { withNativeEngine } from "../support/native_engine.ts";

const PROMPT = textPrompt([17, 4, 99, 3]);
const NUM_DRAWS = 4096;
const BATCH = 64;

/** The draws of many seeds for the token after the prompt, and the logits they come from. */
async function draws(driver: EngineDriver, sampling: DriverSampling): Promise<{ ids: number[]; logits: Float32Array }> {
  const scored = driver.add(PROMPT);
  const [rows] = await driver.logits([{ sequence: scored, numTokens: PROMPT.tokenIds.length }]);
  driver.free(scored);
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
  return { ids, logits: rows!.at(-1)! };
}

/** Ids by falling logit, with their probabilities at a temperature after cuts by topK, then topP. */
function distribution(
  logits: Float32Array,
  { temperature = 1, topK = 0, topP = 1 }: DriverSampling,
): Map<number, number> {
  const order = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]!);
  const kept = topK > 0 ? order.slice(0, topK) : order;
  const weights = kept.map((id) => Math.exp((logits[id]! - logits[order[0]!]!) / temperature));
  const total = weights.reduce((a, b) => a + b, 0);
  const out = new Map<number, number>();
  let mass = 0;
  for (const [i, id] of kept.entries()) {
    if (mass >= topP) break;
    out.set(id, weights[i]! / total);
    mass += weights[i]! / total;
  }
  return new Map([...out].map(([id, weight]) => [id, weight / mass]));
}

async function withDriver(use: (driver: EngineDriver) => Promise<void>): Promise<void> {
  await withNativeEngine({ config: tinyConfig(), seed: 4 }, {}, (engine) => use(new EngineDriver(engine)));
}

const CASES: readonly DriverSampling[] = [
  { temperature: 1 },
  { temperature: 0.5 },
  { temperature: 3, topK: 7 },
  { temperature: 1.5, topP: 0.6 },
  { temperature: 2, topK: 30, topP: 0.8 },
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

nativeTest("topK 1, a tiny topP and a tiny temperature are greedy", () =>
  withDriver(async (driver) => {
    const greedy = await driver.generate(PROMPT, 16);
    for (const cut of [{ topK: 1 }, { topP: 1e-6 }, { temperature: 1e-30 }]) {
      assert.deepEqual(await driver.generate(PROMPT, 16, { temperature: 5, seed: 3n, ...cut }), greedy);
    }
  }));
