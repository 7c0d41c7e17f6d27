/** The durable side of the bus as a worker uses it: states by compare-and-set, tiles by name, news, dead letters. */
import { jetstream, JetStreamApiError, jetstreamManager } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/nats-core";
import {
  DEAD_STREAM_CONFIG,
  type DeadLetter,
  deadSubject,
  decodeMessage,
  encodeMessage,
  ensureStream,
  JobRecord,
  JOBS_BUCKET_CONFIG,
  newsSubject,
  numIdsOf,
  PUBLISH_TIMEOUT_MS,
  storedTilesOf,
  storedTileSubject,
  TILES_STREAM,
} from "@tessera/shared";

/** JetStream's code for a write behind someone else's. */
const WRONG_LAST_SEQUENCE = 10071;

/** A state and the revision it has in the bucket. */
export interface StoredRecord {
  readonly record: JobRecord;
  readonly revision: number;
}

/** Someone else has changed the state in between. */
export class RecordChanged extends Error {
  override readonly name = "RecordChanged";
}

export class DurableStore {
  readonly #nc: NatsConnection;
  #bucket: Promise<KV> | null = null;

  constructor(nc: NatsConnection) {
    this.#nc = nc;
  }

  /** Null when there is none (any more). */
  async read(jobId: string): Promise<StoredRecord | null> {
    const entry = await (await this.#kv()).get(jobId);
    if (entry === null || entry.operation !== "PUT") return null;
    return { record: decodeMessage(JobRecord, entry.value), revision: entry.revision };
  }

  /**
   * Writes a state over the one of that revision.
   * @returns the new revision
   * @throws RecordChanged when there is another one by now
   */
  async write(record: JobRecord, revision: number): Promise<number> {
    try {
      return await (await this.#kv()).update(record.id, encodeMessage(record, this.#maxPayload), revision);
    } catch (cause) {
      if (cause instanceof JetStreamApiError && cause.code === WRONG_LAST_SEQUENCE) {
        throw new RecordChanged(`Cannot write job ${record.id}: revision ${revision} is not the last`, { cause });
      }
      throw cause;
    }
  }

  /** Tells what has become of a job; twice in a short time counts once. */
  async tell(record: JobRecord): Promise<void> {
    const { id, model, status } = record;
    const news = encodeMessage({ v: 1, id, model, status, at_ms: Date.now() }, this.#maxPayload);
    const options = { msgID: `${id}.${status}`, timeout: PUBLISH_TIMEOUT_MS };
    await jetstream(this.#nc).publish(newsSubject(status, id), news, options);
  }

  /** Tells that a job has got further. */
  async tellProgress(record: JobRecord): Promise<void> {
    const { id, model, status } = record;
    const num_ids = numIdsOf(record);
    const news = encodeMessage({ v: 1, id, model, status, at_ms: Date.now(), num_ids }, this.#maxPayload);
    const options = { msgID: `${id}.output.${num_ids}`, timeout: PUBLISH_TIMEOUT_MS };
    await jetstream(this.#nc).publish(newsSubject("output", id), news, options);
  }

  async park(letter: DeadLetter): Promise<void> {
    await ensureStream(await jetstreamManager(this.#nc), DEAD_STREAM_CONFIG);
    const options = { msgID: letter.job.id, timeout: PUBLISH_TIMEOUT_MS };
    await jetstream(this.#nc).publish(deadSubject(letter.job.model), encodeMessage(letter, this.#maxPayload), options);
  }

  /** A stored tile with its headers; null when it is not there. */
  async tile(
    jobId: string,
    hash: string,
  ): Promise<{ readonly get: (name: string) => string; readonly data: Uint8Array } | null> {
    const manager = await jetstreamManager(this.#nc, { checkAPI: false });
    const message = await manager.direct.getMessage(TILES_STREAM, { last_by_subj: storedTileSubject(jobId, hash) });
    return message === null ? null : { get: (name) => message.header.get(name), data: message.data };
  }

  /** Nobody needs the job's tiles any more. What stays ages out. */
  async dropTiles(jobId: string): Promise<void> {
    const manager = await jetstreamManager(this.#nc, { checkAPI: false });
    await manager.streams.purge(TILES_STREAM, { filter: storedTilesOf(jobId) });
  }

  get #maxPayload(): number {
    return this.#nc.info?.max_payload ?? 1_048_576;
  }

  /** Opened once; again when that did not work. */
  #kv(): Promise<KV> {
    this.#bucket ??= new Kvm(this.#nc).create(JOBS_BUCKET_CONFIG.name, { ...JOBS_BUCKET_CONFIG.options });
    this.#bucket.catch(() => this.#bucket = null);
    return this.#bucket;
  }
}
