/** Owns which sequences wait, which run and the KV they have: who begins, who grows, who yields when blocks run out. */
import type { EngineInfo } from "../engine/types.ts";
import type { Chunk } from "./batch.ts";
import { FairQueue } from "./fair_queue.ts";
import { Followers } from "./followers.ts";
import { isBefore, RankList } from "./rank_list.ts";
import type { Sequence } from "./sequence.ts";
import { SequenceKv } from "./sequence_kv.ts";

export interface SchedulerOptions {
  readonly info: Pick<EngineInfo, "kvBlockSize" | "numKvBlocks" | "trainedLength" | "contextLength" | "tokensPerTile">;
  /** New tokens of one step, prefill and decode together. */
  readonly tokenBudget: number;
  /** Sequences in one step. */
  readonly maxSequences: number;
}

export class Residents {
  readonly #options: SchedulerOptions;
  readonly #kv: SequenceKv;
  readonly #waiting: FairQueue;
  readonly #running = new RankList();
  readonly #following: Followers;
  #numArrivals = 0;
  #numPreemptions = 0;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#kv = new SequenceKv(options.info);
    this.#following = new Followers(options.info.kvBlockSize);
    this.#waiting = new FairQueue(options.tokenBudget);
  }

  /** Longest sequence, prompt and answer together, that can run at all. */
  get maxLength(): number {
    const { contextLength, numKvBlocks, kvBlockSize } = this.#options.info;
    return Math.min(contextLength, numKvBlocks * kvBlockSize);
  }

  get numSequences(): number {
    return this.#waiting.length + this.#running.length + this.#following.length;
  }

  get numPreemptions(): number {
    return this.#numPreemptions;
  }

  get numAvailableBlocks(): number {
    return this.#kv.numAvailable;
  }

  /** Whether nobody waits who goes before one that runs. */
  get isInOrder(): boolean {
    const { last } = this.#running;
    return last === undefined || last.priority <= (this.#waiting.peek()?.priority ?? Infinity);
  }

  /** Queues a sequence whose tiles are all in their slots. Its leader, if it has one, was added before. */
  add(sequence: Sequence): void {
    if (sequence.numTokens > this.maxLength) {
      throw new Error(`Cannot add sequence: ${sequence.numTokens} tokens, expected at most ${this.maxLength}`);
    }
    sequence.arrival = this.#numArrivals++;
    this.#waiting.enter(sequence);
    if (!this.#following.add(sequence)) this.#enqueue(sequence);
  }

  /** Gives a sequence another priority, wherever it is. */
  reprioritise(sequence: Sequence, priority: number): void {
    const list = sequence.state === "running" ? this.#running : this.#waiting;
    const isListed = list.delete(sequence);
    sequence.priority = priority;
    if (isListed) list.add(sequence);
  }

  /**
   * Takes a sequence out at once. Its blocks are freed now, or when the step it is part of has ended.
   * @returns whether nothing of it is in flight; else `complete` or `fail` names it among the freed
   */
  remove(sequence: Sequence): boolean {
    if (sequence.state !== "removed") this.#waiting.leave(sequence);
    this.#waiting.delete(sequence);
    this.#running.delete(sequence);
    this.#following.delete(sequence);
    sequence.state = "removed";
    for (const follower of this.#following.release(sequence)) this.#enqueue(follower);
    if (sequence.isInFlight) return false;
    this.#kv.free(sequence);
    return true;
  }

  /** A step that a sequence was in has ended well: its KV reaches so far. */
  computed(sequence: Sequence, numComputed: number): void {
    sequence.numComputed = numComputed;
    sequence.numFailures = 0;
    this.#kv.publish(sequence);
    this.#lead(sequence);
  }

  /** A sequence got a token. */
  sampled(sequence: Sequence, id: number): void {
    sequence.append(id);
    this.#waiting.charge(sequence, 1);
  }

  /** Frees the blocks of a sequence that was removed while a step was in flight. */
  free(sequence: Sequence): void {
    this.#kv.free(sequence);
  }

  /** What the blocks hold is not to be relied on any more. */
  forgetContents(): void {
    this.#kv.forgetContents();
  }

  /** A sequence that was in a step that failed. */
  findSuspect(): Sequence | undefined {
    for (const list of [this.#running, this.#waiting]) {
      for (const sequence of list) if (sequence.numFailures > 0) return sequence;
    }
    return undefined;
  }

  /** A step of all that run, and of those that may begin. */
  selectAll(): Chunk[] {
    const chunks: Chunk[] = [];
    this.#makeWay();
    const numPreemptions = this.#numPreemptions;
    this.selectRunning(chunks);
    if (this.#numPreemptions === numPreemptions) this.admit(chunks);
    return chunks;
  }

  /**
   * Chunks of running sequences.
   * @param isAhead whether steps are in flight
   * @returns false when one of them then lacks blocks that only sequences in flight could give
   */
  selectRunning(chunks: Chunk[], isAhead = false): boolean {
    let budget = this.#options.tokenBudget;
    const running = [...this.#running];
    for (const isDecode of [true, false]) {
      for (const sequence of running) {
        if (budget <= 0) return true;
        const { numRemaining } = sequence;
        if (sequence.state !== "running" || sequence.isEnding || (numRemaining === 1) !== isDecode) continue;
        // One that has no end of its own ends there.
        if (sequence.numPlanned >= this.maxLength) continue;
        const count = this.#extend(sequence, budget, chunks);
        if (isAhead && count < Math.min(numRemaining, budget)) return false;
        budget -= count;
      }
    }
    return true;
  }

  /** Lets waiting sequences run with what the chunks leave of the budget. */
  admit(chunks: Chunk[]): void {
    if (this.#waiting.length === 0) return;
    let budget = this.#options.tokenBudget;
    for (const { count } of chunks) budget -= count;
    const numPreemptions = this.#numPreemptions;
    while (budget > 0 && this.#numPreemptions === numPreemptions) {
      const admitted = this.#admitNext();
      if (admitted === null) break;
      budget -= this.#extend(admitted, budget, chunks);
    }
  }

  /** A step of one sequence, because the last one with it failed. The others keep what they have. */
  selectAlone(suspect: Sequence): Chunk[] {
    const chunks: Chunk[] = [];
    if (suspect.state === "waiting") {
      this.#waiting.delete(suspect);
      this.#start(suspect);
    }
    this.#extend(suspect, this.#options.tokenBudget, chunks, true);
    return chunks;
  }

  /** Plans up to `budget` tokens of a running sequence; returns how many. */
  #extend(sequence: Sequence, budget: number, chunks: Chunk[], mayPreemptAnyone = false): number {
    const { kvBlockSize } = this.#options.info;
    const start = sequence.numPlanned;
    let end = start + Math.min(sequence.numRemaining, budget);
    while (!this.#kv.grow(sequence, end)) if (!this.#preemptFor(sequence, chunks, mayPreemptAnyone)) break;
    end = Math.min(end, sequence.blocks.length * kvBlockSize);
    if (end > start) chunks.push({ sequence, start, count: end - start, samples: end === sequence.numExpected });
    return Math.max(0, end - start);
  }

  /** Frees the blocks of the last sequence in rank that may yield to this one; false when there is none. */
  #preemptFor(sequence: Sequence, chunks: readonly Chunk[], mayPreemptAnyone: boolean): boolean {
    for (const victim of this.#running.fromLast()) {
      if (victim === sequence || victim.isInFlight || (isBefore(victim, sequence) && !mayPreemptAnyone)) continue;
      if (chunks.some((chunk) => chunk.sequence === victim)) continue;
      this.preempt(victim);
      this.#numPreemptions += 1;
      return true;
    }
    return false;
  }

  /** Sequences of lower priority yield where the next one finds no place. */
  #makeWay(): void {
    const next = this.#waiting.peek();
    if (next === undefined) return;
    for (
      let last = this.#running.last;
      last !== undefined && last.priority > next.priority;
      last = this.#running.last
    ) {
      if (this.#fits(next)) return;
      this.preempt(last);
      this.#numPreemptions += 1;
    }
  }

  /** Lets the next waiting sequence run when all it has fits; one that is alone always does. */
  #admitNext(): Sequence | null {
    const sequence = this.#waiting.peek();
    if (sequence === undefined || !this.#fits(sequence)) return null;
    this.#waiting.delete(sequence);
    this.#start(sequence);
    if (!sequence.hasRun) this.#waiting.charge(sequence, sequence.numRemaining);
    return sequence;
  }

  #fits(sequence: Sequence): boolean {
    if (this.#running.length === 0) return true;
    if (this.#running.length >= this.#options.maxSequences) return false;
    // One block to spare for each that runs, so that it does not have to yield at once.
    return this.#kv.numNeeded(sequence) + this.#running.length <= this.#kv.numAvailable;
  }

  /** Makes a waiting sequence a running one, over the blocks whose content it can share. */
  #start(sequence: Sequence): void {
    this.#kv.share(sequence);
    sequence.state = "running";
    this.#running.add(sequence);
    this.#lead(sequence);
  }

  /** Lets followers go their way once they can share what there is to share. */
  #lead(leader: Sequence): void {
    for (const follower of this.#following.takeReady(leader)) this.#enqueue(follower);
  }

  /** Puts a running sequence back among the waiting, without blocks. */
  preempt(sequence: Sequence): void {
    this.#running.delete(sequence);
    this.#kv.free(sequence);
    this.#enqueue(sequence);
  }

  #enqueue(sequence: Sequence): void {
    sequence.state = "waiting";
    this.#waiting.add(sequence);
  }

  /** @param inFlight those of the step in flight. Throws unless every block is held by the sequences that list it, and by nobody else. */
  checkIntegrity(inFlight: readonly Sequence[]): void {
    const all = new Set([...this.#waiting, ...this.#running, ...inFlight]);
    this.#kv.checkIntegrity(all);
    for (const sequence of this.#waiting) {
      if (sequence.state !== "waiting" || sequence.blocks.length > 0 || sequence.numComputed > 0) {
        throw new Error(`Sequence ${sequence.id} waits (${sequence.state}) with ${sequence.blocks.length} blocks`);
      }
    }
    for (const sequence of this.#running) {
      const needed = Math.ceil(sequence.numPlanned / this.#options.info.kvBlockSize);
      if (sequence.state !== "running" || sequence.blocks.length < needed || sequence.numRemaining < 1) {
        throw new Error(`Sequence ${sequence.id} runs (${sequence.state}) with ${sequence.blocks.length} blocks`);
      }
    }
    this.#following.checkIntegrity();
    this.#waiting.checkIntegrity([...this.#running, ...this.#following]);
    this.#running.checkIntegrity();
  }
}
