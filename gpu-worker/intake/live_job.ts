/** Owns what a worker knows of one delivery of a job, from the queue to its last event. */
import { type Job, MAX_PRIORITY, TesseraError, type Usage, type WorkerTimings } from "@tessera/shared";
import type { Prompt } from "../prompt/prompt.ts";
import type { Answers } from "../publish/answers.ts";
import type { Sequence } from "../schedule/sequence.ts";
import type { EventSink, JobChannel } from "./channel.ts";
import type { Delivery } from "./delivery.ts";

/** What exists once the edge has granted the job. */
export interface Grant {
  readonly events: EventSink;
  readonly answers: Answers;
  /** Of each answer, the ids that the edge has. */
  readonly resumeIds: readonly (readonly number[])[];
}

export class LiveJob {
  readonly job: Job;
  readonly delivery: Delivery;
  /** Where it comes from. */
  readonly channel: JobChannel;
  /** Tiles it needs, each once; none before its prompt is there. */
  tiles: readonly string[] = [];
  /** Whether slots are reserved for `tiles`. */
  holdsTiles = false;
  grant: Grant | null = null;
  /** Of each answer that is not complete yet, the first leading the others. */
  sequences: readonly Sequence[] = [];
  hasEnded = false;
  /** It may end the worker, and has no token yet: others of the kind wait for it, so it waits for nobody. */
  isOnTrial = false;
  /** Whether token events went out since the last progress was due. */
  hasSpoken = false;
  /** Whether this attempt has told what its prompt took. */
  hasToldPrompt = false;
  /** Tiles that have not arrived; empty as well when all were in their slots. */
  readonly missing = new Set<string>();
  /** performance.now() of what has happened so far. */
  readonly at: {
    claimed?: number;
    tilesHere?: number;
    /** The first call that encoded one of its tiles began, the last ended. */
    encoding?: number;
    encoded?: number;
    ready?: number;
    scheduled?: number;
    firstToken?: number;
  } = {};
  visionMs = 0;
  #deadlineTimer: ReturnType<typeof setTimeout> | undefined;
  #tileTimer: ReturnType<typeof setTimeout> | undefined;
  #prompt: Prompt | TesseraError | null = null;

  constructor(job: Job, delivery: Delivery, channel: JobChannel) {
    this.job = job;
    this.delivery = delivery;
    this.channel = channel;
  }

  /** The prompt, or why there is none; the caller learns of it once the edge has granted the job. Not before it is set. */
  get prompt(): Prompt | TesseraError {
    if (this.#prompt === null) throw new Error(`Cannot use job ${this.id}: its prompt is not there yet`);
    return this.#prompt;
  }

  set prompt(prompt: Prompt | TesseraError) {
    this.#prompt = prompt;
    this.tiles = prompt instanceof TesseraError ? [] : [...new Set(prompt.tiles)];
  }

  get id(): string {
    return this.job.id;
  }

  /** As it is scheduled. */
  get priority(): number {
    return this.isOnTrial ? -MAX_PRIORITY : this.job.priority;
  }

  /** Unlike that of any other delivery or publication of the job. */
  get attempt(): number {
    return (this.job.attempt_base ?? 0) + this.delivery.attempt;
  }

  /** Calls back once when the job's time is over. */
  startDeadline(ms: number, onLate: () => void): void {
    clearTimeout(this.#deadlineTimer);
    this.#deadlineTimer = setTimeout(onLate, Math.min(ms, 2 ** 31 - 1));
  }

  /** Calls back when no tile comes for a while; to be started anew with every tile that does. */
  startTileTimer(ms: number, onLate: () => void): void {
    clearTimeout(this.#tileTimer);
    if (this.missing.size > 0) this.#tileTimer = setTimeout(onLate, ms);
  }

  stopTimers(): void {
    clearTimeout(this.#deadlineTimer);
    clearTimeout(this.#tileTimer);
  }

  usage(): Usage {
    const prompt = this.prompt instanceof TesseraError ? null : this.prompt;
    return {
      prompt_tokens: prompt?.tokenIds.length ?? 0,
      completion_tokens: this.grant?.answers.numIds ?? 0,
      image_tokens: prompt?.numImageTokens ?? 0,
      cached_tokens: this.sequences[0]?.numCachedTokens ?? 0,
    };
  }

  timings(now: number): WorkerTimings {
    const { claimed, tilesHere, ready, scheduled, firstToken } = this.at;
    return {
      tiles_ms: between(claimed, tilesHere),
      wait_ms: between(ready, scheduled),
      vision_ms: round(this.visionMs),
      prefill_ms: between(scheduled, firstToken),
      decode_ms: between(firstToken, now),
    };
  }
}

function between(start: number | undefined, end: number | undefined): number {
  return start === undefined || end === undefined ? 0 : round(Math.max(0, end - start));
}

function round(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}
