/** Owns the state of one sequence: its tokens, how many of them have KV, and the blocks and slots that hold it. */
import type { Sampling } from "@tessera/shared";
import type { Prompt } from "../prompt/prompt.ts";
import { EMPTY_PREFIX, type PrefixNode } from "./block_pool.ts";

/** How the engine draws this sequence's tokens. */
export interface SequenceSampling {
  /** 0 is greedy. */
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly seed: bigint;
}

/** A request's sampling as the engine takes it: what its 32-bit fields cannot hold is brought to what means the same. */
export function engineSampling(sampling: Sampling, vocabSize: number): SequenceSampling {
  const { temperature, top_p, top_k, seed } = sampling;
  return {
    temperature: temperature < MIN_TEMPERATURE ? 0 : temperature,
    topP: Math.max(top_p, MIN_TOP_P),
    topK: Math.min(top_k, vocabSize),
    seed: BigInt(seed),
  };
}

/** Below these, only the likeliest token is ever drawn. */
const MIN_TEMPERATURE = 1e-4;
const MIN_TOP_P = 1e-6;

export interface SequenceOptions {
  readonly id: string;
  readonly prompt: Prompt;
  /** [tiles of the prompt] slot of each, its embeddings in place. */
  readonly slots: Int32Array;
  readonly sampling: SequenceSampling;
  /** Ids of the answer that an earlier attempt generated. */
  readonly resumeIds: readonly number[];
}

/** Fields are set by the scheduler alone. */
export class Sequence {
  readonly id: string;
  readonly prompt: Prompt;
  readonly slots: Int32Array;
  readonly sampling: SequenceSampling;
  /** Sampled ids, those of earlier attempts included. */
  readonly generated: number[];
  /** Order of arrival; kept through preemption, so that the oldest is never put back behind a younger one. */
  arrival = -1;
  state: "new" | "waiting" | "running" | "removed" = "new";
  /** True while an engine call reads its blocks and slots. */
  isInFlight = false;
  /** Tokens, from the first on, whose KV is in `blocks`. */
  numComputed = 0;
  readonly blocks: number[] = [];
  /** Full blocks that are findable by content, and the node of the last of them. */
  numPublished = 0;
  prefix: PrefixNode = EMPTY_PREFIX;
  /** Prompt tokens whose KV was found, at the first admission; null before. */
  numCachedTokens: number | null = null;
  /** Steps in a row that failed with it. */
  numFailures = 0;

  constructor(options: SequenceOptions) {
    this.id = options.id;
    this.prompt = options.prompt;
    this.slots = options.slots;
    this.sampling = options.sampling;
    this.generated = [...options.resumeIds];
  }

  get numTokens(): number {
    return this.prompt.tokenIds.length + this.generated.length;
  }

  /** Tokens whose KV is to be computed before the next can be sampled. */
  get numRemaining(): number {
    return this.numTokens - this.numComputed;
  }

  tokenAt(position: number): number {
    const numPrompt = this.prompt.tokenIds.length;
    return position < numPrompt ? this.prompt.tokenIds[position]! : this.generated[position - numPrompt]!;
  }

  /** Row in the tile embedding cache, or -1 for text. */
  embeddingRowAt(position: number, tokensPerTile: number): number {
    if (position >= this.prompt.tokenIds.length) return -1;
    const tile = this.prompt.tileOf[position]!;
    return tile === -1 ? -1 : this.slots[tile]! * tokensPerTile + this.prompt.rowOf[position]!;
  }

  /**
   * What stands in [start, end), as text that is equal only for equal content, pixels included. The beginning of a
   * prompt beyond `trainedLength` says how long that is, as its keys are rotated by it.
   */
  contentOf(start: number, end: number, trainedLength: number): string {
    const numPrompt = this.prompt.tokenIds.length;
    const parts: string[] = start === 0 && numPrompt > trainedLength ? [`of ${numPrompt}`] : [];
    let tileBefore = -1;
    for (let position = start; position < end; position++) {
      const tile = position < numPrompt ? this.prompt.tileOf[position]! : -1;
      if (tile === -1) parts.push(String(this.tokenAt(position)));
      else if (tile === tileBefore) parts.push("+");
      else parts.push(`${this.prompt.tiles[tile]}:${this.prompt.rowOf[position]}`);
      tileBefore = tile;
    }
    return parts.join(",");
  }
}
