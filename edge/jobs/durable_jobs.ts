/** Durable jobs as the edge has them: submit, look at, wait for, cancel, remove. What runs them needs no edge. */
import { jetstream, type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import { headers, type NatsConnection } from "@nats-io/nats-core";
import {
  BUS_RETRY_MS,
  cancelSubject,
  checkPayload,
  decodeMessage,
  DURABLE_MAX_AGE_MS,
  DURABLE_PRIORITY,
  DURABLE_STREAM,
  DURABLE_STREAM_CONFIG,
  durableJobByName,
  durableJobSubject,
  encodeMessage,
  ensureStream,
  isFinal,
  type Job,
  JobRecord,
  JOBS_BUCKET_CONFIG,
  type JobWebhook,
  MAX_RECORD_RETRIES,
  NEWS_STREAM_CONFIG,
  newsSubject,
  PUBLISH_TIMEOUT_MS,
  storedTilesOf,
  storedTileSubject,
  TesseraError,
  tileHeaders,
  TILES_IN_FLIGHT,
  TILES_STREAM,
  TILES_STREAM_CONFIG,
  traceparentOf,
  type Usage,
} from "@tessera/shared";
import type { Bus } from "../dispatch/bus.ts";
import { traceHeaders } from "../dispatch/live_stream.ts";
import { isFull, isSuperseded } from "../dispatch/jetstream_codes.ts";
import { noStorage } from "../dispatch/per_connection.ts";
import type { JobTile } from "../dispatch/running_job.ts";
import { sleep } from "../wait.ts";
import { JobEnds } from "./job_ends.ts";

export interface SubmitOptions {
  /** From now, in ms; at most as long as tiles are kept. */
  readonly expiresInMs?: number;
  /** The caller's own, kept with the state. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Where its news are delivered to; checked by `webhookTarget`. */
  readonly webhook?: JobWebhook;
}

/** What a job that has ended adds to what its owner used: all that was made, unless it failed by the server's fault. */
export function usageToCount({ status, usage }: JobRecord): Usage | null {
  return isFinal(status) && status !== "failed" ? usage : null;
}

export class DurableJobs {
  readonly #bus: Bus;
  readonly #ends = new JobEnds();
  #ready: { readonly nc: NatsConnection; readonly opened: Promise<Opened> } | null = null;

  constructor(bus: Bus) {
    this.#bus = bus;
    bus.onUp(() => this.#ends.restart());
  }

  /**
   * Stores a job and its tiles; from then on it is done whatever happens to this edge. A job with the id of one that is
   * stored already is that one: nothing is stored twice.
   * @throws TesseraError `rate_limited` when the queue or the place for tiles is full, `no_worker` without a bus
   */
  async submit(job: Job, tiles: readonly JobTile[], options: SubmitOptions = {}): Promise<JobRecord> {
    const { nc, kv, manager } = await this.#open();
    const { maxPayload } = this.#bus;
    const bytes = encodeMessage({ ...job, priority: Math.max(job.priority, DURABLE_PRIORITY) }, maxPayload);
    for (const { pixels } of tiles) checkPayload(pixels.length, maxPayload);
    const record = newRecord(job, options);
    const subject = durableJobSubject(job.model, job.tenant, job.id);
    const existing = await createRecord(kv, record, maxPayload);
    if (existing !== null && !await isHalfStored(manager, existing, subject)) return existing;
    try {
      await storeTiles(nc, job.id, tiles);
      const stored = { msgID: job.id, timeout: PUBLISH_TIMEOUT_MS, ...traceHeaders(traceparentOf()) };
      await jetstream(nc).publish(subject, bytes, stored);
      return existing ?? record;
    } catch (cause) {
      await Promise.allSettled([kv.purge(job.id), dropTiles(manager, job.id)]);
      throw refusal(cause);
    }
  }

  /** The state of a job; null when there is none (any more). One whose time is over is expired by whoever looks. */
  async status(jobId: string): Promise<JobRecord | null> {
    const { kv } = await this.#open();
    const record = (await readRecord(kv, jobId))?.record ?? null;
    if (record === null || isFinal(record.status) || Date.now() < record.expires_ms) return record;
    const error = { code: "deadline_exceeded" as const, message: "The job was not done in time.", param: null };
    return await this.#end(jobId, { status: "expired", error });
  }

  /** Ends a job unless it has ended; null when there is none. */
  cancel(jobId: string): Promise<JobRecord | null> {
    return this.#end(jobId, { status: "canceled" });
  }

  /** Cancels a job and forgets everything of it at once. False when there was none. */
  async remove(jobId: string): Promise<boolean> {
    const { kv } = await this.#open();
    if (await this.cancel(jobId) === null) return false;
    await kv.purge(jobId);
    return true;
  }

  /**
   * Waits until a job has ended, or `signal` aborts; returns the state then.
   * @throws TesseraError `no_worker` when the bus goes meanwhile: the job goes on
   */
  async wait(jobId: string, signal: AbortSignal): Promise<JobRecord | null> {
    const { nc } = await this.#open();
    const aborted = new Promise<"unknown">((resolve) => signal.addEventListener("abort", () => resolve("unknown")));
    for (;;) {
      const awaited = await this.#ends.await(nc, jobId).catch(notWatched);
      try {
        const state = await this.status(jobId).catch(notWatched);
        if (state === null || isFinal(state.status) || signal.aborted) return state;
        const end = await Promise.race([awaited.ended, aborted]);
        if (end !== "unknown") return end;
      } finally {
        awaited.release();
      }
      await sleep(BUS_RETRY_MS, signal);
    }
  }

  /** Tells of a job once more, for those who could not make anything of its news before. */
  async tellAgain({ id, model }: JobRecord): Promise<void> {
    const { nc } = await this.#open();
    const news = encodeMessage({ v: 1, id, model, status: "queued", at_ms: Date.now() }, this.#bus.maxPayload);
    await jetstream(nc).publish(newsSubject("queued", id), news, { msgID: `${id}.taken`, timeout: PUBLISH_TIMEOUT_MS });
  }

  async #end(jobId: string, change: Pick<JobRecord, "status"> & Partial<JobRecord>): Promise<JobRecord | null> {
    const { nc, kv, manager } = await this.#open();
    for (let round = 0; round < MAX_RECORD_RETRIES; round++) {
      const stored = await readRecord(kv, jobId);
      if (stored === null) return null;
      if (isFinal(stored.record.status)) return stored.record;
      const record = { ...stored.record, ...change, completed_ms: Date.now() };
      try {
        await kv.update(jobId, encodeMessage(record, this.#bus.maxPayload), stored.revision);
      } catch (error) {
        if (isSuperseded(error)) continue;
        throw error;
      }
      nc.publish(cancelSubject(jobId));
      const { id, model, status } = record;
      const news = encodeMessage({ v: 1, id, model, status, at_ms: Date.now() }, this.#bus.maxPayload);
      await jetstream(nc).publish(newsSubject(status, id), news, { msgID: `${id}.${status}` });
      await Promise.allSettled([
        manager.streams.purge(DURABLE_STREAM, { filter: durableJobByName(model, id) }),
        dropTiles(manager, id),
      ]);
      return record;
    }
    throw new TesseraError("internal_error", { diagnostic: `The state of ${jobId} changed too often` });
  }

  /** Streams and bucket, made where they are missing; once a connection. */
  #open(): Promise<Opened> {
    const nc = this.#bus.connection;
    if (this.#ready?.nc === nc) return this.#ready.opened;
    const opened = open(nc);
    this.#ready = { nc, opened };
    opened.catch(() => this.#ready = null);
    return opened;
  }
}

interface Opened {
  readonly nc: NatsConnection;
  readonly kv: KV;
  readonly manager: JetStreamManager;
}

async function open(nc: NatsConnection): Promise<Opened> {
  try {
    const manager = await jetstreamManager(nc);
    for (const config of [DURABLE_STREAM_CONFIG, TILES_STREAM_CONFIG, NEWS_STREAM_CONFIG]) {
      await ensureStream(manager, config);
    }
    const kv = await new Kvm(nc).create(JOBS_BUCKET_CONFIG.name, { ...JOBS_BUCKET_CONFIG.options });
    return { nc, kv, manager };
  } catch (cause) {
    throw noStorage("Cannot open the durable streams", cause);
  }
}

function newRecord(job: Job, { expiresInMs = DURABLE_MAX_AGE_MS, metadata = {}, webhook }: SubmitOptions): JobRecord {
  const now = Date.now();
  return {
    v: 1,
    id: job.id,
    model: job.model,
    status: "queued",
    created_ms: now,
    started_ms: null,
    completed_ms: null,
    expires_ms: now + Math.min(expiresInMs, DURABLE_MAX_AGE_MS),
    attempt: null,
    lost_worker_ids: [],
    choices: Array.from({ length: job.sampling.n }, () => ({ ids: [], text: "", finish_reason: null })),
    usage: null,
    timings: null,
    error: null,
    metadata: { ...metadata },
    webhook: webhook ?? null,
  };
}

/** Whether its submitter was lost between the state and the queue; what nobody has begun would then wait for ever. */
async function isHalfStored(manager: JetStreamManager, record: JobRecord, subject: string): Promise<boolean> {
  if (record.status !== "queued" || record.attempt !== null) return false;
  const { state } = await manager.streams.info(DURABLE_STREAM, { subjects_filter: subject });
  return (state.subjects?.[subject] ?? 0) === 0;
}

/** Null when it was made; the one that is there already. */
async function createRecord(kv: KV, record: JobRecord, maxPayload: number): Promise<JobRecord | null> {
  try {
    await kv.create(record.id, encodeMessage(record, maxPayload));
    return null;
  } catch (error) {
    const stored = await readRecord(kv, record.id);
    if (stored === null) throw refusal(error);
    return stored.record;
  }
}

async function readRecord(kv: KV, jobId: string): Promise<{ record: JobRecord; revision: number } | null> {
  const entry = await kv.get(jobId);
  if (entry === null || entry.operation !== "PUT") return null;
  return { record: decodeMessage(JobRecord, entry.value), revision: entry.revision };
}

async function storeTiles(nc: NatsConnection, jobId: string, tiles: readonly JobTile[]): Promise<void> {
  const js = jetstream(nc);
  const left = [...tiles];
  const lane = async () => {
    for (let tile = left.shift(); tile !== undefined; tile = left.shift()) {
      const described = headers();
      for (const [name, value] of tileHeaders(tile)) described.set(name, value);
      const subject = storedTileSubject(jobId, tile.hash);
      await js.publish(subject, tile.pixels, { headers: described, timeout: PUBLISH_TIMEOUT_MS });
    }
  };
  await Promise.all(Array.from({ length: Math.min(TILES_IN_FLIGHT, left.length) }, lane));
}

async function dropTiles(manager: JetStreamManager, jobId: string): Promise<void> {
  await manager.streams.purge(TILES_STREAM, { filter: storedTilesOf(jobId) });
}

function notWatched(cause: unknown): never {
  if (cause instanceof TesseraError) throw cause;
  throw noStorage("Cannot watch the job", cause);
}

function refusal(cause: unknown): TesseraError {
  if (cause instanceof TesseraError) return cause;
  if (isFull(cause)) {
    return new TesseraError("rate_limited", { diagnostic: "The durable streams are full", cause });
  }
  return noStorage("Cannot store the job", cause);
}
