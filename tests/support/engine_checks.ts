/** Owns the argument checks an engine must make before it touches memory, written apart from the real engine's. */
import { type EngineInfo, MAX_TOP, type StepBatch } from "../../gpu-worker/engine/types.ts";

/** The rejection of a bad argument. */
function refuse(action: string, what: string, expected: string): Error {
  return new Error(`Cannot ${action}: ${what}, expected ${expected}`);
}

function checkLength(name: string, length: number, expected: number): void {
  if (length !== expected) throw refuse("step", `${name} has ${length} entries`, `${expected}`);
}

/** Throws unless `pixels` and `slots` describe whole tiles in distinct, existing slots. */
export function checkTiles(info: EngineInfo, pixels: Uint8Array, slots: Int32Array): void {
  const tileBytes = info.tileSize ** 2 * 3;
  if (slots.length === 0) throw refuse("encode tiles", "no slots", "at least one");
  if (pixels.length !== slots.length * tileBytes) {
    throw refuse("encode tiles", `${pixels.length} bytes of pixels`, `${slots.length} x ${tileBytes}`);
  }
  for (const slot of slots) {
    if (slot < 0 || slot >= info.numTileSlots) throw refuse("encode tiles", `slot ${slot}`, `< ${info.numTileSlots}`);
  }
  if (new Set(slots).size !== slots.length) throw refuse("encode tiles", "a slot given twice", "distinct slots");
}

/** Throws unless `slots` name filled slots; `isFilled` says which are. */
export function checkFilled(info: EngineInfo, slots: Int32Array, isFilled: (slot: number) => boolean): void {
  for (const slot of slots) {
    if (slot < 0 || slot >= info.numTileSlots || !isFilled(slot)) {
      throw refuse("read tile embeddings", `slot ${slot}`, "one that a tile was encoded to");
    }
  }
}

function checkShapes(batch: StepBatch): void {
  const numSequences = batch.queryStarts.length - 1;
  const numTokens = batch.tokenIds.length;
  if (numSequences < 1) throw refuse("step", "no sequences", "at least one");
  checkLength("positions", batch.positions.length, numTokens);
  checkLength("embeddingRows", batch.embeddingRows.length, numTokens);
  checkLength("promptLengths", batch.promptLengths.length, numSequences);
  checkLength("sample", batch.sample.length, numSequences);
  checkLength("temperature", batch.temperature.length, numSequences);
  checkLength("topP", batch.topP.length, numSequences);
  checkLength("topK", batch.topK.length, numSequences);
  checkLength("seed", batch.seed.length, numSequences);
  if (!Number.isInteger(batch.maxBlocks) || batch.maxBlocks < 1) {
    throw refuse("step", `maxBlocks ${batch.maxBlocks}`, "a positive integer");
  }
  checkLength("blockTables", batch.blockTables.length, numSequences * batch.maxBlocks);
  if (batch.queryStarts[0] !== 0) throw refuse("step", `queryStarts[0] ${batch.queryStarts[0]}`, "0");
  for (let s = 0; s < numSequences; s++) {
    if (batch.queryStarts[s + 1]! <= batch.queryStarts[s]!) {
      throw refuse("step", `queryStarts not increasing at sequence ${s}`, "at least one token a sequence");
    }
  }
  checkLength("tokenIds", numTokens, batch.queryStarts[numSequences]!);
  for (const name of OPTIONAL) {
    if (batch[name].length !== 0) checkLength(name, batch[name].length, numSequences);
  }
  checkList("seenIds", batch.seenStarts, batch.seenIds, numSequences);
  checkLength("seenCounts", batch.seenCounts.length, batch.seenIds.length);
  checkList("biasIds", batch.biasStarts, batch.biasIds, numSequences);
  checkLength("biases", batch.biases.length, batch.biasIds.length);
}

const OPTIONAL = ["minP", "repetitionPenalty", "presencePenalty", "frequencyPenalty", "numTop"] as const;

function checkList(name: string, starts: Int32Array, ids: Int32Array, numSequences: number): void {
  if (starts.length === 0) return checkLength(name, ids.length, 0);
  checkLength(`${name}'s starts`, starts.length, numSequences + 1);
  if (starts[0] !== 0) throw refuse("step", `${name}'s starts begin with ${starts[0]}`, "0");
  for (let s = 0; s < numSequences; s++) {
    if (starts[s + 1]! < starts[s]!) {
      throw refuse("step", `${name}'s starts fall at sequence ${s}`, "none before the last");
    }
  }
  checkLength(name, ids.length, starts[numSequences]!);
}

/** The fields that may be empty. */
function checkWishes(info: EngineInfo, batch: StepBatch): void {
  const check = (name: keyof StepBatch, isGood: (value: number) => boolean, expected: string) => {
    for (const value of batch[name] as Float32Array | Int32Array) {
      if (!isGood(value)) throw refuse("step", `${name} holds ${value}`, expected);
    }
  };
  const isId = (id: number) => id >= 0 && id < info.vocabSize;
  check("minP", (p) => p >= 0 && p <= 1, "0 to 1");
  check("repetitionPenalty", (p) => p > 0 && Number.isFinite(p), "above 0");
  check("presencePenalty", Number.isFinite, "a number");
  check("frequencyPenalty", Number.isFinite, "a number");
  check("numTop", (n) => n >= 0 && n <= MAX_TOP, `0 to ${MAX_TOP}`);
  check("seenIds", isId, `ids below ${info.vocabSize}`);
  check("seenCounts", (n) => n >= 0, "0 or above");
  check("biasIds", isId, `ids below ${info.vocabSize}`);
  check("biases", (bias) => bias < Infinity, "numbers, or -Infinity");
}

/** `drawn`: the `sample` of the step before. */
function checkFed(batch: StepBatch, drawn: Uint8Array): void {
  if (batch.idsFrom.length === 0) return;
  checkLength("idsFrom", batch.idsFrom.length, batch.sample.length);
  batch.idsFrom.forEach((from, s) => {
    if (from === -1) return;
    if (drawn[from] !== 1) throw refuse("step", `idsFrom ${from}`, "-1 or one that the step before samples");
    if (batch.embeddingRows[batch.queryStarts[s + 1]! - 1] !== -1) {
      throw refuse("step", `idsFrom of a tile's row of sequence ${s}`, "text");
    }
  });
}

function checkToken(info: EngineInfo, batch: StepBatch, t: number, isFed: boolean): void {
  const row = batch.embeddingRows[t]!;
  const id = batch.tokenIds[t]!;
  const numRows = info.numTileSlots * info.tokensPerTile;
  if (row < -1 || row >= numRows) throw refuse("step", `embedding row ${row}`, `-1 or < ${numRows}`);
  if (row === -1 && !isFed && (id < 0 || id >= info.vocabSize)) {
    throw refuse("step", `token id ${id}`, `< ${info.vocabSize}`);
  }
  const position = batch.positions[t]!;
  if (position < 0 || position >= info.contextLength) {
    throw refuse("step", `position ${position}`, `< ${info.contextLength}`);
  }
}

function checkSampling(batch: StepBatch, s: number): void {
  const temperature = batch.temperature[s]!;
  const topP = batch.topP[s]!;
  if (!Number.isFinite(temperature) || temperature < 0) throw refuse("step", `temperature ${temperature}`, ">= 0");
  if (!(topP > 0 && topP <= 1)) throw refuse("step", `topP ${topP}`, "in (0, 1]");
  if (batch.topK[s]! < 0) throw refuse("step", `topK ${batch.topK[s]}`, ">= 0");
  if (batch.sample[s]! > 1) throw refuse("step", `sample ${batch.sample[s]}`, "0 or 1");
}

function checkSequence(info: EngineInfo, batch: StepBatch, s: number): void {
  const start = batch.queryStarts[s]!;
  const end = batch.queryStarts[s + 1]!;
  for (let t = start; t < end; t++) {
    checkToken(info, batch, t, t === end - 1 && (batch.idsFrom[s] ?? -1) !== -1);
    if (t > start && batch.positions[t] !== batch.positions[t - 1]! + 1) {
      throw refuse("step", `position ${batch.positions[t]} after ${batch.positions[t - 1]}`, "one more");
    }
  }
  checkSampling(batch, s);
  const promptLength = batch.promptLengths[s]!;
  if (promptLength < 1 || promptLength > info.contextLength) {
    throw refuse("step", `promptLengths ${promptLength}`, `1 to ${info.contextLength}`);
  }
  const numBlocks = Math.floor(batch.positions[end - 1]! / info.kvBlockSize) + 1;
  if (numBlocks > batch.maxBlocks) throw refuse("step", `${numBlocks} blocks needed`, `<= maxBlocks`);
  const table = batch.blockTables.subarray(s * batch.maxBlocks, (s + 1) * batch.maxBlocks);
  table.forEach((block, i) => {
    const least = i < numBlocks ? 0 : -1;
    if (block < least || block >= info.numKvBlocks) {
      throw refuse("step", `block ${block} at ${i} of sequence ${s}`, `${least} <= block < ${info.numKvBlocks}`);
    }
  });
  if (new Set(table.subarray(0, numBlocks)).size !== numBlocks) {
    throw refuse("step", `a block twice in sequence ${s}`, "distinct blocks");
  }
}

/** The logical blocks of sequence `s` that this step touches, with the cells of each that it reads and writes. */
function* touchedBlocks(info: EngineInfo, batch: StepBatch, s: number) {
  const first = batch.positions[batch.queryStarts[s]!]!;
  const last = batch.positions[batch.queryStarts[s + 1]! - 1]!;
  for (let i = 0; i * info.kvBlockSize <= last; i++) {
    const start = i * info.kvBlockSize;
    const numCells = Math.min(info.kvBlockSize, last + 1 - start);
    yield { block: batch.blockTables[s * batch.maxBlocks + i]!, numCells, firstWritten: Math.max(0, first - start) };
  }
}

/** A block has one writer in a step, and nobody else reads what it writes. */
function checkSharing(info: EngineInfo, batch: StepBatch): void {
  const writers = new Map<number, { readonly s: number; readonly firstWritten: number }>();
  const numSequences = batch.sample.length;
  for (let s = 0; s < numSequences; s++) {
    for (const { block, numCells, firstWritten } of touchedBlocks(info, batch, s)) {
      if (firstWritten >= numCells) continue;
      const other = writers.get(block);
      if (other) throw refuse("step", `sequences ${other.s} and ${s} write block ${block}`, "one writer");
      writers.set(block, { s, firstWritten });
    }
  }
  for (let s = 0; s < numSequences; s++) {
    for (const { block, numCells } of touchedBlocks(info, batch, s)) {
      const other = writers.get(block);
      if (other && other.s !== s && other.firstWritten < numCells) {
        throw refuse("step", `sequence ${s} reads block ${block}, which sequence ${other.s} writes`, "an earlier step");
      }
    }
  }
}

/** Throws unless every entry of a batch is one the engine may follow; `drawn` is the `sample` of the step before. */
export function checkBatch(info: EngineInfo, batch: StepBatch, drawn = new Uint8Array(0)): void {
  checkShapes(batch);
  checkFed(batch, drawn);
  checkWishes(info, batch);
  for (let s = 0; s + 1 < batch.queryStarts.length; s++) checkSequence(info, batch, s);
  checkSharing(info, batch);
}
