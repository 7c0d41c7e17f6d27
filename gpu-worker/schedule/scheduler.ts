/** Owns the steps: each takes all decodes and as much prefill as fits; one is in flight, the next is prepared meanwhile. */
import type { StepBatch, StepResult } from "../engine/types.ts";
import { BatchWriter, type Chunk } from "./batch.ts";
import { Residents, type SchedulerOptions } from "./residents.ts";
import type { Sequence } from "./sequence.ts";

export type { SchedulerOptions };

/** A step on its way: to be ended with `complete` or `fail` before the next is planned. */
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

/** Failed steps in a row after which a sequence is given up; after the first it runs alone. */
const MAX_FAILURES = 2;

export class Scheduler {
  readonly #residents: Residents;
  /** One is read by the engine while the other is written. */
  readonly #writers: [BatchWriter, BatchWriter];
  #plan: Plan | null = null;
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
    if (this.#plan !== null) throw new Error("Cannot plan: a step is in flight, expected it to be ended");
    const [writer, other] = this.#writers;
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
    if (!isFilled) writer.fill(chunks);
    return this.#launch(chunks, writer, other);
  }

  /**
   * While a step is in flight: plans the next one as far as it is known, which is all but new arrivals and the ids that
   * are being sampled. `plan` takes it up, without those that have ended.
   */
  prepare(): void {
    if (this.#plan === null || this.#residents.findSuspect() !== undefined) return;
    const chunks: Chunk[] = [];
    if (!this.#residents.selectRunning(chunks, true)) return;
    this.#writers[0].fill(chunks);
    this.#prepared = chunks;
  }

  /** The step succeeded. */
  complete(plan: Plan, result: StepResult): { readonly sampled: Sampled[]; readonly freed: Sequence[] } {
    this.#plan = null;
    const sampled: Sampled[] = [];
    const freed: Sequence[] = [];
    for (let row = 0; row < plan.chunks.length; row++) {
      const { sequence, start, count, samples } = plan.chunks[row]!;
      sequence.numInFlight = 0;
      sequence.isSampling = false;
      if (sequence.state === "removed") {
        this.#residents.free(sequence);
        freed.push(sequence);
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

  /** The step failed: its sequences start over, one at a time; those that failed before are left for the caller to remove. */
  fail(plan: Plan): { readonly givenUp: Sequence[]; readonly freed: Sequence[] } {
    this.#plan = null;
    this.#prepared = null;
    this.#residents.forgetContents();
    const givenUp: Sequence[] = [];
    const freed: Sequence[] = [];
    for (const { sequence } of plan.chunks) {
      sequence.numInFlight = 0;
      sequence.isSampling = false;
      if (sequence.state === "removed") {
        this.#residents.free(sequence);
        freed.push(sequence);
        continue;
      }
      this.#residents.preempt(sequence);
      sequence.numFailures += 1;
      if (sequence.numFailures >= MAX_FAILURES) givenUp.push(sequence);
    }
    return { givenUp, freed };
  }

  /** Throws unless every block is held by the sequences that list it, and by nobody else. */
  checkIntegrity(): void {
    this.#residents.checkIntegrity(this.#plan?.chunks.map(({ sequence }) => sequence) ?? []);
  }

  #launch(chunks: readonly Chunk[], writer: BatchWriter, other: BatchWriter): Plan {
    const batch = writer.finish(chunks);
    this.#writers[0] = other;
    this.#writers[1] = writer;
    for (const { sequence, count, samples } of chunks) {
      sequence.numInFlight = count;
      sequence.isSampling = samples;
      sequence.hasRun = true;
    }
    return this.#plan = { chunks, batch };
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
