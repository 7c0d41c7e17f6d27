/** All running jobs of this edge: publishes them, routes claims and events to them, sweeps and ends them. */
import type { Msg, NatsConnection } from "@nats-io/nats-core";
import {
  cancelSubject,
  checkPayload,
  Claim,
  type ClaimReply,
  decodeMessage,
  edgeClaims,
  edgeEvents,
  encodeMessage,
  type Job,
  JobEvent,
  jobIdOf,
  LIVE_GIVEN_UP,
  type Logger,
  TesseraError,
  toTesseraError,
} from "@tessera/shared";
import type { Waits } from "../config.ts";
import type { Bus } from "./bus.ts";
import type { WorkerDirectory } from "./directory.ts";
import { ensureLiveStream, storeJob, withdrawJob } from "./live_stream.ts";
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
    const nc = bus.connection;
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
    try {
      running.streamSeq = await storeJob(nc, running.id, running.model, bytes);
    } catch (thrown) {
      running.giveUp(toTesseraError(thrown));
      throw thrown;
    }
    if (running.hasEnded && !running.isClaimed) void withdrawJob(nc, running.streamSeq);
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
      nc.subscribe(LIVE_GIVEN_UP, { callback: guarded((msg) => this.#onGivenUp(nc, msg)) });
    }
    await ensureLiveStream(nc);
  }

  #onClaim(nc: NatsConnection, msg: Msg): void {
    const { bus, log } = this.#options;
    const claim = decodeMessage(Claim, msg.data);
    const job = this.#jobs.get(jobIdOf(msg.subject));
    const gone: ClaimReply = { v: 1, granted: false, reason: "gone" };
    const reply = job === undefined || job.id !== claim.job_id ? gone : job.claim(claim);
    msg.respond(encodeMessage(reply, bus.maxPayload));
    const { job_id, worker_id, attempt } = claim;
    log.debug("claim", { job_id, worker_id, attempt, granted: reply.granted, num_want: claim.want.length });
    if (!reply.granted || job === undefined) return;
    this.#sender.send(nc, job, claim, bus.maxPayload).catch((error) => log.warn("tiles_not_sent", { job_id, error }));
  }

  #onEvent(msg: Msg): void {
    const job = this.#jobs.get(jobIdOf(msg.subject));
    job?.hear(decodeMessage(JobEvent, msg.data));
  }

  #onGivenUp(nc: NatsConnection, msg: Msg): void {
    const { stream_seq } = msg.json<{ stream_seq?: number }>();
    for (const job of this.#jobs.values()) {
      if (stream_seq === undefined || job.streamSeq !== stream_seq) continue;
      // It stays in the stream otherwise, counted as waiting, until it is too old.
      void withdrawJob(nc, stream_seq);
      job.giveUp(new TesseraError("worker_lost", { diagnostic: "Handed out as often as allowed" }));
    }
  }

  #sweep(): void {
    const { directory, waits } = this.#options;
    const now = performance.now();
    for (const job of [...this.#jobs.values()]) {
      const { model } = job;
      job.sweep({ now, ...waits, isAlive: directory.isAlive(model), isServed: directory.isServed(model) });
    }
  }

  #end(job: RunningJob, outcome: JobOutcome, error: TesseraError | null): void {
    const { bus, log } = this.#options;
    this.#jobs.delete(job.id);
    if (this.#jobs.size === 0 && this.#sweeper !== null) {
      clearInterval(this.#sweeper);
      this.#sweeper = null;
    }
    log.debug("job_ended", { job_id: job.id, outcome, attempt: job.attempt, error: error?.code ?? null });
    if (outcome !== "given_up" || !bus.isConnected) return;
    const nc = bus.connection;
    nc.publish(cancelSubject(job.id));
    if (!job.isClaimed && job.streamSeq !== null) void withdrawJob(nc, job.streamSeq);
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
