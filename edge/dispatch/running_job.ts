/** One job from its publication to its end: who works on it, what of the answer came, when to give it up. */
import {
  type Claim,
  type ClaimReply,
  type Context,
  type EventBody,
  type Job,
  type PromptUsage,
  TesseraError,
  type Usage,
} from "@tessera/shared";
import type { Turn } from "./backlog.ts";
import { Losses } from "./losses.ts";
import { type AnswerPart, Mailbox, type TextPart } from "./mailbox.ts";
import { Patience, type SweepFacts } from "./patience.ts";
import { Publications } from "./publications.ts";
import { TokenSequence } from "./sequence.ts";

/** Ends that are the caller's doing: what was made until then was made for it. */
const CUT_BY_CALLER: ReadonlySet<string> = new Set(["client_closed", "deadline_exceeded"]);

/** A tile kept until the job is over, for the worker that comes second as well. */
export interface JobTile {
  readonly hash: string;
  readonly size: number;
  readonly pixels: Uint8Array;
}

/**
 * Why a job ended: with its answer, by the worker's own word, given up by the edge (workers must be told), or parked
 * because it ended every worker that took it.
 */
export type JobOutcome = "done" | "failed" | "given_up" | "parked";

export interface RunningJobOptions {
  readonly job: Job;
  readonly tiles: readonly JobTile[];
  /** Its place among the jobs that wait. */
  readonly turn: Turn;
  /** performance.now() after which the job is given up. */
  readonly deadlineAt: number;
  /** The request's span, if it has one. */
  readonly parent: Context;
  /** Called once, when nothing more will be passed on. */
  readonly onEnd: (job: RunningJob, outcome: JobOutcome, error: TesseraError | null) => void;
}

export class RunningJob {
  readonly id: string;
  readonly model: string;
  /** Where it stands in the queue. The dispatcher publishes it whenever `isDue`. */
  readonly publications = new Publications();
  readonly #options: RunningJobOptions;
  readonly #sequence: TokenSequence;
  readonly #losses = new Losses();
  readonly #mailbox = new Mailbox();
  readonly #patience: Patience;
  readonly #tiles = new Map<string, JobTile>();
  /** performance.now() */
  readonly createdAt = performance.now();
  /** Times by performance.now(); null: not yet. */
  #claimedAt: number | null = null;
  /** By its worker, and nobody else has it yet. */
  #isGivenBack = false;
  #hasEnded = false;
  /** Of the latest attempt that has told it. */
  #prompt: PromptUsage | null = null;
  #usage: Usage | null = null;

  constructor(options: RunningJobOptions) {
    this.#options = options;
    this.id = options.job.id;
    this.model = options.job.model;
    this.#sequence = new TokenSequence(options.job.sampling.n);
    this.#patience = new Patience(this.createdAt, options.deadlineAt);
    for (const tile of options.tiles) this.#tiles.set(tile.hash, tile);
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  get attempt(): number {
    return this.#sequence.attempt;
  }

  /** What its answer took, whole or cut by the caller, once it has ended; null for one that failed, or never began. */
  get usage(): Usage | null {
    return this.#usage;
  }

  get isClaimed(): boolean {
    return this.#claimedAt !== null;
  }

  /** Nobody works on it now, as far as is known: it is for whoever takes it. */
  get isForTaking(): boolean {
    return !this.isClaimed || this.#isGivenBack;
  }

  get job(): Job {
    return this.#options.job;
  }

  /** The request's span, if it has one. */
  get parent(): Context {
    return this.#options.parent;
  }

  /** performance.now() of the first claim; null: not yet. */
  get claimedAt(): number | null {
    return this.#claimedAt;
  }

  get turn(): Turn {
    return this.#options.turn;
  }

  /** The worker that has it now, as far as is known. */
  get workerId(): string | null {
    return this.#losses.workerId;
  }

  /** Workers of the attempts that count against it. */
  get lostWorkerIds(): string[] {
    return this.#losses.workerIds;
  }

  /** Attempts that were lost, tokens or not. */
  get numLost(): number {
    return this.#losses.numInAll;
  }

  /** performance.now() when something of it was heard last. */
  get heardAt(): number {
    return this.#patience.heardAt;
  }

  /** From publication to the first claim, in ms. */
  get queueMs(): number {
    return (this.#claimedAt ?? this.createdAt) - this.createdAt;
  }

  /** The next part of the answer. @throws TesseraError when there will be none */
  next(): Promise<AnswerPart> {
    return this.#mailbox.next();
  }

  /** A kept tile; undefined when the job never had it or is over. */
  tile(hash: string): JobTile | undefined {
    return this.#tiles.get(hash);
  }

  /** Decides on a worker's claim. */
  claim(claim: Claim): ClaimReply {
    const { attempt, worker_id, v } = claim;
    if (this.#hasEnded) return { v, granted: false, reason: "gone" };
    if (claim.want.some((hash) => !this.#tiles.has(hash))) {
      const diagnostic = `worker ${worker_id} wants a tile the job does not have`;
      this.giveUp(new TesseraError("internal_error", { diagnostic }));
      return { v, granted: false, reason: "gone" };
    }
    if (!this.publications.has(attempt)) return { v, granted: false, reason: "gone" };
    const isAgain = attempt === this.#sequence.attempt;
    const isOthers = isAgain && this.workerId !== null && this.workerId !== worker_id;
    if (isOthers || !this.#sequence.grant(attempt)) return { v, granted: false, reason: "superseded" };
    if (!isAgain) this.#losses.lost(this.#sequence.numIds);
    if (this.#losses.isCause) {
      this.#park();
      return { v, granted: false, reason: "gone" };
    }
    const isOnTrial = !this.#losses.isSuspect || claim.trial !== false;
    if (!isAgain || this.workerId === null) this.#losses.granted(worker_id, this.#sequence.numIds, isOnTrial);
    else if (isOnTrial) this.#losses.begun();
    this.publications.claimed(attempt);
    this.#isGivenBack = false;
    const now = performance.now();
    this.#claimedAt ??= now;
    this.#patience.heard();
    const remaining_ms = Math.max(1, Math.round(this.#options.deadlineAt - now));
    const resume_ids = this.#sequence.resumeIds();
    const others = this.#options.job.sampling.n > 1 ? { resume_choices: this.#sequence.resumeChoices() } : {};
    const alone = this.#losses.isSuspect ? { alone: true } : {};
    return { v, granted: true, resume_ids, ...others, remaining_ms, ...alone };
  }

  /** Takes an event in. */
  hear(event: EventBody): void {
    if (this.#hasEnded) return;
    // Refused before it was claimed: the worker could not read it.
    const isRefused = event.type === "error" && !this.isClaimed && this.publications.has(event.attempt);
    if (isRefused) return this.#failedBy(event);
    const verdict = this.#sequence.accept(event);
    if (verdict.kind === "drop") return;
    this.#patience.heard();
    switch (verdict.kind) {
      case "alive":
        if (event.type === "progress") this.#prompt = event.prompt ?? this.#prompt;
        if (verdict.isHandedOver) this.#givenBack();
        return;
      case "text":
        return this.#pass(verdict);
      case "choice_done": {
        const { choice, text, finishReason } = verdict;
        if (text !== "") this.#pass({ choice, text });
        return this.#mailbox.finishChoice(choice, finishReason);
      }
      case "done": {
        const { text, finish_reason, usage, timings } = verdict.event;
        if (text !== "") this.#pass({ choice: 0, text });
        this.#mailbox.finish({ end: { finishReason: finish_reason, usage, timings } });
        this.#usage = usage;
        return this.#end("done", null);
      }
      case "error":
        return this.#failedBy(verdict.event);
      case "gap":
        return this.attemptLost(verdict.diagnostic);
    }
  }

  #failedBy({ code, message, param }: Extract<EventBody, { type: "error" }>): void {
    // The text of an inner error is the worker's business, not the caller's.
    const details = code === "internal_error" ? { diagnostic: message } : { message, param };
    this.#fail("failed", new TesseraError(code, details));
  }

  #givenBack(): void {
    this.#isGivenBack = true;
    const reason = `${this.workerId} gave it back`;
    this.#losses.handedOver();
    this.publications.givenBack(this.attempt, reason);
  }

  /** Nothing more comes of the attempt that runs: another has to go on behind the last token, unless this one is to blame. */
  attemptLost(reason: string): void {
    if (this.#hasEnded) return;
    this.#losses.lost(this.#sequence.numIds);
    if (this.#losses.isCause) return this.#park();
    this.#patience.heard();
    this.publications.makeDue(reason);
  }

  /** Gives the job up when its time is over or nobody is left to run it. */
  sweep(facts: SweepFacts): void {
    if (this.#hasEnded) return;
    const { attempt, workerId } = this;
    const verdict = this.#patience.judge(facts, { hasBegun: this.isClaimed, attempt, workerId });
    if (verdict === null) return;
    if ("giveUp" in verdict) this.giveUp(verdict.giveUp);
    else this.attemptLost(verdict.lost);
  }

  /** The client is gone. */
  cancel(): void {
    this.giveUp(new TesseraError("client_closed"));
  }

  /** Ends the job from this side; the worker, if any, is told to stop. */
  giveUp(error: TesseraError): void {
    this.#fail("given_up", error);
  }

  /** Ends the job as the cause of its workers' ends. */
  #park(): void {
    const { id } = this.#options.job;
    const message = `The request ended every worker that took it, and is not tried again. Its id is ${id}.`;
    const diagnostic = `Lost with ${this.#losses.workerIds.join(", ")}`;
    this.#fail("parked", new TesseraError("worker_crashed", { message, diagnostic }));
  }

  #pass({ choice, text, logprobs }: Omit<TextPart, "type">): void {
    if (this.#mailbox.push(text, choice, logprobs)) return;
    this.giveUp(new TesseraError("client_closed", { diagnostic: "The client does not read its answer" }));
  }

  #fail(outcome: JobOutcome, error: TesseraError): void {
    if (this.#hasEnded) return;
    this.#mailbox.finish({ error });
    const { numIds } = this.#sequence;
    if (CUT_BY_CALLER.has(error.code) && numIds > 0) {
      const prompt = this.#prompt ?? { prompt_tokens: 0, image_tokens: 0, cached_tokens: 0 };
      this.#usage = { ...prompt, completion_tokens: numIds };
    }
    this.#end(outcome, error);
  }

  #end(outcome: JobOutcome, error: TesseraError | null): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#tiles.clear();
    this.#options.onEnd(this, outcome, error);
  }
}
