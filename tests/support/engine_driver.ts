/** Owns driving an engine as a scheduler would, with block tables shuffled on purpose: prefill, chunks, greedy decoding, batches. */
import type { Engine, EngineInfo, StepBatch, StepResult } from "../../gpu-worker/engine/types.ts";
import { CounterStream } from "./counter_random.ts";

/** A prompt as the engine sees it. */
export interface DriverPrompt {
  readonly tokenIds: readonly number[];
  /** -1 for text, else `slot * tokensPerTile + row`. */
  readonly embeddingRows: readonly number[];
  /** Of the prompt these tokens go on from, where they are more than that (a resume). */
  readonly promptLength?: number;
}

/** How a sequence's tokens are drawn; greedy by default. */
export interface DriverSampling {
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly seed?: bigint;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly presencePenalty?: number;
  readonly frequencyPenalty?: number;
  readonly numTop?: number;
  /** Ids of the prompt and of the answer that penalties are about. */
  readonly seen?: readonly (readonly [id: number, count: number])[];
  readonly biases?: readonly (readonly [id: number, bias: number])[];
}

/** A sequence in an engine's KV cache; fields are set by the driver. */
export interface DriverSequence {
  readonly sampling: DriverSampling;
  readonly tokenIds: number[];
  readonly embeddingRows: number[];
  readonly promptLength: number;
  readonly blocks: number[];
  /** Tokens whose KV is written. */
  numCached: number;
}

/** The next `numTokens` uncached tokens of a sequence. */
export interface DriverWork {
  readonly sequence: DriverSequence;
  readonly numTokens: number;
}

/** Greedy ids of each sequence, and the logits each id was chosen from. */
export interface Generated {
  readonly ids: number[][];
  readonly rows: Float32Array[][];
}

/** A text-only prompt. */
export function textPrompt(tokenIds: readonly number[]): DriverPrompt {
  return { tokenIds, embeddingRows: tokenIds.map(() => -1) };
}

/** Index of the largest value; the first one on a tie. */
export function argmax(row: Float32Array): number {
  return row.reduce((best, value, i) => value > row[best]! ? i : best, 0);
}

/** 0..length-1 in a seeded random order. */
export function shuffled(length: number, seed: number): number[] {
  const order = Array.from({ length }, (_, i) => i);
  const random = new CounterStream(seed, "shuffle");
  for (let i = length - 1; i > 0; i--) {
    const j = random.integer(i, i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** Where parts of these lengths begin, and where the last one ends. */
function startsOf(lengths: readonly number[]): Int32Array {
  const starts = [0];
  for (const length of lengths) starts.push(starts.at(-1)! + length);
  return Int32Array.from(starts);
}

/** One engine, its free blocks in random order, and the sequences a test keeps in it. */
export class EngineDriver {
  readonly #free: number[];

  /** `order`: blocks as they are handed out, last one first. */
  constructor(readonly engine: Engine, seed = 1, order: readonly number[] = shuffled(engine.info.numKvBlocks, seed)) {
    this.#free = [...order];
  }

  get info(): EngineInfo {
    return this.engine.info;
  }

  get numFreeBlocks(): number {
    return this.#free.length;
  }

  /** Registers a prompt; nothing is computed yet. */
  add(prompt: DriverPrompt, sampling: DriverSampling = {}): DriverSequence {
    return {
      sampling,
      tokenIds: [...prompt.tokenIds],
      embeddingRows: [...prompt.embeddingRows],
      promptLength: prompt.promptLength ?? prompt.tokenIds.length,
      blocks: [],
      numCached: 0,
    };
  }

  /** Gives a sequence's blocks back; they are the next ones handed out, so that a new sequence finds dirty blocks. */
  free(sequence: DriverSequence): void {
    this.#free.push(...sequence.blocks.splice(0));
    sequence.numCached = 0;
  }

  /** Appends a text token, to be computed by the next step. */
  append(sequence: DriverSequence, tokenId: number): void {
    sequence.tokenIds.push(tokenId);
    sequence.embeddingRows.push(-1);
  }

  /** The batch that computes `work`, blocks allocated; a sequence samples when its last token is in the batch. */
  batch(work: readonly DriverWork[]): StepBatch {
    for (const { sequence, numTokens } of work) this.#reserve(sequence, sequence.numCached + numTokens);
    const maxBlocks = Math.max(...work.map(({ sequence }) => sequence.blocks.length));
    const slice = ({ sequence, numTokens }: DriverWork, field: "tokenIds" | "embeddingRows"): number[] =>
      sequence[field].slice(sequence.numCached, sequence.numCached + numTokens);
    const sampling = work.map(({ sequence }) => sequence.sampling);
    return {
      tokenIds: Int32Array.from(work.flatMap((item) => slice(item, "tokenIds"))),
      positions: Int32Array.from(
        work.flatMap(({ sequence, numTokens }) => Array.from({ length: numTokens }, (_, i) => sequence.numCached + i)),
      ),
      embeddingRows: Int32Array.from(work.flatMap((item) => slice(item, "embeddingRows"))),
      queryStarts: startsOf(work.map(({ numTokens }) => numTokens)),
      blockTables: Int32Array.from(
        work.flatMap(({ sequence }) => Array.from({ length: maxBlocks }, (_, i) => sequence.blocks[i] ?? -1)),
      ),
      maxBlocks,
      promptLengths: Int32Array.from(work.map(({ sequence }) => sequence.promptLength)),
      sample: Uint8Array.from(
        work.map(({ sequence, numTokens }) => Number(sequence.numCached + numTokens === sequence.tokenIds.length)),
      ),
      temperature: Float32Array.from(sampling.map((s) => s.temperature ?? 0)),
      topP: Float32Array.from(sampling.map((s) => s.topP ?? 1)),
      topK: Int32Array.from(sampling.map((s) => s.topK ?? 0)),
      seed: BigUint64Array.from(sampling.map((s) => s.seed ?? 0n)),
      minP: Float32Array.from(sampling.map((s) => s.minP ?? 0)),
      repetitionPenalty: Float32Array.from(sampling.map((s) => s.repetitionPenalty ?? 1)),
      presencePenalty: Float32Array.from(sampling.map((s) => s.presencePenalty ?? 0)),
      frequencyPenalty: Float32Array.from(sampling.map((s) => s.frequencyPenalty ?? 0)),
      numTop: Int32Array.from(sampling.map((s) => s.numTop ?? 0)),
      seenStarts: startsOf(sampling.map((s) => s.seen?.length ?? 0)),
      seenIds: Int32Array.from(sampling.flatMap((s) => (s.seen ?? []).map(([id]) => id))),
      seenCounts: Int32Array.from(sampling.flatMap((s) => (s.seen ?? []).map(([, count]) => count))),
      biasStarts: startsOf(sampling.map((s) => s.biases?.length ?? 0)),
      biasIds: Int32Array.from(sampling.flatMap((s) => (s.biases ?? []).map(([id]) => id))),
      biases: Float32Array.from(sampling.flatMap((s) => (s.biases ?? []).map(([, bias]) => bias))),
      idsFrom: new Int32Array(0),
    };
  }

  /** Computes `work` and appends what was sampled. */
  async step(work: readonly DriverWork[]): Promise<StepResult> {
    const batch = this.batch(work);
    const result = await this.engine.step(batch);
    work.forEach(({ sequence, numTokens }, s) => {
      sequence.numCached += numTokens;
      if (batch.sample[s] === 1) this.append(sequence, result.tokenIds[s]!);
    });
    return result;
  }

  /**
   * Decodes `count` tokens of each sequence, all but its last token being cached: as a worker does it, with a step in line
   * behind the one that runs, where the engine takes one.
   */
  async decode(sequences: readonly DriverSequence[], count: number): Promise<void> {
    const work = sequences.map((sequence) => ({ sequence, numTokens: 1 }));
    const ids = Int32Array.from(sequences, (_, row) => row);
    const running: Promise<StepResult>[] = [];
    const land = async () => {
      const { tokenIds } = await running.shift()!;
      sequences.forEach((sequence, row) => {
        sequence.tokenIds[sequence.tokenIds.length - 1 - running.length] = tokenIds[row]!;
      });
    };
    for (let i = 0; i < count; i++) {
      if (running.length >= this.info.stepsInFlight) await land();
      const batch = this.batch(work);
      running.push(this.engine.step(running.length === 0 ? batch : { ...batch, idsFrom: ids }));
      for (const sequence of sequences) {
        sequence.numCached += 1;
        this.append(sequence, -1);
      }
    }
    while (running.length > 0) await land();
  }

  /** Computes `work` and returns the logits of each of its tokens, per sequence, token by token. Appends nothing. */
  async logits(work: readonly DriverWork[]): Promise<Float32Array[][]> {
    const flat = await this.engine.logits(this.batch(work));
    const { vocabSize } = this.info;
    let at = 0;
    return work.map(({ sequence, numTokens }) => {
      sequence.numCached += numTokens;
      return Array.from({ length: numTokens }, () => flat.slice(at * vocabSize, ++at * vocabSize));
    });
  }

  /** Prefills `sequence` in chunks of at most `chunk` tokens; the last chunk samples. Returns the first id. */
  async prefill(sequence: DriverSequence, chunk = Infinity): Promise<number> {
    for (;;) {
      const numTokens = Math.min(chunk, sequence.tokenIds.length - sequence.numCached);
      const isLast = sequence.numCached + numTokens === sequence.tokenIds.length;
      const result = await this.step([{ sequence, numTokens }]);
      if (isLast) return result.tokenIds[0]!;
    }
  }

  /** The next `count` ids of a prompt, its blocks freed afterwards. */
  async generate(
    prompt: DriverPrompt,
    count: number,
    sampling: DriverSampling = {},
    chunk = Infinity,
  ): Promise<number[]> {
    const sequence = this.add(prompt, sampling);
    const ids = [await this.prefill(sequence, chunk)];
    while (ids.length < count) ids.push((await this.step([{ sequence, numTokens: 1 }])).tokenIds[0]!);
    this.free(sequence);
    return ids;
  }

  /**
   * Greedy ids and the logits each was chosen from, of several prompts together. `chunks[i]` is the prefill chunk of
   * prompt i, so that with unlike chunks prefill and decode meet in one batch.
   */
  async generateTogether(
    prompts: readonly DriverPrompt[],
    count: number,
    chunks: readonly number[],
  ): Promise<Generated> {
    const sequences = prompts.map((prompt) => this.add(prompt));
    const ids: number[][] = prompts.map(() => []);
    const rows: Float32Array[][] = prompts.map(() => []);
    for (;;) {
      const active = sequences.flatMap((_, i) => ids[i]!.length < count ? [i] : []);
      if (active.length === 0) break;
      const work = active.map((i) => {
        const sequence = sequences[i]!;
        const numLeft = sequence.tokenIds.length - sequence.numCached;
        return { sequence, numTokens: Math.min(numLeft, chunks[i] ?? Infinity) };
      });
      const logits = await this.logits(work);
      active.forEach((i, k) => {
        const sequence = sequences[i]!;
        if (sequence.numCached < sequence.tokenIds.length) return;
        const row = logits[k]!.at(-1)!;
        rows[i]!.push(row);
        ids[i]!.push(argmax(row));
        this.append(sequence, ids[i]!.at(-1)!);
      });
    }
    for (const sequence of sequences) this.free(sequence);
    return { ids, rows };
  }

  #reserve(sequence: DriverSequence, numTokens: number): void {
    while (sequence.blocks.length * this.info.kvBlockSize < numTokens) {
      const block = this.#free.pop();
      if (block === undefined) throw new Error(`Cannot reserve ${numTokens} tokens: no free block, expected one`);
      sequence.blocks.push(block);
    }
  }
}
