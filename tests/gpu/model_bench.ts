/** Owns a model's figures on a GPU: tiles, prompt, decoding and first token, of the engine with random weights. */
import { table } from "../../infra/plan/report.ts";
import type { Engine, StepBatch } from "../../gpu-worker/engine/types.ts";
import { randomTile } from "../support/counter_random.ts";
import { type DriverPrompt, type DriverSequence, EngineDriver, textPrompt } from "../support/engine_driver.ts";
import type { Attempt, ModelFigures } from "./results.ts";

/** What is measured. */
export interface ModelSizes {
  /** Encoded together. */
  readonly tiles: readonly number[];
  readonly promptTokens: number;
  /** Text behind one tile, of the prompt whose first token is waited for. */
  readonly questionTokens: number;
  /** Tokens of each sequence when decoding begins. */
  readonly decodeContext: number;
  /** Sequences decoded together, rising. */
  readonly batches: readonly number[];
  /** Of one round of decoding. */
  readonly steps: number;
  /** Medians are of so many, behind one that warms. */
  readonly rounds: number;
}

/** What is told of a GPU. */
export const MODEL_SIZES: ModelSizes = {
  tiles: [1, 13],
  promptTokens: 2_048,
  questionTokens: 64,
  decodeContext: 1_024,
  batches: [1, 8, 64, 256],
  steps: 32,
  rounds: 5,
};

export async function measureModel(engine: Engine, sizes: ModelSizes): Promise<ModelFigures> {
  const { tileSize, numKvBlocks, kvBlockSize, tokensPerTile, vocabSize } = engine.info;
  const driver = new EngineDriver(engine, 1, Array.from({ length: numKvBlocks }, (_, i) => i));
  const medianMs = (work: () => Promise<unknown>) => median(sizes.rounds, work);
  const ids = (length: number, index: number) =>
    Array.from({ length }, (_, i) => (i * 7_919 + index * 104_729) % vocabSize);
  const pixels = (count: number) => {
    const tile = randomTile(1, 0, tileSize);
    const all = new Uint8Array(count * tile.length);
    for (let i = 0; i < count; i++) all.set(tile, i * tile.length);
    return all;
  };
  const msPerTile: Record<string, number> = {};
  for (const count of sizes.tiles) {
    const tiles = pixels(count);
    const slots = Int32Array.from({ length: count }, (_, i) => i);
    msPerTile[count] = await medianMs(() => engine.encodeTiles(tiles, slots)) / count;
  }
  /** The batch of a whole prompt, which may run again and again. */
  const wholePrompt = (prompt: DriverPrompt): StepBatch => {
    const sequence = driver.add(prompt);
    const batch = driver.batch([{ sequence, numTokens: sequence.tokenIds.length }]);
    driver.free(sequence);
    return batch;
  };
  const prompt = wholePrompt(textPrompt(ids(sizes.promptTokens, 0)));
  const prefillMs = await medianMs(() => engine.step(prompt));
  const embeddingRows = [
    ...Array.from({ length: tokensPerTile }, (_, i) => i),
    ...new Array<number>(sizes.questionTokens).fill(-1),
  ];
  const question = wholePrompt({ tokenIds: ids(embeddingRows.length, 1), embeddingRows });
  const tile = pixels(1);
  const firstTokenMs = await medianMs(async () => {
    await engine.encodeTiles(tile, Int32Array.of(0));
    await engine.step(question);
  });
  const decodeTokensPerSecond: Record<string, number> = {};
  const sequences: DriverSequence[] = [];
  const longest = sizes.decodeContext + 1 + (sizes.rounds + 1) * sizes.steps * sizes.batches.length;
  for (const batch of sizes.batches) {
    if (batch * Math.ceil(longest / kvBlockSize) > numKvBlocks) break; // its keys and values have no room
    while (sequences.length < batch) {
      const sequence = driver.add(textPrompt(ids(sizes.decodeContext, sequences.length)));
      await driver.prefill(sequence);
      sequences.push(sequence);
    }
    const times: number[] = [];
    for (let round = 0; round <= sizes.rounds; round++) times.push(await decode(driver, sequences, sizes.steps));
    decodeTokensPerSecond[batch] = batch * sizes.steps / middle(times.slice(1)) * 1_000;
  }
  return {
    msPerTile,
    prefillTokensPerSecond: sizes.promptTokens / prefillMs * 1_000,
    decodeTokensPerSecond,
    firstTokenMs,
  };
}

/**
 * Decodes all sequences for some steps as a worker does: a step is given while the one before runs, and goes on from what
 * that one draws. Batches are made before the clock starts. Milliseconds.
 */
async function decode(driver: EngineDriver, sequences: readonly DriverSequence[], steps: number): Promise<number> {
  const { engine } = driver;
  const isFed = engine.info.stepsInFlight > 1;
  const work = sequences.map((sequence) => ({ sequence, numTokens: 1 }));
  const idsFrom = Int32Array.from(sequences, (_, row) => row);
  const batches = Array.from({ length: steps }, (_, i) => {
    const batch = driver.batch(work);
    for (const sequence of sequences) {
      sequence.numCached++;
      driver.append(sequence, isFed ? -1 : 0);
    }
    return isFed && i > 0 ? { ...batch, idsFrom } : batch;
  });
  const start = performance.now();
  let running = engine.step(batches[0]!);
  for (const batch of batches.slice(1)) {
    if (!isFed) await running;
    const behind = engine.step(batch);
    // Whoever fails first is told of; the other must not be a rejection that nobody looks at.
    behind.catch(() => {});
    await running;
    running = behind;
  }
  const last = await running;
  const ms = performance.now() - start;
  sequences.forEach((sequence, row) => sequence.tokenIds[sequence.tokenIds.length - 1] = last.tokenIds[row]!);
  return ms;
}

/** After one run that warms everything. */
async function median(rounds: number, work: () => Promise<unknown>): Promise<number> {
  await work();
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    await work();
    times.push(performance.now() - start);
  }
  return middle(times);
}

function middle(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]!;
}

/** A line for everything that ran one model. */
export function modelTable(sizes: ModelSizes, attempts: Readonly<Record<string, Attempt>>): string {
  const cell = (value: number | undefined, digits: number) => value === undefined ? "-" : value.toFixed(digits);
  const head = [
    "",
    ...sizes.tiles.map((count) => `ms/tile at ${count}`),
    "prefill tok/s",
    ...sizes.batches.map((batch) => `decode tok/s x${batch}`),
    "first token ms",
  ];
  const rows = Object.entries(attempts).map(([who, figures]) =>
    "failed" in figures
      ? [`${who}: ${figures.failed.split("\n")[0]!.slice(0, 60)}`, ...head.slice(1).map(() => "-")]
      : [
        who,
        ...sizes.tiles.map((count) => cell(figures.msPerTile[count], 2)),
        cell(figures.prefillTokensPerSecond, 0),
        ...sizes.batches.map((batch) => cell(figures.decodeTokensPerSecond[batch], 0)),
        cell(figures.firstTokenMs, 1),
      ]
  );
  return table([head, ...rows]);
}
