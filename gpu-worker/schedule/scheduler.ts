/** Owns which sequences run: every step takes all decodes and as much prefill as fits; the youngest yields when KV runs out. */
import type { EngineInfo, StepBatch, StepResult } from "../engine/types.ts";
import { ArrivalList } from "./arrival_list.ts";
import { buildBatch, type Chunk } from "./batch.ts";
import { BlockPool, EMPTY_PREFIX } from "./block_pool.ts";
import type { Sequence } from "./sequence.ts";

export interface SchedulerOptions {
  readonly info: Pick<EngineInfo, "kvBlockSize" | "numKvBlocks" | "trainedLength" | "contextLength" | "tokensPerTile">;
  /** New tokens of one step, prefill and decode together. */
  readonly tokenBudget: number;
  /** Sequences in one step. */
  readonly maxSequences: number;
}

/** A step on its way: to be ended with `complete` or `fail` before the next is planned. */
export interface Plan {
  readonly chunks: readonly Chunk[];
  readonly batch: StepBatch;
}

/** A token that a step sampled. */
export interface Sampled {
  readonly sequence: Sequence;
  readonly id: number;
}

/** Failed steps in a row after which a sequence is given up; after the first it runs alone. */
const MAX_FAILURES = 2;

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #blocks: BlockPool;
  readonly #waiting = new ArrivalList();
  readonly #running = new ArrivalList();
  #numArrivals = 0;
  #plan: Plan | null = null;
  #numPreemptions = 0;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#blocks = new BlockPool(options.info.numKvBlocks);
  }

  /** Longest sequence, prompt and answer together, that can run at all. */
  get maxLength(): number {
    const { contextLength, numKvBlocks, kvBlockSize } = this.#options.info;
    return Math.min(contextLength, numKvBlocks * kvBlockSize);
  }

  get numSequences(): number {
    return this.#waiting.length + this.#running.length;
  }

  get numPreemptions(): number {
    return this.#numPreemptions;
  }

  get numAvailableBlocks(): number {
    return this.#blocks.numAvailable;
  }

  /** Queues a sequence whose tiles are all in their slots. */
  add(sequence: Sequence): void {
    if (sequence.numTokens > this.maxLength) {
      throw new Error(`Cannot add sequence: ${sequence.numTokens} tokens, expected at most ${this.maxLength}`);
    }
    sequence.arrival = this.#numArrivals++;
    this.#enqueue(sequence);
  }

  /**
   * Takes a sequence out at once. Its blocks are freed now, or when the step it is part of has ended.
   * @returns whether nothing of it is in flight; else `complete` or `fail` names it among the freed
   */
  remove(sequence: Sequence): boolean {
    this.#waiting.delete(sequence);
    this.#running.delete(sequence);
    sequence.state = "removed";
    if (sequence.isInFlight) return false;
    this.#free(sequence);
    return true;
  }

  /** The next step, or null when there is nothing to run. */
  plan(): Plan | null {
    if (this.#plan !== null) throw new Error("Cannot plan: a step is in flight, expected it to be ended");
    const chunks: Chunk[] = [];
    const suspect = [...this.#running, ...this.#waiting].find((sequence) => sequence.numFailures > 0);
    if (suspect === undefined) this.#planAll(chunks);
    else this.#planAlone(suspect, chunks);
    if (chunks.length === 0) return null;
    for (const { sequence } of chunks) sequence.isInFlight = true;
    const { kvBlockSize, tokensPerTile } = this.#options.info;
    return this.#plan = { chunks, batch: buildBatch(chunks, kvBlockSize, tokensPerTile) };
  }

  /** The step succeeded. */
  complete(plan: Plan, result: StepResult): { readonly sampled: Sampled[]; readonly freed: Sequence[] } {
    this.#plan = null;
    const sampled: Sampled[] = [];
    const freed: Sequence[] = [];
    plan.chunks.forEach(({ sequence, start, count, samples }, s) => {
      sequence.isInFlight = false;
      if (sequence.state === "removed") {
        this.#free(sequence);
        freed.push(sequence);
        return;
      }
      sequence.numComputed = start + count;
      sequence.numFailures = 0;
      this.#publishBlocks(sequence);
      if (!samples) return;
      const id = result.tokenIds[s]!;
      sequence.generated.push(id);
      sampled.push({ sequence, id });
    });
    return { sampled, freed };
  }

  /** The step failed: its sequences start over, one at a time; those that failed before are left for the caller to remove. */
  fail(plan: Plan): { readonly givenUp: Sequence[]; readonly freed: Sequence[] } {
    this.#plan = null;
    this.#blocks.forgetContents();
    const givenUp: Sequence[] = [];
    const freed: Sequence[] = [];
    for (const { sequence } of plan.chunks) {
      sequence.isInFlight = false;
      if (sequence.state === "removed") {
        this.#free(sequence);
        freed.push(sequence);
        continue;
      }
      this.#preempt(sequence);
      sequence.numFailures += 1;
      if (sequence.numFailures >= MAX_FAILURES) givenUp.push(sequence);
    }
    return { givenUp, freed };
  }

  /** Throws unless every block is held by the sequences that list it, and by nobody else. */
  checkIntegrity(): void {
    const inFlight = this.#plan?.chunks.map(({ sequence }) => sequence) ?? [];
    const all = new Set([...this.#waiting, ...this.#running, ...inFlight]);
    this.#blocks.checkIntegrity([...all].map((sequence) => sequence.blocks));
    for (const sequence of this.#waiting) {
      if (sequence.state !== "waiting" || sequence.blocks.length > 0 || sequence.numComputed > 0) {
        throw new Error(`Sequence ${sequence.id} waits (${sequence.state}) with ${sequence.blocks.length} blocks`);
      }
    }
    for (const sequence of this.#running) {
      const needed = Math.ceil(sequence.numComputed / this.#options.info.kvBlockSize);
      if (sequence.state !== "running" || sequence.blocks.length < needed || sequence.numRemaining < 1) {
        throw new Error(`Sequence ${sequence.id} runs (${sequence.state}) with ${sequence.blocks.length} blocks`);
      }
    }
    this.#waiting.checkIntegrity();
    this.#running.checkIntegrity();
  }

  #planAll(chunks: Chunk[]): void {
    let budget = this.#options.tokenBudget;
    const extend = (sequence: Sequence) => {
      budget -= this.#extend(sequence, budget, chunks);
    };
    for (const sequence of [...this.#running]) {
      if (budget > 0 && sequence.state === "running" && sequence.numRemaining === 1) extend(sequence);
    }
    for (const sequence of [...this.#running]) {
      if (budget > 0 && sequence.state === "running" && sequence.numRemaining > 1) extend(sequence);
    }
    const numPreemptions = this.#numPreemptions;
    while (budget > 0 && this.#numPreemptions === numPreemptions) {
      const admitted = this.#admitNext();
      if (admitted === null) break;
      extend(admitted);
    }
  }

  /** A step of one sequence, because the last one with it failed. The others keep what they have. */
  #planAlone(suspect: Sequence, chunks: Chunk[]): void {
    if (suspect.state === "waiting") {
      this.#waiting.delete(suspect);
      this.#start(suspect);
    }
    this.#extend(suspect, this.#options.tokenBudget, chunks, true);
  }

  /** Plans up to `budget` tokens of a running sequence; returns how many. */
  #extend(sequence: Sequence, budget: number, chunks: Chunk[], mayPreemptOlder = false): number {
    const { kvBlockSize } = this.#options.info;
    const start = sequence.numComputed;
    let end = start + Math.min(sequence.numRemaining, budget);
    while (sequence.blocks.length * kvBlockSize < end) {
      const block = this.#blocks.acquire();
      if (block !== null) sequence.blocks.push(block);
      else if (!this.#preemptFor(sequence, chunks, mayPreemptOlder)) break;
    }
    end = Math.min(end, sequence.blocks.length * kvBlockSize);
    if (end > start) chunks.push({ sequence, start, count: end - start, samples: end === sequence.numTokens });
    return Math.max(0, end - start);
  }

  /** Frees the blocks of the youngest sequence that may yield to this one; false when there is none. */
  #preemptFor(sequence: Sequence, chunks: readonly Chunk[], mayPreemptOlder: boolean): boolean {
    for (const victim of this.#running.fromYoungest()) {
      if (victim === sequence || (victim.arrival < sequence.arrival && !mayPreemptOlder)) continue;
      if (chunks.some((chunk) => chunk.sequence === victim)) continue;
      this.#preempt(victim);
      this.#numPreemptions += 1;
      return true;
    }
    return false;
  }

  /** Lets the first waiting sequence run when all it has fits; one that is alone always does. */
  #admitNext(): Sequence | null {
    const sequence = this.#waiting.oldest;
    if (sequence === undefined || this.#running.length >= this.#options.maxSequences) return null;
    if (this.#running.length > 0) {
      const found = this.#findPrefix(sequence);
      const numNeeded = Math.ceil(sequence.numTokens / this.#options.info.kvBlockSize) - found.length;
      const numIdleFound = found.filter(({ block }) => !this.#blocks.isHeld(block)).length;
      // One block to spare for each that runs, so that it does not have to yield at once.
      if (numNeeded + numIdleFound + this.#running.length > this.#blocks.numAvailable) return null;
    }
    this.#waiting.delete(sequence);
    this.#start(sequence);
    return sequence;
  }

  /** Makes a waiting sequence a running one, over the blocks whose content it can share. */
  #start(sequence: Sequence): void {
    for (const { block, node } of this.#findPrefix(sequence)) {
      this.#blocks.retain(block);
      sequence.blocks.push(block);
      sequence.prefix = node;
      sequence.numPublished += 1;
    }
    sequence.numComputed = sequence.numPublished * this.#options.info.kvBlockSize;
    sequence.numCachedTokens ??= Math.min(sequence.numComputed, sequence.prompt.tokenIds.length);
    sequence.state = "running";
    this.#running.add(sequence);
  }

  /** Full blocks of a sequence's beginning that some block holds already; never all, as one token must be computed. */
  #findPrefix(sequence: Sequence) {
    const { kvBlockSize, trainedLength } = this.#options.info;
    const found = [];
    let parent = EMPTY_PREFIX;
    for (let end = kvBlockSize; end < sequence.numTokens; end += kvBlockSize) {
      const cached = this.#blocks.find(parent, sequence.contentOf(end - kvBlockSize, end, trainedLength));
      if (cached === undefined) break;
      found.push(cached);
      parent = cached.node;
    }
    return found;
  }

  /** Makes blocks that are now full findable. */
  #publishBlocks(sequence: Sequence): void {
    const { kvBlockSize, trainedLength } = this.#options.info;
    while ((sequence.numPublished + 1) * kvBlockSize <= sequence.numComputed) {
      const start = sequence.numPublished * kvBlockSize;
      const block = sequence.blocks[sequence.numPublished]!;
      const content = sequence.contentOf(start, start + kvBlockSize, trainedLength);
      sequence.prefix = this.#blocks.publish(block, sequence.prefix, content);
      sequence.numPublished += 1;
    }
  }

  /** Puts a running sequence back among the waiting, without blocks. */
  #preempt(sequence: Sequence): void {
    this.#running.delete(sequence);
    this.#free(sequence);
    this.#enqueue(sequence);
  }

  #enqueue(sequence: Sequence): void {
    sequence.state = "waiting";
    this.#waiting.add(sequence);
  }

  /** Gives the blocks back, the last first, so that a prefix outlives what follows it. */
  #free(sequence: Sequence): void {
    for (const block of sequence.blocks.reverse()) this.#blocks.release(block);
    sequence.blocks.length = 0;
    sequence.numComputed = 0;
    sequence.numPublished = 0;
    sequence.prefix = EMPTY_PREFIX;
  }
}
