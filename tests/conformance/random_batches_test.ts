/**
 * Owns the proof, at random, that a sequence's logits are the same bits alone or among 31 others: in any chunks, on a
 * reused prefix or without, on any number of threads, within and beyond the trained length, in every type of weights.
 */
import assert from "node:assert/strict";
import type { Dtype, Engine } from "../../gpu-worker/engine/types.ts";
import { CounterStream } from "../support/counter_random.ts";
import { argmax, type DriverPrompt, type DriverSequence, EngineDriver } from "../support/engine_driver.ts";
import { nativeTest } from "../support/golden_engine.ts";
import { driverPrompt, encodeGoldenTiles, type FamilyGolden, loadFamilies } from "../support/goldens.ts";
import { withNativeEngine } from "../support/native_engine.ts";

const NUM_TOGETHER = 32;
const NUM_GENERATED = 6;
/** Qwen2 that begins beyond its trained length, InternLM3 that begins and that grows beyond, the 6B tower. */
const MODELS = ["1b.3", "9b.4", "9b.3", "38b.3"];
const DTYPES: readonly Dtype[] = ["fp32", "bf16", "fp16", "int8", "nf4"];

/** A sequence under way, with the logits of its prompt's last token and of what it generates. */
interface Running {
  readonly sequence: DriverSequence;
  readonly rows: Float32Array[];
  /** Which prompt it has. */
  readonly prompt: number;
}

/** The golden's own prompt, and others: short ones, long ones, and one that shares its beginning. */
function makePrompts(golden: FamilyGolden, slots: readonly number[], random: CounterStream): DriverPrompt[] {
  const { vocab_size, max_position_embeddings: trained } = golden.config.llm_config;
  const own = driverPrompt(golden, golden.prompts[0]!, slots);
  const text = (name: string, length: number): DriverPrompt => {
    const stream = new CounterStream(7, name);
    const tokenIds = Array.from({ length }, (_, i) => stream.integer(i, vocab_size));
    return { tokenIds, embeddingRows: tokenIds.map(() => -1) };
  };
  const changedEnd = { ...own, tokenIds: own.tokenIds.with(-1, (own.tokenIds.at(-1)! + 1) % vocab_size) };
  const lengths = [1, 31, 33, 64, Math.min(trained - 2, 90), trained + 3];
  return [own, changedEnd, ...lengths.map((length, i) => text(`prompt.${i}.${random.word(i)}`, length))];
}

function finish(driver: EngineDriver, one: Running, row: Float32Array): void {
  one.rows.push(row);
  driver.append(one.sequence, argmax(row));
}

async function alone(driver: EngineDriver, prompt: DriverPrompt, index: number): Promise<Float32Array[]> {
  const one: Running = { sequence: driver.add(prompt), rows: [], prompt: index };
  while (one.rows.length < NUM_GENERATED) {
    const numTokens = one.sequence.tokenIds.length - one.sequence.numCached;
    const [rows] = await driver.logits([{ sequence: one.sequence, numTokens }]);
    finish(driver, one, rows!.at(-1)!);
  }
  driver.free(one.sequence);
  return one.rows;
}

/** Full blocks of `from` that `to` may read: prompts within the trained length, or of one length; never its last token. */
function reusable(from: DriverSequence, to: DriverSequence, blockSize: number, trained: number): number {
  if (from.promptLength !== to.promptLength && Math.max(from.promptLength, to.promptLength) > trained) return 0;
  let same = 0;
  const limit = Math.min(from.numCached, to.tokenIds.length - 1);
  while (
    same < limit && from.tokenIds[same] === to.tokenIds[same] && from.embeddingRows[same] === to.embeddingRows[same]
  ) same++;
  return Math.floor(same / blockSize);
}

/** Runs `NUM_TOGETHER` sequences at random; returns how many began on a reused prefix. */
async function together(
  driver: EngineDriver,
  prompts: readonly DriverPrompt[],
  expected: readonly Float32Array[][],
  random: CounterStream,
): Promise<number> {
  let draws = 0;
  const draw = (bound: number): number => random.integer(draws++, bound);
  const { kvBlockSize, trainedLength } = driver.info;
  const all: Running[] = [];
  let numReused = 0;
  while (all.length < NUM_TOGETHER || all.some(({ rows }) => rows.length < NUM_GENERATED)) {
    for (let i = draw(4); i > 0 && all.length < NUM_TOGETHER; i--) {
      const prompt = draw(3) === 0 ? draw(2) : draw(prompts.length);
      const sequence = driver.add(prompts[prompt]!);
      const sources = all.map((one) => ({
        one,
        count: reusable(one.sequence, sequence, kvBlockSize, trainedLength),
      }));
      const best = sources.reduce<(typeof sources)[number] | undefined>(
        (a, b) => a && a.count >= b.count ? a : b,
        undefined,
      );
      if (best !== undefined && best.count > 0 && draw(4) > 0) {
        sequence.blocks.push(...best.one.sequence.blocks.slice(0, best.count));
        sequence.numCached = best.count * kvBlockSize;
        numReused++;
      }
      all.push({ sequence, rows: [], prompt });
    }
    const active = all.filter(({ rows }) => rows.length < NUM_GENERATED && draw(8) > 0);
    if (active.length === 0) continue;
    const work = active.map(({ sequence }) => {
      const left = sequence.tokenIds.length - sequence.numCached;
      return { sequence, numTokens: draw(3) === 0 ? left : 1 + draw(Math.min(left, 40)) };
    });
    const logits = await driver.logits(work);
    active.forEach((one, i) => {
      if (one.sequence.numCached === one.sequence.tokenIds.length) finish(driver, one, logits[i]!.at(-1)!);
    });
  }
  all.forEach(({ rows, prompt }, i) => {
    rows.forEach((row, k) => {
      const bits = new Uint32Array(expected[prompt]![k]!.buffer);
      const isSame = new Uint32Array(row.buffer).every((word, at) => word === bits[at]);
      assert.ok(isSame, `sequence ${i} (prompt ${prompt}), token ${k}: other bits`);
    });
  });
  return numReused;
}

function onEngine(golden: FamilyGolden, dtype: Dtype, numThreads: number, use: (engine: Engine) => Promise<void>) {
  const { config, seed } = golden;
  return withNativeEngine({ config, seed }, { dtype, numThreads, kvCacheBytes: 64 * 2 ** 20, numTileSlots: 4 }, use);
}

const families = loadFamilies();
for (const name of MODELS) {
  for (const [i, dtype] of DTYPES.entries()) {
    nativeTest(`${name}: ${dtype} logits are the same bits alone or among 31 others, at random`, async () => {
      const golden = families.find((one) => one.name === name)!;
      const random = new CounterStream(i + 1, `batches.${name}`);
      const expected: Float32Array[][] = [];
      await onEngine(golden, dtype, 1, async (engine) => {
        const driver = new EngineDriver(engine);
        const prompts = makePrompts(golden, await encodeGoldenTiles(engine, golden), random);
        for (const [index, prompt] of prompts.entries()) expected.push(await alone(driver, prompt, index));
      });
      for (const numThreads of [1, 3]) {
        await onEngine(golden, dtype, numThreads, async (engine) => {
          const prompts = makePrompts(golden, await encodeGoldenTiles(engine, golden), random);
          const numReused = await together(new EngineDriver(engine, 5), prompts, expected, random);
          assert.ok(numReused > 0, "no prefix was reused");
        });
      }
    });
  }
}
