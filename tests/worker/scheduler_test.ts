/** Random arrivals, aborts, failures, tiny pools and budgets: each request's tokens are those it has when run alone. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { PLAIN_SAMPLING } from "../../gpu-worker/schedule/sampling.ts";
import { type Plan, Scheduler } from "../../gpu-worker/schedule/scheduler.ts";
import { Sequence } from "../../gpu-worker/schedule/sequence.ts";
import type { StepResult } from "../../gpu-worker/engine/types.ts";
import { TileSlots } from "../../gpu-worker/schedule/tile_slots.ts";
import { FAKE_INFO, FakeEngine } from "../support/fake_engine.ts";
import {
  expectedTokens,
  LAST_ARRIVAL,
  pixelsOf,
  PLAIN_REQUEST,
  promptOf,
  type Request,
  samplingOf,
  type World,
  world,
} from "./scheduler_world.ts";

async function play(world: World): Promise<{ numPreemptions: number; numCached: number; numBehind: number }> {
  const { requests, numKvBlocks, tokenBudget, maxSequences, stepsInFlight } = world;
  const engine = new FakeEngine({
    info: { numKvBlocks, stepsInFlight },
    fail: ({ kind, index }) => kind === "step" && world.failures.includes(index) ? new Error("as told") : undefined,
  });
  const tiles = new TileSlots(engine.info.numTileSlots);
  const scheduler = new Scheduler({ info: engine.info, tokenBudget, maxSequences });
  const live = new Map<Sequence, { readonly request: Request; readonly choice: number }>();
  const held = new Map<Sequence, string[]>();
  const answers = new Map<Request, number[][]>();
  const failed = new Set<Request>();
  let numCached = 0;
  const flights: { readonly plan: Plan; readonly running: Promise<StepResult> }[] = [];
  let numBehind = 0;

  const start = (plan: Plan | null) => {
    if (plan === null) return;
    assert.ok(plan.batch.tokenIds.length <= tokenBudget);
    assert.ok(plan.chunks.length <= maxSequences);
    const running = engine.step(plan.batch);
    running.catch(() => {});
    flights.push({ plan, running });
  };
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
    await Promise.allSettled(flights.map(({ running }) => running));
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

  for (let step = 0; step <= LAST_ARRIVAL || live.size + flights.length > 0; step++) {
    assert.ok(step < 3_000, "no progress");
    for (const request of requests) if (request.arrival === step) await arrive(request);
    if (flights.length === 0) start(scheduler.plan());
    if (flights.length === 1 && stepsInFlight > 1) {
      start(scheduler.planBehind());
      numBehind += flights.length - 1;
    }
    if (world.prepares && step % 2 === 0) scheduler.prepare();
    // Aborts come while the step is in flight.
    for (const [sequence, { request }] of [...live]) if (request.abort === step) end(sequence);
    for (const [sequence, { request: { change } }] of live) {
      if (change?.step === step) scheduler.reprioritise(sequence, change.priority);
    }
    check();
    const flight = flights.shift();
    if (flight === undefined) continue;
    const { plan, running } = flight;
    if (world.prepares && step % 2 === 1) scheduler.prepare();
    check();
    try {
      const { sampled, freed } = scheduler.complete(plan, await running);
      freed.forEach(forget);
      for (const { sequence, id } of sampled) {
        const { request, choice } = live.get(sequence)!;
        const answer = answers.get(request)![choice]!;
        answer.push(id);
        if (answer.length === request.numNew) end(sequence);
      }
    } catch (error) {
      assert.equal((error as Error).message, "as told");
      await Promise.allSettled(flights.splice(0).map(({ running }) => running));
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
  return { numPreemptions: scheduler.numPreemptions, numCached, numBehind };
}

Deno.test("scheduler: tokens do not depend on who else runs, nothing leaks", async () => {
  let numPreemptions = 0;
  let numCached = 0;
  let numBehind = 0;
  await fc.assert(
    fc.asyncProperty(world, async (w) => {
      const seen = await play(w);
      numPreemptions += seen.numPreemptions;
      numCached += seen.numCached;
      numBehind += seen.numBehind;
    }),
    { numRuns: 160 },
  );
  // The worlds are only worth something when they are narrow enough.
  assert.ok(numPreemptions > 20, `only ${numPreemptions} preemptions`);
  assert.ok(numCached > 200, `only ${numCached} tokens from shared prefixes`);
  assert.ok(numBehind > 200, `only ${numBehind} steps in line behind another`);
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
    stepsInFlight: 1,
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
