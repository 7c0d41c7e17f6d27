/** Owns the steps: each takes all decodes and as much prefill as fits; while one runs the next is prepared, or in line. */
import { MAX_SEQUENCE_FAILURES } from "@tessera/shared";
import type { StepBatch, StepResult } from "../engine/types.ts";
import { BatchWriter, type Chunk } from "./batch.ts";
import { Residents, type SchedulerOptions } from "./residents.ts";
import type { Sequence } from "./sequence.ts";

export type { SchedulerOptions };

/** A step on its way: to be ended with `complete` or `fail`, in the order of their planning. */
export interface Plan {
  readonly chunks: readonly Chunk[];
  readonly batch: StepBatch;
}

/** A token that a step sampled. */
export interface Sampled {
  readonly sequence: Sequence;
  readonly id: number;
  /** Its row in the step's result. */
  readonly row: number;
}

export class Scheduler {
  readonly #residents: Residents;
  /** One is read by the engine while the other is written. */
  readonly #writers: [BatchWriter, BatchWriter];
  /** In flight, the first to end first. */
  #plans: Plan[] = [];
  /** Chunks of the step after the one in flight, as far as they are known. */
  #prepared: Chunk[] | null = null;

  constructor(options: SchedulerOptions) {
    const { kvBlockSize, tokensPerTile } = options.info;
    this.#residents = new Residents(options);
    const writer = () => new BatchWriter(kvBlockSize, tokensPerTile);
    this.#writers = [writer(), writer()];
  }

  /** Longest sequence, prompt and answer together, that can run at all. */
  get maxLength(): number {
    return this.#residents.maxLength;
  }

  get numSequences(): number {
    return this.#residents.numSequences;
  }

  get numPreemptions(): number {
    return this.#residents.numPreemptions;
  }

  get numAvailableBlocks(): number {
    return this.#residents.numAvailableBlocks;
  }

  /** Queues a sequence whose tiles are all in their slots. Its leader, if it has one, was added before. */
  add(sequence: Sequence): void {
    this.#residents.add(sequence);
  }

  /** Gives a sequence another priority, wherever it is. */
  reprioritise(sequence: Sequence, priority: number): void {
    this.#residents.reprioritise(sequence, priority);
  }

  /**
   * Takes a sequence out at once. Its blocks are freed now, or when the step it is part of has ended.
   * @returns whether nothing of it is in flight; else `complete` or `fail` names it among the freed
   */
  remove(sequence: Sequence): boolean {
    return this.#residents.remove(sequence);
  }

  /** The next step, or null when there is nothing to run. */
  plan(): Plan | null {
    if (this.#plans.length > 0) throw new Error("Cannot plan: a step is in flight, expected it to be ended");
    const prepared = this.#prepared;
    this.#prepared = null;
    let chunks: Chunk[];
    let isFilled = false;
    const residents = this.#residents;
    const suspect = residents.findSuspect();
    if (suspect !== undefined) chunks = residents.selectAlone(suspect);
    else if (prepared !== null && residents.isInOrder) {
      chunks = prepared;
      const hasDropped = dropEnded(chunks);
      const numPrepared = chunks.length;
      residents.admit(chunks);
      isFilled = !hasDropped && chunks.length === numPrepared;
    } else chunks = residents.selectAll();
    if (chunks.length === 0) return null;
    if (!isFilled) this.#writers[0].fill(chunks);
    return this.#launch(chunks);
  }

  /**
   * While one step is in flight: the step behind it, as if nobody ended, whose rows go on from tokens that are still being
   * sampled. What it computes for one that has ended is thrown away. Null when that one must end first.
   */
  planBehind(): Plan | null {
    const [before, ...others] = this.#plans;
    if (before === undefined || others.length > 0) {
      throw new Error(`Cannot plan behind a step: ${this.#plans.length} are in flight, expected one`);
    }
    const residents = this.#residents;
    if (residents.findSuspect() !== undefined || !residents.isInOrder) return null;
    this.#prepared = null;
    const chunks: Chunk[] = [];
    if (!residents.selectRunning(chunks, true)) return null;
    residents.admit(chunks);
    if (chunks.length === 0) return null;
    this.#writers[0].fill(chunks);
    return this.#launch(chunks, new Map(before.chunks.map(({ sequence }, row) => [sequence, row])));
  }

  /**
   * While a step is in flight: plans the next one as far as it is known, which is all but new arrivals and the ids that
   * are being sampled. `plan` takes it up, without those that have ended.
   */
  prepare(): void {
    if (this.#plans.length !== 1 || this.#residents.findSuspect() !== undefined) return;
    const chunks: Chunk[] = [];
    if (!this.#residents.selectRunning(chunks, true)) return;
    this.#writers[0].fill(chunks);
    this.#prepared = chunks;
  }

  /** The step that was planned first succeeded. */
  complete(plan: Plan, result: StepResult): { readonly sampled: Sampled[]; readonly freed: Sequence[] } {
    this.#endFirst(plan);
    const sampled: Sampled[] = [];
    const freed: Sequence[] = [];
    for (let row = 0; row < plan.chunks.length; row++) {
      const { sequence, start, count, samples } = plan.chunks[row]!;
      sequence.numInFlight -= count;
      if (samples) sequence.numSampling -= 1;
      if (sequence.state === "removed") {
        if (!sequence.isInFlight) this.#free(sequence, freed);
        continue;
      }
      this.#residents.computed(sequence, start + count);
      if (!samples) continue;
      const id = result.tokenIds[row]!;
      this.#residents.sampled(sequence, id);
      sampled.push({ sequence, id, row });
    }
    return { sampled, freed };
  }

  /**
   * The step that was planned first failed, and with it the one behind it, which must have ended too. Their sequences start
   * over, those of the first one at a time; those of it that failed before are left for the caller to remove.
   */
  fail(plan: Plan): { readonly givenUp: Sequence[]; readonly freed: Sequence[] } {
    this.#endFirst(plan);
    const sequences = new Set([plan, ...this.#plans].flatMap(({ chunks }) => chunks.map(({ sequence }) => sequence)));
    const suspects = new Set(plan.chunks.map(({ sequence }) => sequence));
    this.#plans = [];
    this.#prepared = null;
    this.#residents.forgetContents();
    const givenUp: Sequence[] = [];
    const freed: Sequence[] = [];
    for (const sequence of sequences) {
      sequence.numInFlight = 0;
      sequence.numSampling = 0;
      if (sequence.state === "removed") {
        this.#free(sequence, freed);
        continue;
      }
      this.#residents.preempt(sequence);
      if (!suspects.has(sequence)) continue;
      sequence.numFailures += 1;
      if (sequence.numFailures >= MAX_SEQUENCE_FAILURES) givenUp.push(sequence);
    }
    return { givenUp, freed };
  }

  /** Throws unless every block is held by the sequences that list it, and by nobody else. */
  checkIntegrity(): void {
    this.#residents.checkIntegrity(this.#plans.flatMap(({ chunks }) => chunks.map(({ sequence }) => sequence)));
  }

  #endFirst(plan: Plan): void {
    if (this.#plans[0] !== plan) throw new Error("Cannot end a step: another was planned before, expected that first");
    this.#plans.shift();
  }

  #free(sequence: Sequence, freed: Sequence[]): void {
    this.#residents.free(sequence);
    freed.push(sequence);
  }

  /** @param rowOf row of each sequence in the step in flight, if there is one */
  #launch(chunks: readonly Chunk[], rowOf?: ReadonlyMap<Sequence, number>): Plan {
    const batch = this.#writers[0].finish(chunks, rowOf);
    this.#writers.reverse();
    for (const { sequence, count, samples } of chunks) {
      sequence.numInFlight += count;
      if (samples) sequence.numSampling += 1;
      sequence.hasRun = true;
    }
    const plan = { chunks, batch };
    this.#plans.push(plan);
    return plan;
  }
}

/** Takes out the chunks of sequences that no longer run. The last takes the place, so that few rows have to be written anew. */
function dropEnded(chunks: Chunk[]): boolean {
  const num = chunks.length;
  for (let at = num - 1; at >= 0; at--) {
    if (chunks[at]!.sequence.state === "running") continue;
    const last = chunks.pop()!;
    if (at < chunks.length) chunks[at] = last;
  }
  return chunks.length < num;
}
