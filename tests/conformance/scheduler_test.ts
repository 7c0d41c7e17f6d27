/** Owns the proof that on the CPU backend a request's tokens do not depend on who else runs, chunks, preemption or shared KV. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Engine } from "../../gpu-worker/engine/types.ts";
import type { Prompt } from "../../gpu-worker/prompt/prompt.ts";
import { PLAIN_SAMPLING, type SequenceSampling } from "../../gpu-worker/schedule/sampling.ts";
import { Scheduler } from "../../gpu-worker/schedule/scheduler.ts";
import { Sequence } from "../../gpu-worker/schedule/sequence.ts";
import { tinyConfig } from "../support/checkpoint_config.ts";
import { CounterStream } from "../support/counter_random.ts";
import { nativeTest } from "../support/golden_engine.ts";
import { withNativeEngine } from "../support/native_engine.ts";

const NUM_TILES = 2;
const NUM_NEW = 12;
const LAST_ARRIVAL = 10;

interface Request {
  /** Which beginning it shares with others, tiles included. */
  readonly beginning: number;
  readonly numText: number;
  readonly n: number;
  readonly sampling: number;
  readonly priority: number;
  readonly tenant: string;
  readonly arrival: number;
  readonly abort: number | null;
}

const SAMPLINGS: readonly Partial<SequenceSampling>[] = [
  {},
  { temperature: 1.5, topP: 0.95, topK: 40 },
  { temperature: 0.8, minP: 0.02, repetitionPenalty: 1.3 },
  { presencePenalty: 0.5, frequencyPenalty: 0.7, biasIds: Int32Array.of(3, 9), biases: Float32Array.of(2, -Infinity) },
  { temperature: 1, minTokens: 6, forbiddenIds: Int32Array.of(1, 2, 4), numTop: 3 },
];

const request: fc.Arbitrary<Request> = fc.record({
  beginning: fc.nat(2),
  numText: fc.integer({ min: 1, max: 50 }),
  n: fc.constantFrom(1, 1, 2),
  sampling: fc.nat(SAMPLINGS.length - 1),
  priority: fc.constantFrom(0, 0, -1, 1),
  tenant: fc.constantFrom("a", "b"),
  arrival: fc.nat(LAST_ARRIVAL),
  abort: fc.option(fc.nat(30), { freq: 4 }),
});

const LONG: Request = {
  beginning: 2,
  numText: 50,
  n: 2,
  sampling: 1,
  priority: 0,
  tenant: "a",
  arrival: 0,
  abort: null,
};
const NARROW: readonly Request[] = [LONG, { ...LONG, arrival: 6, tenant: "b" }, { ...LONG, arrival: 9, priority: -1 }];

function promptOf({ beginning, numText }: Request, { tokensPerTile }: { readonly tokensPerTile: number }): Prompt {
  const random = new CounterStream(7, `text ${beginning}`);
  const tiles = Array.from({ length: beginning }, (_, tile) => `tile-${tile}`);
  const tileOf = tiles.flatMap((_, tile) => new Array<number>(tokensPerTile).fill(tile));
  const numTokens = tileOf.length + 20 + numText;
  return {
    tokenIds: Int32Array.from({ length: numTokens }, (_, i) => random.integer(i, 200)),
    tileOf: Int32Array.from({ length: numTokens }, (_, i) => tileOf[i] ?? -1),
    rowOf: Int32Array.from({ length: numTokens }, (_, i) => i < tileOf.length ? i % tokensPerTile : 0),
    tiles,
    numImageTokens: tileOf.length,
  };
}

interface World {
  readonly requests: readonly Request[];
  readonly numKvBlocks: number;
  readonly tokenBudget: number;
  readonly maxSequences: number;
}

/** Ids of each answer; those of aborted requests may be cut short. */
async function play(engine: Engine, world: World, seen = { numPreemptions: 0, numCached: 0 }): Promise<number[][][]> {
  const { requests, numKvBlocks, tokenBudget, maxSequences } = world;
  const info = { ...engine.info, numKvBlocks };
  const scheduler = new Scheduler({ info, tokenBudget, maxSequences });
  const answers = requests.map(({ n }) => Array.from({ length: n }, (): number[] => []));
  const live = new Map<Sequence, { readonly index: number; readonly answer: number[] }>();
  const end = (sequence: Sequence) => {
    live.delete(sequence);
    seen.numCached += sequence.numCachedTokens ?? 0;
    scheduler.remove(sequence);
  };
  for (let step = 0; step <= LAST_ARRIVAL || live.size > 0; step++) {
    assert.ok(step < 2_000, "no progress");
    requests.forEach((request, index) => {
      if (request.arrival !== step) return;
      const prompt = promptOf(request, info);
      let leader: Sequence | null = null;
      answers[index]!.forEach((answer, choice) => {
        const sampling = { ...PLAIN_SAMPLING, ...SAMPLINGS[request.sampling], seed: BigInt(index * 10 + choice) };
        const slots = Int32Array.from(prompt.tiles, (_, tile) => tile);
        const { priority, tenant } = request;
        const sequence: Sequence = new Sequence({
          id: `${index}/${choice}`,
          prompt,
          slots,
          sampling,
          resumeIds: [],
          maxTokens: NUM_NEW,
          priority,
          tenant,
          leader,
        });
        leader ??= sequence;
        live.set(sequence, { index, answer });
        scheduler.add(sequence);
      });
    });
    const plan = scheduler.plan();
    if (plan === null) continue;
    const running = engine.step(plan.batch);
    if (step % 3 !== 0) scheduler.prepare();
    for (const [sequence, { index }] of [...live]) if (requests[index]!.abort === step) end(sequence);
    scheduler.checkIntegrity();
    for (const { sequence, id } of scheduler.complete(plan, await running).sampled) {
      const { answer } = live.get(sequence)!;
      answer.push(id);
      if (answer.length === NUM_NEW) end(sequence);
    }
    scheduler.checkIntegrity();
  }
  assert.equal(scheduler.numAvailableBlocks, numKvBlocks);
  seen.numPreemptions += scheduler.numPreemptions;
  return answers;
}

nativeTest(
  "scheduler on the CPU: tokens are those of each request alone, nothing leaks",
  () =>
    withNativeEngine({ config: tinyConfig(), seed: 4 }, { numTileSlots: NUM_TILES, numThreads: 1 }, async (engine) => {
      const tileBytes = engine.info.tileSize ** 2 * 3;
      const pixels = Uint8Array.from({ length: NUM_TILES * tileBytes }, (_, i) => (i * 37) % 251);
      await engine.encodeTiles(pixels, Int32Array.from({ length: NUM_TILES }, (_, slot) => slot));
      const longest = promptOf(LONG, engine.info).tokenIds.length + NUM_NEW;
      const least = Math.ceil(longest / engine.info.kvBlockSize);
      const world = fc.record({
        requests: fc.array(request, { minLength: 3, maxLength: 7 }),
        numKvBlocks: fc.integer({ min: least, max: least + 4 }),
        tokenBudget: fc.integer({ min: 3, max: 80 }),
        maxSequences: fc.integer({ min: 2, max: 8 }),
      });
      const seen = { numPreemptions: 0, numCached: 0 };
      await fc.assert(
        fc.asyncProperty(world, async (world) => {
          const together = await play(engine, world, seen);
          for (const [index, request] of world.requests.entries()) {
            // Alone, whole, its seeds as they were: the others are there but never come.
            const others = world.requests.map((_, i) => i === index ? { ...request, arrival: 0, abort: null } : null);
            const alone = await playAlone(engine, others);
            together[index]!.forEach((answer, choice) => {
              assert.deepEqual(answer, alone[choice]!.slice(0, answer.length), `request ${index}, answer ${choice}`);
              if (request.abort === null) assert.equal(answer.length, NUM_NEW);
            });
          }
        }),
        // One is narrow for certain, so that the figures below do not hang on chance.
        { numRuns: 15, examples: [[{ requests: NARROW, numKvBlocks: least, tokenBudget: 80, maxSequences: 8 }]] },
      );
      assert.ok(seen.numPreemptions > 0, `only ${seen.numPreemptions} preemptions`);
      assert.ok(seen.numCached > 100, `only ${seen.numCached} tokens of shared KV`);
    }),
);

/** The one request there is, at its place in the list, which its seeds depend on. */
async function playAlone(engine: Engine, requests: readonly (Request | null)[]): Promise<number[][]> {
  const index = requests.findIndex((request) => request !== null);
  const request = requests[index]!;
  const never = { ...request, arrival: Infinity };
  const world = requests.map((each) => each ?? never);
  const numKvBlocks = engine.info.numKvBlocks;
  const answers = await play(engine, { requests: world, numKvBlocks, tokenBudget: 4_096, maxSequences: 1 });
  return answers[index]!;
}
