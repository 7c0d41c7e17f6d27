/** Owns the jobs a worker has, from delivery to ready: claims them, holds their slots, takes their tiles, ends them. */
import {
  ABSENT_EDGE_DELAY_MS,
  JOB_CLASSES,
  type JobClass,
  jobClass,
  MAX_DELIVER,
  Pace,
  TesseraError,
  toTesseraError,
  TURNOVER_WINDOW_MS,
} from "@tessera/shared";
import { preparePrompt, readJob } from "./admission.ts";
import { Cancellations } from "./cancellations.ts";
import type { JobChannel } from "./channel.ts";
import type { ClaimOutcome } from "./claim.ts";
import type { Delivery } from "./delivery.ts";
import { EdgeWatch } from "./edge_watch.ts";
import { grantOf } from "./grant.ts";
import type { IntakeOptions } from "./intake_options.ts";
import { traceJob } from "./job_span.ts";
import { LiveJob } from "./live_job.ts";
import { MissingTiles } from "./missing_tiles.ts";
import { Progress } from "./progress.ts";
import { Settling } from "./settling.ts";
import { SlotQueue } from "./slot_queue.ts";
import { Trials } from "./trials.ts";
import { refuseUnreadable } from "./unreadable.ts";

export class Intake {
  readonly #options: IntakeOptions;
  readonly #jobs = new Map<string, LiveJob>();
  readonly #awaitingSlots: SlotQueue;
  readonly #settling: Settling;
  readonly #cancellations: Cancellations;
  readonly #tiles: MissingTiles;
  /** Jobs that may end this worker, up to their first token. */
  readonly #trials = new Trials((job) => void this.#claim(job, true));
  readonly #progress: Progress;
  readonly #pace = new Pace(TURNOVER_WINDOW_MS);
  #isDraining = false;

  constructor(options: IntakeOptions) {
    this.#options = options;
    const { nc, link, workerId, facts, tiles, waits } = options;
    this.#awaitingSlots = new SlotQueue(tiles);
    this.#settling = new Settling(nc, link);
    this.#cancellations = new Cancellations(nc, (jobId) => this.#cancel(jobId));
    this.#tiles = new MissingTiles({
      nc,
      workerId,
      tileSize: facts.tileSize,
      slots: tiles,
      waitMs: waits.tileMs,
      jobs: () => this.#jobs.values(),
      onFail: (jobId, error) => this.failById(jobId, error),
      onChange: options.onChange,
    });
    this.#progress = new Progress({
      jobs: () => this.#jobs.values(),
      link,
      edges: new EdgeWatch(nc, waits.edgeGoneMs, (edgeId) => this.#cancelOf(edgeId)),
      everyMs: waits.progressMs,
      onAway: () => this.reclaimAll(),
    });
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
    this.#awaitingSlots.add(job);
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
    this.#progress.stop();
    await this.#settling.end(timeoutMs);
    this.#tiles.stop();
    this.#cancellations.stop();
  }

  #claimWhatFits(): void {
    for (let job = this.#awaitingSlots.takeFirst(); job !== null; job = this.#awaitingSlots.takeFirst()) {
      void this.#claim(job);
    }
  }

  async #claim(job: LiveJob, isTrial = false): Promise<void> {
    const outcome = await job.channel.claim(job, isTrial);
    if (job.hasEnded) return;
    if (!outcome.granted) return this.#refused(job, outcome.reason);
    if (outcome.alone === true && !isTrial) return this.#trials.enter(job);
    job.isOnTrial = isTrial;
    const { answers, events } = job.grant = grantOf(job, outcome, this.#options);
    job.at.claimed = performance.now();
    // By the edge's clock and ours. One that is begun again has waited for another reason.
    if (job.channel.isLive && job.attempt === 1) this.#options.metrics?.begun(Date.now() - job.job.created_ms);
    job.startDeadline(outcome.remaining_ms, () => this.fail(job, new TesseraError("deadline_exceeded")));
    if (job.prompt instanceof TesseraError) return this.fail(job, job.prompt);
    for (let choice = 0; choice < answers.length; choice++) {
      if (answers.at(choice).finish !== null) answers.announceEnd(choice, events);
    }
    if (answers.isFinished) return this.finish(job);
    this.#tiles.expect(job);
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

  /** A tile came another way than from an edge, checked. */
  takeTile(jobId: string, hash: string, pixels: Uint8Array): void {
    this.#tiles.take(jobId, hash, pixels);
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
    this.#awaitingSlots.leave(job);
    this.#trials.leave(job);
    if (this.#options.onEnd(job)) this.releaseTiles(job);
    this.#options.onChange();
  }
}
