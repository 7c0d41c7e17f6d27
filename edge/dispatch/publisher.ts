/** Puts jobs into the live stream: first for the worker that should have them, else for all, again where an attempt was lost. */
import type { NatsConnection } from "@nats-io/nats-core";
import {
  encodeMessage,
  jobClass,
  jobsForWorker,
  liveJobsSubject,
  type Logger,
  ROUTE_WAIT_MS,
  TesseraError,
  toTesseraError,
  traceparentOf,
} from "@tessera/shared";
import { secondsUntil } from "../turnover.ts";
import type { Bus } from "./bus.ts";
import type { WorkerDirectory } from "./directory.ts";
import { ensureLiveStream, storeJob, withdrawJob } from "./live_stream.ts";
import { preferredWorker, routeKey } from "./routing.ts";
import type { RunningJob } from "./running_job.ts";

export interface PublisherOptions {
  readonly bus: Bus;
  readonly directory: WorkerDirectory;
  readonly log: Logger;
}

export class Publisher {
  readonly #options: PublisherOptions;
  /** When the live stream was made, as the server says; another one means that what was in it is lost. */
  #epoch: string | null = null;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  /** Makes the stream where it is missing. Returns whether what was in it before, if anything, is there still. */
  async attach(nc: NatsConnection): Promise<boolean> {
    const epoch = await ensureLiveStream(nc);
    const isSame = this.#epoch === null || this.#epoch === epoch;
    this.#epoch = epoch;
    return isSame;
  }

  /** Publishes a job for the first time; where that fails the job is given up. */
  publishFirst(job: RunningJob): void {
    const worker = preferredWorker(routeKey(job.job), this.#options.directory.workersOf(job.model));
    this.#publish(job, worker, true).catch((thrown) => {
      const error = toTesseraError(thrown);
      job.giveUp(error.code === "rate_limited" ? this.#fullFor(job.model, error) : error);
    });
  }

  /**
   * A job that waits for a worker and is of a version that not all who might take it speak is published anew: workers of
   * another build have come, or only those are left.
   */
  retractIfUnreadable(job: RunningJob): void {
    if (job.hasEnded || !job.isForTaking) return;
    const unreadable = job.publications.openVersions.find((v) => !this.#options.directory.isReadByAll(job.model, v));
    if (unreadable !== undefined) job.publications.makeDue(`version ${unreadable} is not read by all workers`);
  }

  /** Publishes a job again where it has to be. Returns whether it was so. */
  publishIfDue(job: RunningJob): boolean {
    const { bus, log } = this.#options;
    const reason = job.publications.dueReason;
    if (reason === null || job.hasEnded || !bus.isConnected) return false;
    log.warn("job_published_again", { job_id: job.id, attempt: job.attempt, reason });
    void this.#publish(job, null);
    return true;
  }

  /** Takes publications that no longer count out of the stream. */
  withdraw(job: RunningJob): void {
    const { bus } = this.#options;
    if (!bus.isConnected) return;
    for (const seq of job.publications.takeVoid()) void withdrawJob(bus.connection, seq);
  }

  /** The refusal of a job whose stream is full: come again when those who wait there will be through. */
  #fullFor(model: string, { diagnostic, cause }: TesseraError): TesseraError {
    const workers = this.#options.directory.workersOf(model);
    const numQueued = Math.max(0, ...workers.map(({ queued = 0 }) => queued));
    const pace = workers.reduce((sum, { jobs_per_s = 0 }) => sum + jobs_per_s, 0);
    return new TesseraError("rate_limited", {
      retryAfterS: secondsUntil(numQueued, pace),
      diagnostic: diagnostic ?? "",
      cause,
    });
  }

  /** What does not work because the bus is down is tried again; other faults are thrown where it is the first time. */
  async #publish(job: RunningJob, worker: string | null, isFirst = false): Promise<void> {
    const { bus, directory, log } = this.#options;
    const nc = bus.connection;
    const publication = job.publications.begin(directory.versionFor(job.model, worker), worker === null);
    const { base, version } = publication;
    const envelope = { ...job.job, v: version, ...(base === 0 ? {} : { attempt_base: base }) };
    try {
      const bytes = encodeMessage(envelope, bus.maxPayload);
      const ofClass = jobClass(job.turn.priority);
      const subject = worker === null ? liveJobsSubject(job.model, ofClass) : jobsForWorker(job.model, worker);
      const seq = await storeJob(
        nc,
        base === 0 ? job.id : `${job.id}.${base}`,
        subject,
        bytes,
        traceparentOf(job.parent),
      );
      job.publications.stored(publication, seq);
      if (worker !== null) this.#openToAllLater(job);
    } catch (error) {
      if (bus.isConnected && isFirst) throw error;
      log.warn("job_not_stored", { job_id: job.id, error });
      if (!job.hasEnded) job.publications.failed(publication);
    }
    this.withdraw(job);
  }

  /** A job whose preferred worker does not take it at once is for all; that worker may still be the first. */
  #openToAllLater(job: RunningJob): void {
    setTimeout(() => {
      if (job.hasEnded || job.isClaimed || job.publications.dueReason !== null) return;
      if (this.#options.bus.isConnected) void this.#publish(job, null);
      else job.publications.makeDue("the bus was away");
    }, ROUTE_WAIT_MS);
  }
}
