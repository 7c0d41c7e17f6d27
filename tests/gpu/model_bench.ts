/** Owns a model's figures on a GPU: tiles, prompt, decoding and first token, of the engine with random weights. */
import type { Engine } from "../../gpu-worker/engine/types.ts";
import { randomTile } from "../support/counter_random.ts";
import { type DriverSequence, EngineDriver, textPrompt } from "../support/engine_driver.ts";

const PROMPT_TOKENS = 2_048;
const DECODE_CONTEXT = 1_024;
const CHUNK = 2_048;
const BATCHES = [1, 8, 64, 256] as const;
const ROUNDS = 5;
const STEPS = 32;

/** Medians of rounds. */
export interface ModelFigures {
  readonly msPerTile: Readonly<Record<string, number>>;
  readonly prefillTokensPerSecond: number;
  readonly decodeTokensPerSecond: Readonly<Record<string, number>>;
  /** One tile encoded, a prompt with it read, one token drawn. */
  readonly firstTokenMs: number;
}

export async function measureModel(engine: Engine): Promise<ModelFigures> {
  const { tileSize, numKvBlocks, kvBlockSize, tokensPerTile } = engine.info;
  const driver = new EngineDriver(engine, 1, Array.from({ length: numKvBlocks }, (_, i) => i));
  const pixels = (count: number) => {
    const tile = randomTile(1, 0, tileSize);
    const all = new Uint8Array(count * tile.length);
    for (let i = 0; i < count; i++) all.set(tile, i * tile.length);
    return all;
  };
  const msPerTile: Record<string, number> = {};
  for (const count of [1, 13]) {
    const tiles = pixels(count);
    const slots = Int32Array.from({ length: count }, (_, i) => i);
    msPerTile[count] = await medianMs(() => engine.encodeTiles(tiles, slots)) / count;
  }
  const prefillMs = await medianMs(async () => {
    const sequence = driver.add(textPrompt(ids(PROMPT_TOKENS, 0)));
    await driver.prefill(sequence, CHUNK);
    driver.free(sequence);
  });
  const rows = [...Array.from({ length: tokensPerTile }, (_, i) => i), ...new Array<number>(64).fill(-1)];
  const firstTokenMs = await medianMs(async () => {
    await engine.encodeTiles(pixels(1), Int32Array.of(0));
    const sequence = driver.add({ tokenIds: ids(rows.length, 1), embeddingRows: rows });
    await driver.prefill(sequence, CHUNK);
    driver.free(sequence);
  });
  const decodeTokensPerSecond: Record<string, number> = {};
  const sequences: DriverSequence[] = [];
  for (const batch of BATCHES) {
    const needed = batch * Math.ceil((DECODE_CONTEXT + (ROUNDS + 1) * STEPS * BATCHES.length) / kvBlockSize);
    if (needed > numKvBlocks) break; // its keys and values have no room
    while (sequences.length < batch) {
      const sequence = driver.add(textPrompt(ids(DECODE_CONTEXT, sequences.length)));
      await driver.prefill(sequence, CHUNK);
      sequences.push(sequence);
    }
    const work = sequences.map((sequence) => ({ sequence, numTokens: 1 }));
    const ms = await medianMs(async () => {
      for (let i = 0; i < STEPS; i++) await driver.step(work);
    });
    decodeTokensPerSecond[batch] = batch * STEPS / ms * 1_000;
  }
  return {
    msPerTile,
    prefillTokensPerSecond: PROMPT_TOKENS / prefillMs * 1_000,
    decodeTokensPerSecond,
    firstTokenMs,
  };
}

function ids(length: number, index: number): number[] {
  return Array.from({ length }, (_, i) => (i * 7_919 + index * 104_729) % 150_000);
}

/** After one run that warms everything. */
async function medianMs(work: () => Promise<unknown>): Promise<number> {
  await work();
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    await work();
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)]!;
}
