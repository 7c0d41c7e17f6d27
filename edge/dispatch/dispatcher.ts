/** All running jobs of this edge: publishes them, routes claims and events to them, sweeps and ends them. */
import type { Msg, NatsConnection } from "@nats-io/nats-core";
import {
  activeContext,
  AHEAD_SHARE,
  cancelSubject,
  checkPayload,
  Claim,
  type ClaimReply,
  decodeMessage,
  edgeAlive,
  edgeClaims,
  edgeEvents,
  encodeMessage,
  type Job,
  jobIdOf,
  LIVE_GIVEN_UP,
  type Logger,
  MIN_AHEAD,
  recordStage,
  SWEEP_MS,
  TesseraError,
  type Usage,
  workerAlive,
} from "@tessera/shared";
import type { Waits } from "../config.ts";
import { Backlog, turnOfJob } from "./backlog.ts";
import type { Bus } from "./bus.ts";
import { parkJob } from "./dead_letters.ts";
import type { WorkerDirectory } from "./directory.ts";
import { Leftovers } from "./leftovers.ts";
import { withdrawJob } from "./live_stream.ts";
import { Prober } from "./probe.ts";
import { Publisher } from "./publisher.ts";
import { readEvents } from "./read_events.ts";
import { type JobOutcome, type JobTile, RunningJob } from "./running_job.ts";
import { TileSender } from "./send_tiles.ts";

export interface DispatcherOptions {
  readonly edgeId: string;
  readonly bus: Bus;
  readonly directory: WorkerDirectory;
  readonly waits: Waits;
  readonly log: Logger;
}

export interface StartOptions {
  /** performance.now() after which it is given up. */
  readonly deadlineAt: number;
  readonly signal: AbortSignal;
  /** Told once, of an answer that is complete, or was cut by its caller. */
  readonly onUsage?: (usage: Usage) => void;
}

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #jobs = new Map<string, RunningJob>();
  readonly #sender = new TileSender();
  readonly #prober = new Prober();
  readonly #publisher: Publisher;
  readonly #leftovers: Leftovers;
  /** Jobs that are not on the bus yet, and those that wait there. */
  readonly #backlog: Backlog<RunningJob>;
  #sweeper: ReturnType<typeof setInterval> | null = null;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    const { bus, directory } = options;
    this.#publisher = new Publisher(options);
    this.#leftovers = new Leftovers({
      isAlive: (workerId) => directory.has(workerId),
      withdraw: (streamSeq) => {
        if (bus.isConnected) void withdrawJob(bus.connection, streamSeq);
      },
    });
    this.#backlog = new Backlog((model) => {
      const capacity = directory.workersOf(model).reduce((sum, worker) => sum + worker.capacity, 0);
      return Math.max(MIN_AHEAD, Math.ceil(capacity * AHEAD_SHARE));
    });
    bus.onUp((nc, isNew) => this.#attach(nc, isNew));
  }

  /** Name of this edge instance on the bus. */
  get edgeId(): string {
    return this.#options.edgeId;
  }

  get numRunning(): number {
    return this.#jobs.size;
  }

  /** Jobs that are not on the bus yet, because others go first. */
  get numWaiting(): number {
    return this.#backlog.numWaiting;
  }

  /**
   * Takes a job, which goes to the bus when its turn comes; its answer, or why there is none, comes through `next()` of
   * what is returned. `signal` cancels it, before and after.
   * @throws TesseraError when it can never go there
   */
  start(
    job: Job,
    tiles: readonly JobTile[],
    options: StartOptions,
  ): RunningJob {
    const { bus, directory } = this.#options;
    // These throw where there is no connection, and where the job fits no message.
    void bus.connection;
    encodeMessage(job, bus.maxPayload);
    checkTiles(tiles, bus.maxPayload);
    if (options.signal.aborted) throw new TesseraError("client_closed");

    const cancel = () => running.cancel();
    const running = new RunningJob({
      job,
      tiles,
      turn: turnOfJob(job, directory.workersOf(job.model)[0]?.tokens_per_tile ?? 0),
      deadlineAt: options.deadlineAt,
      parent: activeContext(),
      onEnd: (ended, outcome, error) => {
        options.signal.removeEventListener("abort", cancel);
        this.#end(ended, outcome, error);
        if (ended.usage !== null) options.onUsage?.(ended.usage);
      },
    });
    // Before it is published: the claim may be here before the acknowledgement.
    this.#jobs.set(running.id, running);
    this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_MS);
    options.signal.addEventListener("abort", cancel);
    this.#backlog.add(running);
    this.#sendNext();
    return running;
  }

  /** Ends every job, as when the edge shuts down. */
  giveUpAll(error: TesseraError): void {
    // First, so that none of them goes to the bus in another's place.
    for (const job of this.#jobs.values()) this.#backlog.leave(job);
    for (const job of [...this.#jobs.values()]) job.giveUp(error);
  }

  close(): void {
    this.giveUpAll(new TesseraError("shutting_down"));
    this.#leftovers.close();
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
    if (await this.#publisher.attach(nc)) return;
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
    const gone: ClaimReply = { v: claim.v, granted: false, reason: "gone" };
    const reply = job === undefined || job.id !== claim.job_id ? gone : job.claim(claim);
    msg.respond(encodeMessage(reply, bus.maxPayload));
    if (job !== undefined) {
      this.#publisher.withdraw(job);
      if (job.isClaimed) this.#backlog.leave(job);
      this.#sendNext();
    }
    const { job_id, worker_id, attempt } = claim;
    log.debug("claim", { job_id, worker_id, attempt, granted: reply.granted, num_want: claim.want.length });
    if (!reply.granted || job === undefined) return;
    // It will ask again when its turn comes.
    if (reply.alone === true && claim.trial === false) return;
    this.#sender.send(nc, job, claim, bus.maxPayload).catch((error) => log.warn("tiles_not_sent", { job_id, error }));
  }

  #onEvent(msg: Msg): void {
    for (const { jobId, event } of readEvents(msg.subject, msg.data)) {
      const job = this.#jobs.get(jobId);
      if (job === undefined || job.hasEnded) continue;
      if (event instanceof TesseraError) {
        job.giveUp(event);
        continue;
      }
      const wasDue = job.publications.dueReason !== null;
      job.hear(event);
      // What could not be stored before waits for the next sweep.
      if (!wasDue) this.#publisher.publishIfDue(job);
    }
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

  /** Sends the jobs whose turn has come. */
  #sendNext(): void {
    if (!this.#options.bus.isConnected) return;
    for (let job = this.#backlog.next(); job !== null; job = this.#backlog.next()) this.#publisher.publishFirst(job);
  }

  #sweep(): void {
    const { bus, directory, waits } = this.#options;
    const now = performance.now();
    for (const job of [...this.#jobs.values()]) {
      const { model } = job;
      job.sweep({ now, ...waits, isAlive: directory.isAlive(model), isServed: directory.isServed(model) });
      if (job.hasEnded || !bus.isConnected || this.#backlog.has(job)) continue;
      this.#publisher.retractIfUnreadable(job);
      if (this.#publisher.publishIfDue(job)) continue;
      if (job.workerId !== null && now - job.heardAt > waits.probeMs) this.#probe(job.workerId);
    }
    // Workers may have come.
    this.#sendNext();
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
    this.#backlog.leave(job);
    recordStage("queue", job.createdAt, job.claimedAt ?? performance.now(), { "tessera.job_id": job.id }, job.parent);
    if (this.#jobs.size === 0 && this.#sweeper !== null) {
      clearInterval(this.#sweeper);
      this.#sweeper = null;
    }
    log.debug("job_ended", { job_id: job.id, outcome, attempt: job.attempt, error: error?.code ?? null });
    if (outcome === "given_up" || outcome === "parked") {
      job.publications.close();
      this.#publisher.withdraw(job);
      if (outcome === "parked") void parkJob(this.#options, job, error);
      else if (bus.isConnected) bus.connection.publish(cancelSubject(job.id));
    }
    const { ownSeq } = job.publications;
    if (ownSeq !== null && job.workerId !== null) this.#leftovers.add(ownSeq, job.workerId);
    this.#sendNext();
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
