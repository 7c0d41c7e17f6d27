/** Owns the contract every engine keeps (types.ts): bad arguments reject and change nothing, one call at a time, an end. */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import type { Engine, EngineInfo, StepBatch, StepResult } from "../../gpu-worker/engine/types.ts";
import { tinyConfig } from "../support/checkpoint_config.ts";
import { CounterStream } from "../support/counter_random.ts";
import { hasEmulatedGpu, isOnGpu } from "../support/emulated_gpu.ts";
import { type DriverSampling, type DriverSequence, EngineDriver, textPrompt } from "../support/engine_driver.ts";
import { FakeEngine } from "../support/fake_engine.ts";
import { whyNoNativeEngine, withNativeEngine } from "../support/native_engine.ts";

/** An implementation under test: runs `use` on a fresh engine and closes it. */
interface Implementation {
  readonly name: string;
  readonly skip: string | undefined;
  with(use: (engine: Engine) => Promise<void>): Promise<void>;
}

const CUDA = { device: "cuda", dtype: "bf16", numTileSlots: 8 } as const;

const IMPLEMENTATIONS: readonly Implementation[] = [
  { name: "fake", skip: undefined, with: (use) => use(new FakeEngine()) },
  { name: "fake, a step in line", skip: undefined, with: (use) => use(new FakeEngine({ info: { stepsInFlight: 2 } })) },
  {
    name: "native cpu",
    skip: whyNoNativeEngine(),
    with: (use) => withNativeEngine({ config: tinyConfig(), seed: 1 }, { numTileSlots: 8 }, use),
  },
  {
    name: "native cuda, emulated",
    skip: hasEmulatedGpu || isOnGpu ? whyNoNativeEngine() : "emulated GPUs are for x86-64 Linux",
    with: (use) => withNativeEngine({ config: tinyConfig(), seed: 1 }, CUDA, use),
  },
];

const PROMPT = [5, 9, 2, 77, 41, 8, 13, 60, 3, 29, 101, 7];

function pixels(info: EngineInfo, numTiles: number): Uint8Array {
  return new CounterStream(7, "contract").bytes(numTiles * info.tileSize ** 2 * 3);
}

/** A sequence with its prompt computed and one sampled token waiting: the state a bad call must not change. */
async function prefilled(driver: EngineDriver): Promise<DriverSequence> {
  await driver.engine.encodeTiles(pixels(driver.info, 2), Int32Array.of(1, 0));
  const rows = Array.from({ length: driver.info.tokensPerTile }, (_, i) => driver.info.tokensPerTile + i);
  const sequence = driver.add({
    tokenIds: [...rows.map(() => 0), ...PROMPT],
    embeddingRows: [...rows, ...PROMPT.map(() => -1)],
  });
  await driver.prefill(sequence);
  return sequence;
}

type Change = (batch: StepBatch, info: EngineInfo) => Partial<StepBatch>;

const set = <A extends Int32Array | Float32Array | Uint8Array>(array: A, index: number, value: number): A => {
  const copy = array.slice() as A;
  copy[index] = value;
  return copy;
};

const BAD_BATCHES: Readonly<Record<string, Change>> = {
  "a token id past the vocabulary": (b, info) => ({ tokenIds: set(b.tokenIds, 1, info.vocabSize) }),
  "a negative token id": (b) => ({ tokenIds: set(b.tokenIds, 0, -1) }),
  "a prompt of no tokens": (b) => ({ promptLengths: set(b.promptLengths, 0, 0) }),
  "a prompt past the context": (b, info) => ({ promptLengths: set(b.promptLengths, 0, info.contextLength + 1) }),
  "a position past the context": (b, info) => ({ positions: set(b.positions, 1, info.contextLength) }),
  "a negative position": (b) => ({ positions: set(b.positions, 0, -1) }),
  "positions that skip one": (b) => ({ positions: set(b.positions, 1, b.positions[1]! + 1) }),
  "an embedding row past the slots": (b, info) => ({
    embeddingRows: set(b.embeddingRows, 0, info.numTileSlots * info.tokensPerTile),
  }),
  "an embedding row of an empty slot": (b, info) => ({
    embeddingRows: set(b.embeddingRows, 0, (info.numTileSlots - 1) * info.tokensPerTile),
  }),
  "an embedding row below -1": (b) => ({ embeddingRows: set(b.embeddingRows, 0, -2) }),
  "a block past the cache": (b, info) => ({ blockTables: set(b.blockTables, 0, info.numKvBlocks) }),
  "no block where one is needed": (b) => ({ blockTables: set(b.blockTables, 0, -1) }),
  "a block below -1": (b) => ({ blockTables: set(b.blockTables, 0, -7) }),
  "a block table too short for its row length": (b) => ({ blockTables: b.blockTables.slice(1) }),
  "a row length that does not fit the tables": (b) => ({ maxBlocks: b.maxBlocks + 1 }),
  "no row length": () => ({ maxBlocks: 0 }),
  "fewer positions than tokens": (b) => ({ positions: b.positions.slice(1) }),
  "fewer embedding rows than tokens": (b) => ({ embeddingRows: b.embeddingRows.slice(1) }),
  "query starts that fall": (b) => ({ queryStarts: Int32Array.of(0, 3, 1, b.tokenIds.length) }),
  "query starts that do not begin at 0": (b) => ({ queryStarts: set(b.queryStarts, 0, 1) }),
  "query starts that end early": (b) => ({ queryStarts: set(b.queryStarts, 1, b.tokenIds.length - 1) }),
  "query starts that end late": (b) => ({ queryStarts: set(b.queryStarts, 1, b.tokenIds.length + 1) }),
  "no query starts": () => ({ queryStarts: new Int32Array(0) }),
  "sample of another length": () => ({ sample: new Uint8Array(2) }),
  "temperature of another length": () => ({ temperature: new Float32Array(0) }),
  "topP of another length": () => ({ topP: Float32Array.of(1, 1) }),
  "topK of another length": () => ({ topK: new Int32Array(2) }),
  "seed of another length": () => ({ seed: new BigUint64Array(0) }),
  "a negative temperature": (b) => ({ temperature: set(b.temperature, 0, -1) }),
  "a temperature that is no number": (b) => ({ temperature: set(b.temperature, 0, NaN) }),
  "topP 0": (b) => ({ topP: set(b.topP, 0, 0) }),
  "topP above 1": (b) => ({ topP: set(b.topP, 0, 1.5) }),
  "an id from a row that there was not": () => ({ idsFrom: Int32Array.of(7) }),
  "an id from below -1": () => ({ idsFrom: Int32Array.of(-2) }),
  "ids from rows of another length": () => ({ idsFrom: Int32Array.of(-1, -1) }),
  "a negative topK": (b) => ({ topK: set(b.topK, 0, -1) }),
};

const BAD_TILES: Readonly<Record<string, (info: EngineInfo) => [Uint8Array, Int32Array]>> = {
  "duplicate slots": (info) => [pixels(info, 2), Int32Array.of(1, 1)],
  "a slot past the cache": (info) => [pixels(info, 2), Int32Array.of(1, info.numTileSlots)],
  "a negative slot": (info) => [pixels(info, 2), Int32Array.of(1, -1)],
  "a byte too few": (info) => [pixels(info, 2).subarray(1), Int32Array.of(0, 1)],
  "a tile more than slots": (info) => [pixels(info, 2), Int32Array.of(1)],
};

function contractTest(target: Implementation, name: string, fn: (engine: Engine) => Promise<void>): void {
  const title = `${target.name} engine: ${name}`;
  Deno.test({
    name: target.skip ? `${title} (skipped: ${target.skip})` : title,
    ignore: target.skip !== undefined,
    fn: () => target.with(fn),
  });
}

/** Ids of a fresh decode on a new engine, to compare with one that bad calls came between. */
async function continuation(driver: EngineDriver, sequence: DriverSequence): Promise<number[]> {
  for (let i = 0; i < 8; i++) await driver.step([{ sequence, numTokens: 1 }]);
  return sequence.tokenIds;
}

for (const target of IMPLEMENTATIONS) {
  contractTest(target, "bad batches reject with an Error and change nothing", async (engine) => {
    const clean = new EngineDriver(engine, 2);
    const sequence = await prefilled(clean);
    const expected = [...await continuation(clean, sequence)];
    clean.free(sequence);

    const driver = new EngineDriver(engine, 2);
    const disturbed = await prefilled(driver);
    for (const [what, change] of Object.entries(BAD_BATCHES)) {
      // A good batch of three tokens that would overwrite the prompt's last cells, spoilt in one place.
      const bogus: DriverSequence = {
        ...disturbed,
        tokenIds: disturbed.tokenIds.with(-3, 1).with(-2, 2),
        numCached: disturbed.tokenIds.length - 3,
      };
      const batch = driver.batch([{ sequence: bogus, numTokens: 3 }]);
      const bad: StepBatch = { ...batch, ...change(batch, engine.info) };
      await assert.rejects(engine.step(bad), Error, `step: ${what}`);
      await assert.rejects(engine.logits(bad), Error, `logits: ${what}`);
    }
    for (const [what, make] of Object.entries(BAD_TILES)) {
      await assert.rejects(engine.encodeTiles(...make(engine.info)), Error, `encodeTiles: ${what}`);
    }
    assert.deepEqual(await continuation(driver, disturbed), expected);
  });

  contractTest(target, "a block has one writer in a step, and no reader beside it", async (engine) => {
    const driver = new EngineDriver(engine);
    const first = driver.add(textPrompt(PROMPT));
    const ids = [await driver.prefill(first)];
    const second = driver.add(textPrompt([1]));
    const work = [{ sequence: first, numTokens: 1 }, { sequence: second, numTokens: 1 }];
    const { maxBlocks, ...good } = driver.batch(work);
    for (const [what, block] of [["two writers", first.blocks.at(-1)!], ["a reader", first.blocks[0]!]] as const) {
      const blockTables = set(good.blockTables, maxBlocks, block);
      await assert.rejects(engine.step({ ...good, maxBlocks, blockTables }), Error, what);
    }
    for (let i = 0; i < 3; i++) ids.push((await driver.step([{ sequence: first, numTokens: 1 }])).tokenIds[0]!);
    assert.deepEqual(ids, await driver.generate(textPrompt(PROMPT), 4), "the bad steps changed nothing");
  });

  contractTest(target, "a token id under an embedding row is ignored", async (engine) => {
    await engine.encodeTiles(pixels(engine.info, 1), Int32Array.of(3));
    const row = 3 * engine.info.tokensPerTile;
    const ids: number[] = [];
    for (const ignored of [0, -5, engine.info.vocabSize + 9]) {
      const driver = new EngineDriver(engine);
      ids.push(...await driver.generate({ tokenIds: [ignored, 4], embeddingRows: [row, -1] }, 1));
    }
    assert.equal(new Set(ids).size, 1);
  });

  contractTest(target, "entries of sequences that do not sample are -1 and 0", async (engine) => {
    const driver = new EngineDriver(engine);
    const [chunked, whole] = [driver.add(textPrompt(PROMPT)), driver.add(textPrompt(PROMPT))];
    const work = [{ sequence: chunked, numTokens: 5 }, { sequence: whole, numTokens: PROMPT.length }];
    const { tokenIds, logprobs } = await driver.step(work);
    assert.deepEqual([tokenIds.length, logprobs.length], [2, 2]);
    assert.deepEqual([tokenIds[0], logprobs[0]], [-1, 0]);
    assert.ok(tokenIds[1]! >= 0 && tokenIds[1]! < engine.info.vocabSize);
    assert.ok(logprobs[1]! <= 0);
  });

  contractTest(target, "a draw depends on its seed and position alone", async (engine) => {
    const draw = async (seed: bigint, order: number): Promise<number[]> => {
      const driver = new EngineDriver(engine, order);
      return await driver.generate(textPrompt(PROMPT), 12, { temperature: 2, seed }, order);
    };
    const first = await draw(11n, 12);
    assert.deepEqual(await draw(11n, 5), first);
    assert.notDeepEqual(await draw(12n, 12), first);
    assert.notDeepEqual(await draw(11n + (1n << 40n), 12), first);
    const greedy = await new EngineDriver(engine).generate(textPrompt(PROMPT), 12);
    const topOne = await new EngineDriver(engine).generate(textPrompt(PROMPT), 12, { seed: 99n });
    assert.deepEqual(topOne, greedy, "temperature 0 ignores the seed");
  });

  contractTest(target, "a call too many in flight rejects, those before it stand", async (engine) => {
    const driver = new EngineDriver(engine);
    const sequence = driver.add(textPrompt(PROMPT));
    const first = driver.step([{ sequence, numTokens: PROMPT.length }]);
    const other = driver.batch([{ sequence: driver.add(textPrompt([1])), numTokens: 1 }]);
    const behind = Array.from({ length: engine.info.stepsInFlight - 1 }, () => engine.step(other));
    await assert.rejects(engine.step(other), Error);
    await assert.rejects(engine.logits(other), Error);
    for (const each of behind) assert.equal((await each).tokenIds.length, 1);
    const second = new EngineDriver(engine);
    const again = second.step([{ sequence: second.add(textPrompt(PROMPT)), numTokens: PROMPT.length }]);
    const overlapping = engine.tileEmbeddings(Int32Array.of(0));
    const outcomes = await Promise.allSettled([first, again, overlapping]);
    assert.equal(outcomes[0].status, "fulfilled");
    assert.deepEqual(outcomes[1].status === "fulfilled" && outcomes[2].status === "fulfilled", false);
    assert.equal((await driver.step([{ sequence, numTokens: 1 }])).tokenIds.length, 1);
  });

  contractTest(target, "tiles go in line among steps in flight, where there may be several", async (engine) => {
    const { tokensPerTile, stepsInFlight } = engine.info;
    const driver = new EngineDriver(engine);
    const two = pixels(engine.info, 2);
    const tileBytes = two.length / 2;
    await engine.encodeTiles(two.subarray(0, tileBytes), Int32Array.of(0));
    const rows = [...PROMPT.keys()].map((i) => i >= 1 && i <= tokensPerTile ? i - 1 : -1);
    const about = () =>
      driver.batch([{
        sequence: driver.add({ tokenIds: [...PROMPT], embeddingRows: rows }),
        numTokens: PROMPT.length,
      }]);
    const expected = await engine.step(about());

    await engine.encodeTiles(two.subarray(tileBytes), Int32Array.of(0));
    const other = await engine.step(about());
    assert.notDeepEqual([...other.logprobs], [...expected.logprobs]);
    const before = engine.step(about());
    const encoding = engine.encodeTiles(two.subarray(0, tileBytes), Int32Array.of(0));
    if (stepsInFlight === 1) {
      await assert.rejects(encoding, Error);
      assert.deepEqual(await before, other);
      return;
    }
    // One at a time, and nothing but steps beside it.
    await assert.rejects(engine.encodeTiles(two.subarray(tileBytes), Int32Array.of(0)), Error);
    const behind = engine.step(about());
    await assert.rejects(engine.tileEmbeddings(Int32Array.of(0)), Error);
    assert.deepEqual(await before, other);
    await encoding;
    assert.deepEqual(await behind, expected);
  });

  contractTest(target, "a step goes on from the tokens of the one before, and they are counted", async (engine) => {
    const samplings: DriverSampling[] = [
      { frequencyPenalty: 0.7, repetitionPenalty: 1.3, numTop: 2, seen: PROMPT.map((id) => [id, 0]) },
      { temperature: 1.5, seed: 5n },
      { presencePenalty: 3, seen: [] },
    ];
    const open = (driver: EngineDriver) => {
      const sequences = samplings.map((sampling, i) => driver.add(textPrompt(PROMPT.slice(i)), { ...sampling }));
      return { driver, sequences, prompts: sequences.map((s) => ({ sequence: s, numTokens: s.tokenIds.length })) };
    };
    /** What penalties are about, as far as the caller knows. */
    const count = ({ sampling, tokenIds, promptLength }: DriverSequence, end = tokenIds.length) => {
      if (sampling.seen === undefined) return;
      const seen = new Map(tokenIds.slice(0, promptLength).map((id) => [id, 0]));
      for (const id of tokenIds.slice(promptLength, end)) seen.set(id, (seen.get(id) ?? 0) + 1);
      (sampling as { seen?: unknown }).seen = [...seen];
    };
    const STEPS = 6;
    const known = open(new EngineDriver(engine, 3));
    const expected = [await known.driver.step(known.prompts)];
    for (let i = 0; i < STEPS; i++) {
      known.sequences.forEach((sequence) => count(sequence));
      expected.push(await known.driver.step(known.sequences.map((sequence) => ({ sequence, numTokens: 1 }))));
    }
    known.sequences.forEach((sequence) => known.driver.free(sequence));

    const { driver, sequences, prompts } = open(new EngineDriver(engine, 3));
    const results: StepResult[] = [];
    let running = engine.step(driver.batch(prompts));
    sequences.forEach((sequence) => sequence.numCached = sequence.tokenIds.length);
    // Rows change places from step to step.
    let order = sequences.map((_, i) => i);
    for (let i = 0; i < STEPS; i++) {
      const next = [...order.slice(1), order[0]!];
      sequences.forEach((sequence) => (count(sequence), driver.append(sequence, -1)));
      const batch = driver.batch(next.map((index) => ({ sequence: sequences[index]!, numTokens: 1 })));
      const before = running;
      if (engine.info.stepsInFlight === 1) await before;
      running = engine.step({ ...batch, idsFrom: Int32Array.from(next, (index) => order.indexOf(index)) });
      const result = await before;
      results.push(result);
      order.forEach((index, row) => {
        sequences[index]!.tokenIds[sequences[index]!.tokenIds.length - 1] = result.tokenIds[row]!;
        sequences[index]!.numCached += 1;
      });
      order = next;
    }
    results.push(await running);
    results.forEach((result, i) => {
      const rows = Array.from(order, (_, row) => (row + i) % order.length);
      const want = expected[i]!;
      assert.deepEqual([...result.tokenIds], rows.map((index) => want.tokenIds[index]), `step ${i}`);
      assert.deepEqual([...result.logprobs], rows.map((index) => want.logprobs[index]), `step ${i}`);
      assert.equal(result.maxTop, 2);
      const at = rows.indexOf(0) * 2;
      assert.deepEqual(result.topIds.slice(at, at + 2), want.topIds.slice(0, 2), `step ${i}`);
    });
  });

  contractTest(target, "close waits for a call in flight, then every call rejects", async (engine) => {
    const driver = new EngineDriver(engine);
    const batch = driver.batch([{ sequence: driver.add(textPrompt(PROMPT)), numTokens: PROMPT.length }]);
    let isDone = false;
    const running = engine.step(batch).then(() => isDone = true);
    const closing = engine.close();
    await assert.rejects(engine.step(batch), Error);
    await closing;
    await delay(0);
    assert.ok(isDone, "close resolved before the call in flight");
    await running;
    await assert.rejects(engine.step(batch), Error);
    await assert.rejects(engine.logits(batch), Error);
    await assert.rejects(engine.encodeTiles(pixels(engine.info, 1), Int32Array.of(0)), Error);
    await engine.close();
  });
}
