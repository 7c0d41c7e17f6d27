/** Owns the layout of a step: chunks of sequences in, the engine's typed arrays out, written in place step after step. */
import type { StepBatch } from "../engine/types.ts";
import { Ragged } from "./ragged.ts";
import { hasPenalties, isPlain } from "./sampling.ts";
import type { Sequence } from "./sequence.ts";

/** New tokens of one sequence in one step: positions `start .. start + count`. */
export interface Chunk {
  readonly sequence: Sequence;
  readonly start: number;
  readonly count: number;
  /** Whether it reaches the sequence's end, so that a token is sampled. */
  readonly samples: boolean;
}

/** Rows of block tables have a multiple of this, so that they seldom move. */
const TABLE_STEP = 16;
const NO_FLOATS = new Float32Array(0);
const NO_INTS = new Int32Array(0);

/** What a row of the batch was written for last. */
interface RowMark {
  sequence: Sequence | null;
  blocksEpoch: number;
  numBlocks: number;
}

/**
 * The arrays of one batch, reused: `fill` writes what has changed since the last batch, `finish` what is known only when
 * the step before has ended. A batch is good until the next `fill`.
 */
export class BatchWriter {
  readonly #kvBlockSize: number;
  readonly #tokensPerTile: number;
  #numTokens = 0;
  #tokenIds = new Int32Array(0);
  #positions = new Int32Array(0);
  #embeddingRows = new Int32Array(0);
  #queryStarts = new Int32Array(1);
  #blockTables = new Int32Array(0);
  #maxBlocks = 0;
  #promptLengths = new Int32Array(0);
  #sample = new Uint8Array(0);
  #temperature = new Float32Array(0);
  #topP = new Float32Array(0);
  #topK = new Int32Array(0);
  #seed = new BigUint64Array(0);
  #minP = new Float32Array(0);
  #repetitionPenalty = new Float32Array(0);
  #presencePenalty = new Float32Array(0);
  #frequencyPenalty = new Float32Array(0);
  #numTop = new Int32Array(0);
  #idsFrom = new Int32Array(0);
  #marks: RowMark[] = [];
  readonly #seen = new Ragged();
  readonly #biases = new Ragged();

  constructor(kvBlockSize: number, tokensPerTile: number) {
    this.#kvBlockSize = kvBlockSize;
    this.#tokensPerTile = tokensPerTile;
  }

  /** Writes everything but ids that are still being sampled, and lists that depend on them. */
  fill(chunks: readonly Chunk[]): void {
    let numTokens = 0;
    let maxBlocks = 0;
    for (const { start, count } of chunks) {
      numTokens += count;
      maxBlocks = Math.max(maxBlocks, this.#blocksOf(start + count));
    }
    this.#reserve(chunks.length, numTokens, maxBlocks);
    this.#numTokens = numTokens;
    let token = 0;
    for (let s = 0; s < chunks.length; s++) {
      const { sequence, start, count, samples } = chunks[s]!;
      for (let position = start; position < start + count; position++, token++) {
        this.#tokenIds[token] = sequence.tokenAt(position);
        this.#positions[token] = position;
        this.#embeddingRows[token] = sequence.embeddingRowAt(position, this.#tokensPerTile);
      }
      this.#queryStarts[s + 1] = token;
      this.#sample[s] = samples ? 1 : 0;
      const mark = this.#marks[s]!;
      if (mark.sequence !== sequence) this.#writeRow(s, sequence);
      this.#writeTable(s, sequence, mark, this.#blocksOf(start + count));
    }
  }

  /**
   * The batch, once every token is known, or what is not is sampled by the step in flight.
   * @param rowOf row of each sequence in that step
   */
  finish(chunks: readonly Chunk[], rowOf?: ReadonlyMap<Sequence, number>): StepBatch {
    let isPlainBatch = true;
    let isFed = false;
    for (let s = 0; s < chunks.length; s++) {
      const { sequence, start, count } = chunks[s]!;
      const last = this.#queryStarts[s + 1]! - 1;
      if (this.#tokenIds[last] === -1) this.#tokenIds[last] = sequence.tokenAt(start + count - 1);
      this.#idsFrom[s] = this.#tokenIds[last] === -1 ? rowOf!.get(sequence)! : -1;
      if (this.#idsFrom[s] !== -1) isFed = true;
      if (!isPlain(sequence.sampling)) isPlainBatch = false;
    }
    const [S, T] = [chunks.length, this.#numTokens];
    if (!isPlainBatch) this.#writeLists(chunks);
    const floats = (array: Float32Array) => isPlainBatch ? NO_FLOATS : array.subarray(0, S);
    return {
      tokenIds: this.#tokenIds.subarray(0, T),
      positions: this.#positions.subarray(0, T),
      embeddingRows: this.#embeddingRows.subarray(0, T),
      queryStarts: this.#queryStarts.subarray(0, S + 1),
      blockTables: this.#blockTables.subarray(0, S * this.#maxBlocks),
      maxBlocks: this.#maxBlocks,
      promptLengths: this.#promptLengths.subarray(0, S),
      sample: this.#sample.subarray(0, S),
      temperature: this.#temperature.subarray(0, S),
      topP: this.#topP.subarray(0, S),
      topK: this.#topK.subarray(0, S),
      seed: this.#seed.subarray(0, S),
      minP: floats(this.#minP),
      repetitionPenalty: floats(this.#repetitionPenalty),
      presencePenalty: floats(this.#presencePenalty),
      frequencyPenalty: floats(this.#frequencyPenalty),
      numTop: isPlainBatch ? NO_INTS : this.#numTop.subarray(0, S),
      seenStarts: isPlainBatch ? NO_INTS : this.#seen.starts,
      seenIds: isPlainBatch ? NO_INTS : this.#seen.ids,
      seenCounts: isPlainBatch ? NO_INTS : this.#seen.counts,
      biasStarts: isPlainBatch ? NO_INTS : this.#biases.starts,
      biasIds: isPlainBatch ? NO_INTS : this.#biases.ids,
      biases: isPlainBatch ? NO_FLOATS : this.#biases.numbers,
      idsFrom: isFed ? this.#idsFrom.subarray(0, S) : NO_INTS,
    };
  }

  #blocksOf(numTokens: number): number {
    return Math.ceil(numTokens / this.#kvBlockSize);
  }

  #writeRow(s: number, { prompt, sampling }: Sequence): void {
    this.#promptLengths[s] = prompt.tokenIds.length;
    this.#temperature[s] = sampling.temperature;
    this.#topP[s] = sampling.topP;
    this.#topK[s] = sampling.topK;
    this.#seed[s] = sampling.seed;
    this.#minP[s] = sampling.minP;
    this.#repetitionPenalty[s] = sampling.repetitionPenalty;
    this.#presencePenalty[s] = sampling.presencePenalty;
    this.#frequencyPenalty[s] = sampling.frequencyPenalty;
    this.#numTop[s] = sampling.numTop;
  }

  #writeTable(s: number, sequence: Sequence, mark: RowMark, numBlocks: number): void {
    const row = s * this.#maxBlocks;
    const isSame = mark.sequence === sequence && mark.blocksEpoch === sequence.blocksEpoch;
    const numKept = isSame ? Math.min(mark.numBlocks, numBlocks) : 0;
    for (let i = numKept; i < numBlocks; i++) this.#blockTables[row + i] = sequence.blocks[i]!;
    if (mark.numBlocks > numBlocks) this.#blockTables.fill(-1, row + numBlocks, row + mark.numBlocks);
    mark.sequence = sequence;
    mark.blocksEpoch = sequence.blocksEpoch;
    mark.numBlocks = numBlocks;
  }

  #writeLists(chunks: readonly Chunk[]): void {
    this.#seen.start(chunks.length);
    this.#biases.start(chunks.length);
    for (const { sequence, samples } of chunks) {
      const { sampling, seen } = sequence;
      if (samples && seen !== null && hasPenalties(sampling)) this.#seen.addCounts(seen.ids, seen.counts);
      if (samples) {
        this.#biases.addNumbers(sampling.biasIds, sampling.biases);
        const numBefore = sequence.generated.length + sequence.numSampling;
        if (numBefore < sampling.minTokens) this.#biases.addNumber(sampling.forbiddenIds, -Infinity);
      }
      this.#seen.endRow();
      this.#biases.endRow();
    }
  }

  /** Makes room; forgets the rows where they move. */
  #reserve(numSequences: number, numTokens: number, maxBlocks: number): void {
    if (numTokens > this.#tokenIds.length) {
      const length = 2 * numTokens;
      this.#tokenIds = new Int32Array(length);
      this.#positions = new Int32Array(length);
      this.#embeddingRows = new Int32Array(length);
    }
    const width = Math.ceil(maxBlocks / TABLE_STEP) * TABLE_STEP;
    const isNarrow = width > this.#maxBlocks || width < this.#maxBlocks / 4;
    if (numSequences <= this.#sample.length && !isNarrow) return;
    const length = Math.max(this.#sample.length, numSequences <= this.#sample.length ? 0 : 2 * numSequences);
    if (isNarrow) this.#maxBlocks = width;
    this.#queryStarts = new Int32Array(length + 1);
    this.#blockTables = new Int32Array(length * this.#maxBlocks).fill(-1);
    this.#promptLengths = new Int32Array(length);
    this.#sample = new Uint8Array(length);
    this.#temperature = new Float32Array(length);
    this.#topP = new Float32Array(length);
    this.#topK = new Int32Array(length);
    this.#seed = new BigUint64Array(length);
    this.#minP = new Float32Array(length);
    this.#repetitionPenalty = new Float32Array(length);
    this.#presencePenalty = new Float32Array(length);
    this.#frequencyPenalty = new Float32Array(length);
    this.#numTop = new Int32Array(length);
    this.#idsFrom = new Int32Array(length);
    this.#marks = Array.from({ length }, () => ({ sequence: null, blocksEpoch: 0, numBlocks: 0 }));
  }
}
