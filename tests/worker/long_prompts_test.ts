/** Beyond the trained length keys depend on the prompt's length: blocks are shared by prompts of one length alone. */
import assert from "node:assert/strict";
import { PLAIN_SAMPLING } from "../../gpu-worker/schedule/sampling.ts";
import { Scheduler } from "../../gpu-worker/schedule/scheduler.ts";
import { Sequence } from "../../gpu-worker/schedule/sequence.ts";
import { FAKE_INFO, FakeEngine } from "../support/fake_engine.ts";

/** Prompt tokens found in the cache, for text prompts that run one after the other; `resumed` ids of an answer follow. */
async function cachedTokens(
  prompts: readonly { readonly length: number; readonly resumed?: number }[],
): Promise<number[]> {
  // The fake rejects a step that reads a key rotated for another length.
  const engine = new FakeEngine();
  const scheduler = new Scheduler({ info: engine.info, tokenBudget: 256, maxSequences: 4 });
  const out: number[] = [];
  for (const { length, resumed = 0 } of prompts) {
    const prompt = {
      tokenIds: Int32Array.from({ length }, (_, i) => i),
      tileOf: new Int32Array(length).fill(-1),
      rowOf: new Int32Array(length),
      tiles: [],
      numImageTokens: 0,
    };
    const sampling = PLAIN_SAMPLING;
    const resumeIds = Array.from({ length: resumed }, (_, i) => i);
    const sequence = new Sequence({ id: "s", prompt, slots: new Int32Array(0), sampling, resumeIds });
    scheduler.add(sequence);
    const plan = scheduler.plan()!;
    scheduler.complete(plan, await engine.step(plan.batch));
    out.push(sequence.numCachedTokens!);
    scheduler.remove(sequence);
  }
  return out;
}

const { trainedLength, kvBlockSize } = FAKE_INFO;

Deno.test("long prompts: within the trained length every shared beginning is found", async () => {
  assert.equal(trainedLength % kvBlockSize, 0);
  const found = await cachedTokens([{ length: trainedLength }, { length: trainedLength - kvBlockSize + 1 }]);
  assert.deepEqual(found, [0, trainedLength - kvBlockSize]);
});

Deno.test("long prompts: beyond it the beginning is found for the same length, and not for another", async () => {
  const long = trainedLength + 9;
  const found = await cachedTokens([
    { length: trainedLength },
    { length: long },
    { length: long },
    { length: long + 1 },
    { length: long, resumed: 5 },
    { length: trainedLength },
  ]);
  const whole = Math.floor((long - 1) / kvBlockSize) * kvBlockSize;
  assert.deepEqual(found, [0, 0, whole, 0, whole, trainedLength - kvBlockSize]);
});
