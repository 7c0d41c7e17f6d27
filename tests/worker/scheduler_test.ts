/** Random arrivals, aborts, failures, tiny pools and budgets: each request's tokens are those it has when run alone. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Prompt } from "../../gpu-worker/prompt/prompt.ts";
import { PLAIN_SAMPLING, type SequenceSampling } from "../../gpu-worker/schedule/sampling.ts";
import { Scheduler } from "../../gpu-worker/schedule/scheduler.ts";
import { Sequence } from "../../gpu-worker/schedule/sequence.ts";
import { TileSlots } from "../../gpu-worker/schedule/tile_slots.ts";
import { FAKE_INFO, FakeEngine } from "../support/fake_engine.ts";
import { FakeHistory } from "../support/fake_history.ts";

const TILE_BYTES = FAKE_INFO.tileSize ** 2 * 3;

const LAST_ARRIVAL = 8;

interface Request {
  /** Text ids, and -k for all of tile k - 1. */
  readonly parts: readonly number[];
  readonly numNew: number;
  readonly seed: number | null;
  /** Answers to it. */
  readonly n: number;
  readonly penalty: number;
  readonly minTokens: number;
  readonly priority: number;
  readonly tenant: string;
  readonly salt: string;
  /** Step before which it arrives, and before which it is aborted. */
  readonly arrival: number;
  readonly abort: number | null;
}

const pixelsOf = (tile: number) => new Uint8Array(TILE_BYTES).fill(tile + 1);
const hashOf = (tile: number) => `tile-${tile}`;

function promptOf(parts: readonly number[]): Prompt {
  const [tokenIds, tileOf, rowOf]: [number[], number[], number[]] = [[], [], []];
  const tiles: string[] = [];
  for (const part of parts) {
    if (part < 0) tiles.push(hashOf(-part - 1));
    for (let row = 0; row < (part < 0 ? FAKE_INFO.tokensPerTile : 1); row++) {
      tokenIds.push(Math.max(part, 0));
      tileOf.push(part < 0 ? tiles.length - 1 : -1);
      rowOf.push(row);
    }
  }
  return {
    tokenIds: Int32Array.from(tokenIds),
    tileOf: Int32Array.from(tileOf),
    rowOf: Int32Array.from(rowOf),
    tiles,
    numImageTokens: tiles.length * FAKE_INFO.tokensPerTile,
  };
}

function samplingOf({ seed, penalty, minTokens }: Request, choice: number): SequenceSampling {
  return {
    ...PLAIN_SAMPLING,
    temperature: seed === null ? 0 : 1,
    seed: BigInt((seed ?? 0) + 100 * choice),
    frequencyPenalty: penalty,
    minTokens,
    forbiddenIds: Int32Array.of(5, 6),
  };
}

/** What the request gets when nobody else is there. */
function expectedTokens(request: Request, choice: number): number[] {
  const history = new FakeHistory(FAKE_INFO.vocabSize);
  const seen = new Map<number, number>();
  for (const part of request.parts) {
    seen.set(Math.max(part, 0), 0);
    if (part < 0) history.pushTile(pixelsOf(-part - 1), FAKE_INFO.tokensPerTile);
    else history.pushTokens(part);
  }
  const { temperature, seed } = samplingOf(request, choice);
  return Array.from({ length: request.numNew }, (_, i) => {
    const id = history.next(temperature === 0 ? undefined : seed, {
      numbers: [0, 1, 0, request.penalty],
      seen: request.penalty === 0 ? [] : seen,
      biases: i < request.minTokens ? [[5, -Infinity], [6, -Infinity]] : [],
    });
    seen.set(id, (seen.get(id) ?? 0) + 1);
    history.pushTokens(id);
    return id;
  });
}

const PLAIN_REQUEST: Omit<Request, "parts" | "numNew" | "arrival"> = {
  seed: null,
  n: 1,
  penalty: 0,
  minTokens: 0,
  priority: 0,
  tenant: "a",
  salt: "",
  abort: null,
};

const parts = (maxLength: number) =>
  fc.array(
    fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 0, max: 2 }) }, fc.integer({ min: -3, max: -1 })),
    { minLength: 1, maxLength },
  );

/** Beginnings that requests share; at most 24 prompt tokens with what follows. */
const beginning = fc.constantFrom([], [1, -1, 2, -2, 0], [1, -1, 2, -2, 1], [0, 1, 2, 0, 1, 2]);

const request: fc.Arbitrary<Request> = fc.record({
  parts: fc.tuple(beginning, parts(5)).map(([start, rest]) => [...start, ...rest]),
  numNew: fc.oneof(fc.integer({ min: 1, max: 24 }), fc.integer({ min: 16, max: 24 })),
  seed: fc.option(fc.integer({ min: 0, max: 3 })),
  n: fc.constantFrom(1, 1, 2, 3),
  penalty: fc.constantFrom(0, 0, 0.5),
  minTokens: fc.constantFrom(0, 0, 3),
  priority: fc.constantFrom(-1, 0, 0, 2),
  tenant: fc.constantFrom("a", "b", "c"),
  salt: fc.constantFrom("", "", "x"),
  arrival: fc.integer({ min: 0, max: LAST_ARRIVAL }),
  abort: fc.option(fc.integer({ min: 0, max: 40 }), { freq: 4 }),
});

interface World {
  readonly requests: readonly Request[];
  readonly numKvBlocks: number;
  readonly tokenBudget: number;
  readonly maxSequences: number;
  /** Steps that fail. */
  readonly failures: readonly number[];
  /** Whether each step is prepared while the one before runs. */
  readonly prepares: boolean;
}

const world: fc.Arbitrary<World> = fc.record({
  requests: fc.array(request, { minLength: 3, maxLength: 10 }),
  numKvBlocks: fc.integer({ min: 12, max: 16 }),
  tokenBudget: fc.integer({ min: 1, max: 32 }),
  maxSequences: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.constant(8)),
  failures: fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 2 }),
  prepares: fc.boolean(),
});

async function play(world: World): Promise<{ numPreemptions: number; numCached: number }> {
  const { requests, numKvBlocks, tokenBudget, maxSequences } = world;
  const engine = new FakeEngine({
    info: { numKvBlocks },
    fail: ({ kind, index }) => kind === "step" && world.failures.includes(index) ? new Error("as told") : undefined,
  });
  const tiles = new TileSlots(engine.info.numTileSlots);
  const scheduler = new Scheduler({ info: engine.info, tokenBudget, maxSequences });
  const live = new Map<Sequence, { readonly request: Request; readonly choice: number }>();
  const held = new Map<Sequence, string[]>();
  const answers = new Map<Request, number[][]>();
  const failed = new Set<Request>();
  let numCached = 0;

  const forget = (sequence: Sequence) => {
    tiles.release(held.get(sequence)!);
    held.delete(sequence);
  };
  const end = (sequence: Sequence) => {
    live.delete(sequence);
    numCached += sequence.numCachedTokens ?? 0;
    if (scheduler.remove(sequence)) forget(sequence);
  };
  const check = () => {
    scheduler.checkIntegrity();
    tiles.checkIntegrity(held.values());
  };
  const arrive = async (request: Request) => {
    const prompt = promptOf(request.parts);
    const hashes = [...new Set(prompt.tiles)];
    for (let choice = 0; choice < request.n; choice++) {
      for (const hash of tiles.reserve(hashes)!) tiles.receive(hash, pixelsOf(Number(hash.slice(5))));
    }
    for (let batch; (batch = tiles.takeForEncoding(2)) !== null;) {
      await engine.encodeTiles(batch.pixels, batch.slots);
      tiles.encoded(batch);
    }
    answers.set(request, Array.from({ length: request.n }, () => []));
    let leader: Sequence | null = null;
    for (let choice = 0; choice < request.n; choice++) {
      const sequence: Sequence = new Sequence({
        id: `${answers.size}/${choice}`,
        prompt,
        slots: Int32Array.from(prompt.tiles, (hash) => tiles.slotOf(hash)),
        sampling: samplingOf(request, choice),
        resumeIds: [],
        // That the end is known beforehand, or not, must not matter.
        ...(choice % 2 === 0 ? { maxTokens: request.numNew } : {}),
        priority: request.priority,
        tenant: request.tenant,
        salt: request.salt,
        leader,
      });
      leader ??= sequence;
      held.set(sequence, hashes);
      live.set(sequence, { request, choice });
      scheduler.add(sequence);
    }
  };

  for (let step = 0; step <= LAST_ARRIVAL || live.size > 0; step++) {
    assert.ok(step < 3_000, "no progress");
    for (const request of requests) if (request.arrival === step) await arrive(request);
    const plan = scheduler.plan();
    if (world.prepares && step % 2 === 0) scheduler.prepare();
    // Aborts come while the step is in flight.
    for (const [sequence, { request }] of [...live]) if (request.abort === step) end(sequence);
    check();
    if (plan === null) continue;
    if (world.prepares && step % 2 === 1) scheduler.prepare();
    check();
    assert.ok(plan.batch.tokenIds.length <= tokenBudget);
    assert.ok(plan.chunks.length <= maxSequences);
    try {
      const { sampled, freed } = scheduler.complete(plan, await engine.step(plan.batch));
      freed.forEach(forget);
      for (const { sequence, id } of sampled) {
        const { request, choice } = live.get(sequence)!;
        const answer = answers.get(request)![choice]!;
        answer.push(id);
        if (answer.length === request.numNew) end(sequence);
      }
    } catch (error) {
      assert.equal((error as Error).message, "as told");
      const { givenUp, freed } = scheduler.fail(plan);
      freed.forEach(forget);
      for (const sequence of givenUp) {
        failed.add(live.get(sequence)!.request);
        end(sequence);
      }
    }
    check();
  }

  assert.equal(scheduler.numSequences, 0);
  assert.equal(scheduler.numAvailableBlocks, numKvBlocks);
  assert.equal(held.size, 0);
  for (const request of requests) {
    answers.get(request)!.forEach((answer, choice) => {
      assert.deepEqual(answer, expectedTokens(request, choice).slice(0, answer.length));
      if (request.abort === null && !failed.has(request)) assert.equal(answer.length, request.numNew);
    });
  }
  assert.ok(failed.size <= 1, "a single failure gives nobody up");
  return { numPreemptions: scheduler.numPreemptions, numCached };
}

Deno.test("scheduler: tokens do not depend on who else runs, nothing leaks", async () => {
  let numPreemptions = 0;
  let numCached = 0;
  await fc.assert(
    fc.asyncProperty(world, async (w) => {
      const seen = await play(w);
      numPreemptions += seen.numPreemptions;
      numCached += seen.numCached;
    }),
    { numRuns: 120 },
  );
  // The worlds are only worth something when they are narrow enough.
  assert.ok(numPreemptions > 20, `only ${numPreemptions} preemptions`);
  assert.ok(numCached > 200, `only ${numCached} tokens from shared prefixes`);
});

Deno.test("scheduler: a prompt that was just computed is not computed again", async () => {
  const parts = [1, 2, -1, -2, 2, 1, 0, 1];
  const request = { ...PLAIN_REQUEST, parts, numNew: 3 };
  const seen = await play({
    requests: [{ ...request, arrival: 0 }, { ...request, arrival: LAST_ARRIVAL }],
    numKvBlocks: 24,
    tokenBudget: 64,
    maxSequences: 4,
    failures: [],
    prepares: true,
  });
  // 12 prompt tokens in blocks of 4; the last block is computed again, because one token must be.
  assert.equal(seen.numCached, 8);
});

Deno.test("scheduler: decodes go on while a long prompt is prefilled in chunks", async () => {
  const engine = new FakeEngine();
  const scheduler = new Scheduler({ info: engine.info, tokenBudget: 8, maxSequences: 4 });
  const add = (parts: number[]) => {
    const prompt = promptOf(parts);
    const sampling = PLAIN_SAMPLING;
    const sequence = new Sequence({ id: "s", prompt, slots: new Int32Array(0), sampling, resumeIds: [] });
    scheduler.add(sequence);
    return sequence;
  };
  const short = add([1, 2, 3]);
  const step = async () => {
    const plan = scheduler.plan()!;
    assert.ok(plan.batch.tokenIds.length <= 8);
    scheduler.complete(plan, await engine.step(plan.batch));
  };
  await step();
  const long = add(Array.from({ length: 40 }, (_, i) => i));
  for (let step = 1; long.numRemaining > 1 && step < 20; step++) {
    const plan = scheduler.plan()!;
    assert.equal(plan.batch.tokenIds.length <= 8, true);
    scheduler.complete(
      plan,
      await engine.step(plan.batch).catch(() => {
        throw new Error("the fake refused");
      }),
    );
    assert.equal(short.generated.length, 1 + step);
  }
  assert.equal(long.generated.length, 1);
});

Deno.test("scheduler: a sequence longer than everything is refused", () => {
  const scheduler = new Scheduler({ info: { ...FAKE_INFO, numKvBlocks: 2 }, tokenBudget: 8, maxSequences: 4 });
  assert.equal(scheduler.maxLength, 8);
  const sequence = new Sequence({
    id: "s",
    prompt: promptOf([1, 1, 1, 1, 1, 1, 1, 1, 1]),
    slots: new Int32Array(0),
    sampling: PLAIN_SAMPLING,
    resumeIds: [],
  });
  assert.throws(() => scheduler.add(sequence), /9 tokens, expected at most 8/);
});
