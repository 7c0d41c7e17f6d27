/** Owns the state of one sequence: its tokens, how many of them have KV, and the blocks and slots that hold it. */
import type { Prompt } from "../prompt/prompt.ts";
import { EMPTY_PREFIX, type PrefixNode } from "./block_pool.ts";
import { hasPenalties, type SequenceSampling } from "./sampling.ts";
import { SeenTokens } from "./seen_tokens.ts";

export interface SequenceOptions {
  readonly id: string;
  readonly prompt: Prompt;
  /** [tiles of the prompt] slot of each, its embeddings in place. */
  readonly slots: Int32Array;
  readonly sampling: SequenceSampling;
  /** Ids of the answer that an earlier attempt generated. */
  readonly resumeIds: readonly number[];
  /** Ids the answer may have in all; default: no end known. */
  readonly maxTokens?: number;
  /** Smaller goes first. Default 0. */
  readonly priority?: number;
  /** Whose turn it takes. Default: everybody is one. */
  readonly tenant?: string;
  /** KV is shared only with sequences of the same salt. Default: none. */
  readonly salt?: string;
  /** A sequence of the same prompt, added before: this one waits until it can share that one's KV of the prompt. */
  readonly leader?: Sequence | null;
}

/** Fields are set by the scheduler alone. */
export class Sequence {
  readonly id: string;
  readonly prompt: Prompt;
  readonly slots: Int32Array;
  readonly sampling: SequenceSampling;
  readonly maxTokens: number;
  priority: number;
  readonly tenant: string;
  readonly leader: Sequence | null;
  /** Sampled ids, those of earlier attempts included. To be added to by `append`. */
  readonly generated: number[] = [];
  /** Null where no penalty needs them. */
  readonly seen: SeenTokens | null;
  /** Order of arrival; kept through preemption, so that the oldest is never put back behind a younger one. */
  arrival = -1;
  state: "new" | "following" | "waiting" | "running" | "removed" = "new";
  /** Whether it has been in a batch: it is not charged again. */
  hasRun = false;
  /** Tokens in the steps in flight, which read its blocks and slots; 0 when there is none. */
  numInFlight = 0;
  /** How many of these steps sample its next tokens. */
  numSampling = 0;
  /** Tokens, from the first on, whose KV is in `blocks`. */
  numComputed = 0;
  readonly blocks: number[] = [];
  /** How often `blocks` was emptied. */
  blocksEpoch = 0;
  /** Full blocks that are findable by content, and the node of the last of them. */
  numPublished = 0;
  prefix: PrefixNode = EMPTY_PREFIX;
  /** Prompt tokens whose KV was found, at the first admission; null before. */
  numCachedTokens: number | null = null;
  /** Steps in a row that failed with it. */
  numFailures = 0;
  /** Sequences that wait for this one's KV. */
  readonly followers: Sequence[] = [];
  readonly #salt: string;
  /** Contents of full blocks asked for so far. */
  readonly #contents: string[] = [];

  constructor(options: SequenceOptions) {
    this.id = options.id;
    this.prompt = options.prompt;
    this.slots = options.slots;
    this.sampling = options.sampling;
    this.maxTokens = options.maxTokens ?? Infinity;
    this.priority = options.priority ?? 0;
    this.tenant = options.tenant ?? "";
    this.leader = options.leader ?? null;
    this.#salt = options.salt ?? "";
    this.seen = hasPenalties(this.sampling) ? new SeenTokens() : null;
    if (this.seen !== null) { for (const id of this.prompt.tokenIds) this.seen.addOfPrompt(id); }
    for (const id of options.resumeIds) this.append(id);
  }

  /** One more sampled id. */
  append(id: number): void {
    this.generated.push(id);
    this.seen?.addOfAnswer(id);
  }

  get isInFlight(): boolean {
    return this.numInFlight > 0;
  }

  get numTokens(): number {
    return this.prompt.tokenIds.length + this.generated.length;
  }

  /** Tokens whose KV there will be when the steps in flight have ended. */
  get numPlanned(): number {
    return this.numComputed + this.numInFlight;
  }

  /** Tokens there will be when the steps in flight have ended. */
  get numExpected(): number {
    return this.numTokens + this.numSampling;
  }

  /** Tokens left to compute when the steps in flight have ended, before the next can be sampled. */
  get numRemaining(): number {
    return this.numExpected - this.numPlanned;
  }

  /** Whether the steps in flight certainly sample its last token. */
  get isEnding(): boolean {
    return this.numSampling > 0 && this.generated.length + this.numSampling >= this.maxTokens;
  }

  /** The id at a position; -1 for one that is still being sampled. */
  tokenAt(position: number): number {
    const numPrompt = this.prompt.tokenIds.length;
    return position < numPrompt ? this.prompt.tokenIds[position]! : this.generated[position - numPrompt] ?? -1;
  }

  /** Row in the tile embedding cache, or -1 for text. */
  embeddingRowAt(position: number, tokensPerTile: number): number {
    if (position >= this.prompt.tokenIds.length) return -1;
    const tile = this.prompt.tileOf[position]!;
    return tile === -1 ? -1 : this.slots[tile]! * tokensPerTile + this.prompt.rowOf[position]!;
  }

  /** What stands in the full block `index`, as text that is equal only for equal content and salt, pixels included. */
  contentOf(index: number, blockSize: number, trainedLength: number): string {
    // Ids are only ever added behind, so what was once read stays.
    return this.#contents[index] ??= this.#read(index * blockSize, (index + 1) * blockSize, trainedLength);
  }

  /** The beginning of a prompt beyond `trainedLength` says how long that is, as its keys are rotated by it. */
  #read(start: number, end: number, trainedLength: number): string {
    const numPrompt = this.prompt.tokenIds.length;
    const parts: string[] = start === 0 && numPrompt > trainedLength ? [`of ${numPrompt}`] : [];
    // Blocks behind the first are known by it; quoted, so that no salt can look like ids.
    if (start === 0 && this.#salt !== "") parts.push(JSON.stringify(this.#salt));
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
