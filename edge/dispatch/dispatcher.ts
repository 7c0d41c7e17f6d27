/** All running jobs of this edge: publishes them, routes claims and events to them, sweeps and ends them. */
import type { Msg, NatsConnection } from "@nats-io/nats-core";
import {
  cancelSubject,
  checkPayload,
  Claim,
  type ClaimReply,
  type DeadLetter,
  decodeMessage,
  edgeAlive,
  edgeClaims,
  edgeEvents,
  encodeMessage,
  type Job,
  JobEvent,
  jobIdOf,
  jobsForWorker,
  LIVE_GIVEN_UP,
  liveJobsSubject,
  type Logger,
  ROUTE_WAIT_MS,
  TesseraError,
  toTesseraError,
  workerAlive,
} from "@tessera/shared";
import type { Waits } from "../config.ts";
import type { Bus } from "./bus.ts";
import type { WorkerDirectory } from "./directory.ts";
import { storeDeadLetter } from "./dead_letters.ts";
import { ensureLiveStream, storeJob, withdrawJob } from "./live_stream.ts";
import { Prober } from "./probe.ts";
import { preferredWorker, routeKey } from "./routing.ts";
import { type JobOutcome, type JobTile, RunningJob } from "./running_job.ts";
import { TileSender } from "./send_tiles.ts";

const SWEEP_MS = 250;

export interface DispatcherOptions {
  readonly edgeId: string;
  readonly bus: Bus;
  readonly directory: WorkerDirectory;
  readonly waits: Waits;
  readonly log: Logger;
}

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #jobs = new Map<string, RunningJob>();
  readonly #sender = new TileSender();
  readonly #prober = new Prober();
  /** When the live stream was made, as the server says; another one means that what was in it is lost. */
  #epoch: string | null = null;
  #sweeper: ReturnType<typeof setInterval> | null = null;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    options.bus.onUp((nc, isNew) => this.#attach(nc, isNew));
  }

  /** Name of this edge instance on the bus. */
  get edgeId(): string {
    return this.#options.edgeId;
  }

  get numRunning(): number {
    return this.#jobs.size;
  }

  /**
   * Publishes a job; its answer comes through `next()` of what is returned. `signal` cancels it, before and after.
   * @throws TesseraError when it could not be published
   */
  async start(
    job: Job,
    tiles: readonly JobTile[],
    options: { readonly deadlineAt: number; readonly signal: AbortSignal },
  ): Promise<RunningJob> {
    const { bus } = this.#options;
    // Throws where there is no connection.
    void bus.connection;
    const bytes = encodeMessage(job, bus.maxPayload);
    checkTiles(tiles, bus.maxPayload);
    if (options.signal.aborted) throw new TesseraError("client_closed");

    const cancel = () => running.cancel();
    const running = new RunningJob({
      job,
      tiles,
      deadlineAt: options.deadlineAt,
      onEnd: (ended, outcome, error) => {
        options.signal.removeEventListener("abort", cancel);
        this.#end(ended, outcome, error);
      },
    });
    // Before it is published: the claim may be here before the acknowledgement.
    this.#jobs.set(running.id, running);
    this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_MS);
    options.signal.addEventListener("abort", cancel);
    const worker = preferredWorker(routeKey(job), this.#options.directory.workersOf(job.model));
    try {
      await this.#publish(running, bytes, worker);
    } catch (thrown) {
      running.giveUp(toTesseraError(thrown));
      throw thrown;
    }
    return running;
  }

  /** Ends every job, as when the edge shuts down. */
  giveUpAll(error: TesseraError): void {
    for (const job of [...this.#jobs.values()]) job.giveUp(error);
  }

  close(): void {
    this.giveUpAll(new TesseraError("shutting_down"));
    if (this.#sweeper !== null) clearInterval(this.#sweeper);
    this.#sweeper = null;
  }

  /** Jobs still known belong to clients still here. For tests. */
  checkIntegrity(): void {
    for (const [id, job] of this.#jobs) {
      if (job.hasEnded || job.id !== id) throw new Error(`Cannot keep job ${id}: it has ended, expected a running one`);
    }
  }

  async #attach(nc: NatsConnection, isNew: boolean): Promise<void> {
    if (isNew) {
      const { edgeId } = this.#options;
      const guarded = (handle: (msg: Msg) => void) => (error: Error | null, msg: Msg) => {
        try {
          if (error !== null) throw error;
          handle(msg);
        } catch (error) {
          this.#options.log.warn("bus_message_refused", { subject: msg?.subject, error });
        }
      };
      nc.subscribe(edgeClaims(edgeId), { callback: guarded((msg) => this.#onClaim(nc, msg)) });
      nc.subscribe(edgeEvents(edgeId), { callback: guarded((msg) => this.#onEvent(msg)) });
      nc.subscribe(LIVE_GIVEN_UP, { callback: guarded((msg) => this.#onGivenUp(msg)) });
      nc.subscribe(edgeAlive(edgeId), { callback: guarded((msg) => msg.respond()) });
    }
    const epoch = await ensureLiveStream(nc);
    const isLost = this.#epoch !== null && this.#epoch !== epoch;
    this.#epoch = epoch;
    if (!isLost) return;
    // The stream is in memory, and the server was started anew. Jobs that run go on by themselves.
    for (const job of this.#jobs.values()) {
      job.publications.streamLost();
      if (job.workerId === null && job.publications.isOpen) job.publications.makeDue("the stream was lost");
    }
    this.#sweep();
  }

  #onClaim(nc: NatsConnection, msg: Msg): void {
    const { bus, log } = this.#options;
    const claim = decodeMessage(Claim, msg.data);
    const job = this.#jobs.get(jobIdOf(msg.subject));
    const gone: ClaimReply = { v: 1, granted: false, reason: "gone" };
    const reply = job === undefined || job.id !== claim.job_id ? gone : job.claim(claim);
    msg.respond(encodeMessage(reply, bus.maxPayload));
    if (job !== undefined) this.#withdraw(job);
    const { job_id, worker_id, attempt } = claim;
    log.debug("claim", { job_id, worker_id, attempt, granted: reply.granted, num_want: claim.want.length });
    if (!reply.granted || job === undefined) return;
    // It will ask again when its turn comes.
    if (reply.alone === true && claim.trial === false) return;
    this.#sender.send(nc, job, claim, bus.maxPayload).catch((error) => log.warn("tiles_not_sent", { job_id, error }));
  }

  #onEvent(msg: Msg): void {
    const job = this.#jobs.get(jobIdOf(msg.subject));
    if (job === undefined) return;
    const wasDue = job.publications.dueReason !== null;
    job.hear(decodeMessage(JobEvent, msg.data));
    // What could not be stored before waits for the next sweep.
    if (!wasDue) this.#publishIfDue(job);
  }

  #onGivenUp(msg: Msg): void {
    const { stream_seq } = msg.json<{ stream_seq?: number }>();
    if (stream_seq === undefined) return;
    for (const job of this.#jobs.values()) {
      if (!job.publications.hasSeq(stream_seq)) continue;
      // It stays in the stream otherwise, counted as waiting, until it is too old.
      const reason = "Handed out as often as allowed";
      if (job.isClaimed) job.attemptLost(reason);
      else job.giveUp(new TesseraError("worker_lost", { diagnostic: reason }));
    }
  }

  /** Publishes a job, as the first time or again. What does not work because the bus is down is tried again. */
  async #publish(job: RunningJob, encoded?: Uint8Array, worker: string | null = null): Promise<void> {
    const { bus } = this.#options;
    const nc = bus.connection;
    const publication = job.publications.begin(worker === null);
    const { base } = publication;
    const envelope = base === 0 ? job.job : { ...job.job, attempt_base: base };
    try {
      const bytes = encoded ?? encodeMessage(envelope, bus.maxPayload);
      const subject = worker === null ? liveJobsSubject(job.model) : jobsForWorker(job.model, worker);
      const seq = await storeJob(nc, base === 0 ? job.id : `${job.id}.${base}`, subject, bytes);
      job.publications.stored(publication, seq);
      if (worker !== null) this.#openToAllLater(job);
    } catch (error) {
      if (bus.isConnected && encoded !== undefined) throw error;
      this.#options.log.warn("job_not_stored", { job_id: job.id, error });
      if (!job.hasEnded) job.publications.failed(publication);
    }
    this.#withdraw(job);
  }

  /** A job whose preferred worker does not take it at once is for all; that worker may still be the first. */
  #openToAllLater(job: RunningJob): void {
    setTimeout(() => {
      if (job.hasEnded || job.isClaimed || job.publications.dueReason !== null) return;
      if (this.#options.bus.isConnected) void this.#publish(job);
      else job.publications.makeDue("the bus was away");
    }, ROUTE_WAIT_MS);
  }

  /** Takes publications that no longer count out of the stream. */
  #withdraw(job: RunningJob): void {
    const { bus } = this.#options;
    if (!bus.isConnected) return;
    for (const seq of job.publications.takeVoid()) void withdrawJob(bus.connection, seq);
  }

  #sweep(): void {
    const { bus, directory, waits } = this.#options;
    const now = performance.now();
    for (const job of [...this.#jobs.values()]) {
      const { model } = job;
      job.sweep({ now, ...waits, isAlive: directory.isAlive(model), isServed: directory.isServed(model) });
      if (job.hasEnded || !bus.isConnected || this.#publishIfDue(job)) continue;
      if (job.workerId !== null && now - job.heardAt > waits.probeMs) this.#probe(job.workerId);
    }
  }

  /** Returns whether it was. */
  #publishIfDue(job: RunningJob): boolean {
    const { bus, log } = this.#options;
    const reason = job.publications.dueReason;
    if (reason === null || job.hasEnded || !bus.isConnected) return false;
    log.warn("job_published_again", { job_id: job.id, attempt: job.attempt, reason });
    void this.#publish(job);
    return true;
  }

  /** Asks whether a worker lives; if not, what it had goes to others at once, long before JetStream would notice. */
  #probe(workerId: string): void {
    void this.#prober.ask(this.#options.bus.connection, workerAlive(workerId), () => {
      for (const job of [...this.#jobs.values()]) if (job.workerId === workerId) job.attemptLost(`${workerId} is gone`);
      this.#sweep();
    });
  }

  #end(job: RunningJob, outcome: JobOutcome, error: TesseraError | null): void {
    const { bus, log } = this.#options;
    this.#jobs.delete(job.id);
    if (this.#jobs.size === 0 && this.#sweeper !== null) {
      clearInterval(this.#sweeper);
      this.#sweeper = null;
    }
    log.debug("job_ended", { job_id: job.id, outcome, attempt: job.attempt, error: error?.code ?? null });
    if (outcome !== "given_up" && outcome !== "parked") return;
    job.publications.close();
    if (!bus.isConnected) return;
    this.#withdraw(job);
    if (outcome === "given_up") bus.connection.publish(cancelSubject(job.id));
    else void this.#park(job, error);
  }

  /** Keeps a job that ended its workers, for people to look into. */
  async #park(job: RunningJob, error: TesseraError | null): Promise<void> {
    const { bus, log } = this.#options;
    const letter: DeadLetter = {
      v: 1,
      parked_ms: Date.now(),
      attempts: job.numLost,
      reason: error?.code ?? "worker_crashed",
      worker_ids: job.lostWorkerIds,
      job: job.job,
    };
    log.error("job_parked", { job_id: job.id, worker_ids: letter.worker_ids });
    try {
      await storeDeadLetter(bus.connection, letter, bus.maxPayload);
    } catch (cause) {
      log.error("job_not_parked", { job_id: job.id, error: cause });
    }
  }
}

/** A tile that no message can carry is a fault of the deployment, not of the request. */
function checkTiles(tiles: readonly JobTile[], maxPayload: number): void {
  const largest = tiles.reduce((most, tile) => Math.max(most, tile.pixels.length), 0);
  try {
    checkPayload(largest, maxPayload);
  } catch {
    const diagnostic = `A tile has ${largest} bytes, the bus takes ${maxPayload}: raise max_payload of nats-server`;
    throw new TesseraError("internal_error", { diagnostic });
  }
}
