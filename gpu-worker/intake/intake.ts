/** Owns the jobs a worker has, from delivery to ready: claims them, holds their slots, takes their tiles, ends them. */
import type { NatsConnection } from "@nats-io/nats-core";
import {
  JOB_CLASSES,
  type JobClass,
  jobClass,
  type Logger,
  MAX_DELIVER,
  Pace,
  TesseraError,
  toTesseraError,
  TURNOVER_WINDOW_MS,
} from "@tessera/shared";
import type { WorkerMetrics } from "../metrics/metrics.ts";
import type { ModelFacts } from "../config.ts";
import type { Tokenizer } from "../prompt/tokenizer.ts";
import { Answers } from "../publish/answers.ts";
import type { TileSlots } from "../schedule/tile_slots.ts";
import { endIdsOf, preparePrompt, readJob } from "./admission.ts";
import { Cancellations } from "./cancellations.ts";
import type { JobChannel } from "./channel.ts";
import type { ClaimOutcome } from "./claim.ts";
import type { Delivery } from "./delivery.ts";
import { EdgeWatch } from "./edge_watch.ts";
import { traceJob } from "./job_span.ts";
import type { Link } from "./link.ts";
import { LiveJob } from "./live_job.ts";
import { Settling } from "./settling.ts";
import { TileReceiver } from "./tile_receiver.ts";
import { Trials } from "./trials.ts";
import { refuseUnreadable } from "./unreadable.ts";

/** Waits, all in ms; shorter in tests. */
export interface IntakeWaits {
  readonly claimMs: number;
  readonly tileMs: number;
  readonly progressMs: number;
  readonly edgeGoneMs: number;
}

export interface IntakeOptions {
  readonly nc: NatsConnection;
  readonly link: Link;
  readonly workerId: string;
  readonly facts: ModelFacts;
  readonly tokenizer: Tokenizer;
  readonly tiles: TileSlots;
  readonly maxLength: number;
  readonly vocabSize: number;
  readonly waits: IntakeWaits;
  readonly log: Logger;
  readonly metrics?: WorkerMetrics;
  /** Something changed that the worker's loop may act on. */
  readonly onChange: () => void;
  /** A job has ended. Returns whether nothing of it is in flight; if not, `releaseTiles` is called later. */
  readonly onEnd: (job: LiveJob) => boolean;
}

/** Progress reports missed in a row after which the process was stopped, not busy. */
const SLEPT_PERIODS = 3;
/** A job whose edge does not answer is handed out again after this long. */
const ABSENT_EDGE_DELAY_MS = 1_000;

export class Intake {
  readonly #options: IntakeOptions;
  readonly #jobs = new Map<string, LiveJob>();
  /** Jobs for which no slots are free yet, by priority, then in order of delivery. */
  readonly #awaitingSlots: LiveJob[] = [];
  readonly #settling: Settling;
  readonly #cancellations: Cancellations;
  readonly #receiver: TileReceiver;
  /** Jobs that may end this worker, up to their first token. */
  readonly #trials = new Trials((job) => void this.#claim(job, true));
  readonly #edges: EdgeWatch;
  readonly #progressTimer: ReturnType<typeof setInterval>;
  readonly #pace = new Pace(TURNOVER_WINDOW_MS);
  #reportedAt = performance.now();
  #isDraining = false;

  constructor(options: IntakeOptions) {
    this.#options = options;
    const { nc, link, workerId, facts, waits } = options;
    this.#settling = new Settling(nc, link);
    this.#cancellations = new Cancellations(nc, (jobId) => this.#cancel(jobId));
    this.#receiver = new TileReceiver({
      nc,
      workerId,
      tileSize: facts.tileSize,
      onTile: (jobId, hash, pixels) => this.takeTile(jobId, hash, pixels),
      onBadTile: (jobId, error) => this.failById(jobId, toTesseraError(error)),
    });
    this.#edges = new EdgeWatch(nc, waits.edgeGoneMs, (edgeId) => this.#cancelOf(edgeId));
    this.#progressTimer = setInterval(() => this.#reportProgress(), waits.progressMs);
  }

  /** Jobs that have not ended. */
  get jobs(): IterableIterator<LiveJob> {
    return this.#jobs.values();
  }

  get numJobs(): number {
    return this.#jobs.size;
  }

  /** Answers that these jobs want. */
  get numSequences(): number {
    return this.#jobs.values().reduce((sum, { job }) => sum + job.sampling.n, 0);
  }

  /** The same of jobs of this class and those before it. */
  numSequencesUpTo(ofClass: JobClass): number {
    const last = JOB_CLASSES.indexOf(ofClass);
    return this.#jobs.values().filter(({ job }) => JOB_CLASSES.indexOf(jobClass(job.priority)) <= last)
      .reduce((sum, { job }) => sum + job.sampling.n, 0);
  }

  /** Jobs that no client waits for. */
  get numDurable(): number {
    return this.#jobs.values().filter(({ channel }) => !channel.isLive).reduce((sum) => sum + 1, 0);
  }

  /** Jobs that ended here in a second, on average of the last while; null: none yet. */
  get jobsPerSecond(): number | null {
    return this.#pace.perSecond();
  }

  /** Takes a delivered job in. */
  take(delivery: Delivery, channel: JobChannel): void {
    const { facts, workerId, log } = this.#options;
    if (this.#isDraining) return delivery.nak();
    let envelope;
    try {
      envelope = readJob(delivery.data, facts.name);
    } catch (error) {
      return void refuseUnreadable({ delivery, channel, error: toTesseraError(error) }, workerId, log);
    }
    if (this.#cancellations.has(envelope.id)) return delivery.ack();
    // Handed out again while it runs here: what the edge has missed of the earlier attempt is made good by this one.
    const earlier = this.#jobs.get(envelope.id);
    if (earlier !== undefined && earlier.job.attempt_base !== envelope.attempt_base) {
      return void this.#keepOne(earlier, delivery);
    }
    if (earlier !== undefined) this.#end(earlier);

    const job = new LiveJob(envelope, delivery, channel);
    this.#jobs.set(job.id, job);
    void this.#prepare(job);
  }

  /** A job was published twice, and both came here: whoever granted the earlier one says whether it still counts. */
  async #keepOne(earlier: LiveJob, delivery: Delivery): Promise<void> {
    const outcome = await earlier.channel.claim(earlier, false);
    if (outcome.granted) return delivery.ack();
    if (!earlier.hasEnded) this.#refused(earlier, outcome.reason);
    this.take(delivery, earlier.channel);
  }

  /** Makes the prompt, in slices; the job may end meanwhile. */
  async #prepare(job: LiveJob): Promise<void> {
    const { facts, tokenizer, tiles, maxLength, vocabSize } = this.#options;
    const limits = { maxLength, numTileSlots: tiles.numSlots, vocabSize };
    const prompt = await preparePrompt(job.job, tokenizer, facts, limits, () => job.hasEnded);
    if (prompt === undefined || job.hasEnded) return;
    job.prompt = prompt;
    const place = this.#awaitingSlots.findIndex((other) => other.job.priority > job.job.priority);
    this.#awaitingSlots.splice(place === -1 ? this.#awaitingSlots.length : place, 0, job);
    this.#claimWhatFits();
  }

  /** Jobs whose tiles are all encoded and that are not scheduled yet. */
  *ready(): Generator<LiveJob> {
    for (const job of this.#jobs.values()) {
      if (job.grant === null || job.at.ready !== undefined || job.missing.size > 0) continue;
      if (job.tiles.every((hash) => this.#options.tiles.isReady(hash))) yield job;
    }
  }

  /** A job has its first token. */
  hasSpoken(job: LiveJob): void {
    job.isOnTrial = false;
    this.#trials.leave(job);
  }

  /** Ends a job with its last event; the delivery is acknowledged when the server has had it. */
  finish(job: LiveJob): void {
    const { answers, events } = job.grant!;
    const usage = job.usage();
    const timings = job.timings(performance.now());
    events.done(answers.end(), answers.finish, usage, timings);
    this.#end(job);
    this.#settling.add(job);
    // Behind the events, which go out at the end of this turn.
    queueMicrotask(() => {
      this.#options.metrics?.finished(answers.finish, usage, timings);
      traceJob(job, this.#options.workerId, { finish: answers.finish });
      this.#options.log.info("job_done", { job_id: job.id, attempt: job.attempt, ...usage, ...timings });
    });
  }

  /** Ends a job with an error event; one that was not granted yet goes back to the queue, because nobody would hear. */
  fail(job: LiveJob, error: TesseraError): void {
    if (job.hasEnded) return;
    this.#options.log.warn("job_failed", { job_id: job.id, error });
    if (job.grant === null) return this.#giveBack(job);
    this.#options.metrics?.ended(error.code);
    traceJob(job, this.#options.workerId, { error: error.code });
    job.grant.events.error(error);
    this.#end(job);
    this.#settling.add(job);
  }

  /** Lets go of an ended job's slots. */
  releaseTiles(job: LiveJob): void {
    if (job.holdsTiles) this.#options.tiles.release(job.tiles);
    job.holdsTiles = false;
    this.#claimWhatFits();
  }

  /** After a reconnection: is each job still ours, and which events did the edge not get? */
  reclaimAll(): void {
    for (const job of this.#jobs.values()) if (job.grant !== null) void this.#reclaim(job);
  }

  /** Takes no more; gives back what was not granted. */
  startDraining(): void {
    this.#isDraining = true;
    for (const job of [...this.#jobs.values()]) if (job.grant === null) this.#giveBack(job);
  }

  /** Gives every job back to the queue and waits for what was published, `timeoutMs` at most. */
  async stop(timeoutMs: number): Promise<void> {
    this.startDraining();
    for (const job of [...this.#jobs.values()]) this.#giveBack(job);
    clearInterval(this.#progressTimer);
    await this.#settling.end(timeoutMs);
    this.#receiver.stop();
    this.#cancellations.stop();
  }

  #claimWhatFits(): void {
    while (this.#awaitingSlots.length > 0) {
      const job = this.#awaitingSlots[0]!;
      const want = this.#options.tiles.reserve(job.tiles);
      if (want === null) return;
      this.#awaitingSlots.shift();
      job.holdsTiles = true;
      for (const hash of want) job.missing.add(hash);
      void this.#claim(job);
    }
  }

  async #claim(job: LiveJob, isTrial = false): Promise<void> {
    const outcome = await job.channel.claim(job, isTrial);
    if (job.hasEnded) return;
    if (!outcome.granted) return this.#refused(job, outcome.reason);
    if (outcome.alone === true && !isTrial) return this.#trials.enter(job);
    job.isOnTrial = isTrial;
    const { tokenizer, facts, maxLength, waits } = this.#options;
    const prompt = job.prompt;
    const numPrompt = prompt instanceof TesseraError ? 0 : prompt.tokenIds.length;
    const { sampling } = job.job;
    const room = maxLength - numPrompt;
    const answers = new Answers(sampling.n, {
      tokens: tokenizer,
      endIds: endIdsOf(sampling, facts.eosIds),
      stop: sampling.stop,
      minTokens: sampling.min_tokens,
      maxTokens: Math.min(sampling.max_tokens ?? room, room),
    });
    const resumeIds = [outcome.resume_ids, ...outcome.resume_choices ?? []];
    const events = job.channel.events(job, answers.replay(resumeIds));
    job.grant = { events, answers, resumeIds };
    job.at.claimed = performance.now();
    job.startDeadline(outcome.remaining_ms, () => this.fail(job, new TesseraError("deadline_exceeded")));
    if (prompt instanceof TesseraError) return this.fail(job, prompt);
    for (let choice = 0; choice < answers.length; choice++) {
      if (answers.at(choice).finish !== null) answers.announceEnd(choice, events);
    }
    if (answers.isFinished) return this.finish(job);
    if (job.missing.size === 0) job.at.tilesHere = job.at.claimed;
    job.startTileTimer(waits.tileMs, () => this.#tilesAreLate(job));
    this.#options.onChange();
  }

  #refused(job: LiveJob, reason: Exclude<ClaimOutcome, { granted: true }>["reason"]): void {
    this.#options.log.info("claim_refused", { job_id: job.id, attempt: job.attempt, reason });
    this.#end(job);
    if (reason === "gone") job.delivery.ack();
    else if (reason === "superseded") return;
    // The last delivery: nobody would take the job out of the queue.
    else if (reason === "absent" && job.delivery.attempt >= MAX_DELIVER) job.delivery.term();
    else job.delivery.nak(ABSENT_EDGE_DELAY_MS);
  }

  async #reclaim(job: LiveJob): Promise<void> {
    const outcome = await job.channel.claim(job, true);
    if (job.hasEnded) return;
    if (outcome.granted) job.grant!.events.repeat();
    else this.#refused(job, outcome.reason);
  }

  /** A tile came, checked. */
  takeTile(jobId: string, hash: string, pixels: Uint8Array): void {
    const now = performance.now();
    this.#options.tiles.receive(hash, pixels);
    // Another job may have been waiting for the same tile.
    for (const job of this.#jobs.values()) {
      if (!job.missing.delete(hash) && job.id !== jobId) continue;
      job.startTileTimer(this.#options.waits.tileMs, () => this.#tilesAreLate(job));
      if (job.missing.size === 0) job.at.tilesHere ??= now;
    }
    this.#options.onChange();
  }

  #tilesAreLate(job: LiveJob): void {
    const diagnostic =
      `${job.missing.size} of ${job.tiles.length} tiles did not come in ${this.#options.waits.tileMs} ms`;
    this.fail(job, new TesseraError("internal_error", { diagnostic }));
  }

  failById(jobId: string, error: TesseraError): void {
    const job = this.#jobs.get(jobId);
    if (job !== undefined) this.fail(job, error);
  }

  #cancel(jobId: string): boolean {
    const job = this.#jobs.get(jobId);
    if (job === undefined) return false;
    this.#options.log.debug("job_cancelled", { job_id: jobId });
    if (job.grant !== null) traceJob(job, this.#options.workerId, { error: "cancelled" });
    this.#end(job);
    job.delivery.ack();
    return true;
  }

  /** An edge is gone and its clients with it. */
  #cancelOf(edgeId: string): void {
    for (const { id, job, channel } of [...this.#jobs.values()]) {
      if (channel.isLive && job.edge_id === edgeId) this.#cancel(id);
    }
  }

  #giveBack(job: LiveJob): void {
    job.grant?.events.handOver();
    this.#end(job);
    job.delivery.nak();
  }

  /** Takes a job off the books. Whoever calls decides what becomes of the delivery. */
  #end(job: LiveJob): void {
    if (job.hasEnded) return;
    job.hasEnded = true;
    if (job.grant !== null) this.#pace.note();
    job.stopTimers();
    if (this.#jobs.get(job.id) === job) this.#jobs.delete(job.id);
    const waiting = this.#awaitingSlots.indexOf(job);
    if (waiting !== -1) this.#awaitingSlots.splice(waiting, 1);
    this.#trials.leave(job);
    if (this.#options.onEnd(job)) this.releaseTiles(job);
    this.#options.onChange();
  }

  #reportProgress(): void {
    const { link, waits } = this.#options;
    const now = performance.now();
    const wasAway = now - this.#reportedAt > SLEPT_PERIODS * waits.progressMs;
    this.#reportedAt = now;
    if (!link.isUp) return;
    // The process was stopped for a while: others may have its jobs by now.
    if (wasAway) this.reclaimAll();
    this.#edges.check([...this.#jobs.values()].flatMap(({ job, channel }) => channel.isLive ? [job.edge_id] : []));
    for (const job of this.#jobs.values()) {
      job.delivery.working();
      if (job.grant === null) continue;
      if (!job.hasSpoken) job.grant.events.progress();
      job.hasSpoken = false;
      // Fails when the connection breaks meanwhile; then everything unconfirmed is repeated.
      job.grant.events.confirm().catch(() => {});
    }
  }
}
