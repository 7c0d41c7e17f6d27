/** Batches as an edge has them: made, looked at, listed, cancelled; which edge runs one, a queue on the bus decides. */
import { jetstream, type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import {
  BATCH_WINDOW_MS,
  BATCHES_BUCKET_CONFIG,
  BATCHES_STREAM_CONFIG,
  batchRunSubject,
  ensureStream,
  isListId,
  MAX_RECORD_RETRIES,
  newListId,
  PUBLISH_TIMEOUT_MS,
  TesseraError,
} from "@tessera/shared";
import type { Bus } from "../dispatch/bus.ts";
import { PerConnection } from "../dispatch/per_connection.ts";
import { OwnedRecords, type Page, type PageWish, type Stored } from "../records/owned_records.ts";
import { type BatchEndpoint, BatchRecord, hasBatchEnded } from "./batch_record.ts";

export const BATCH_PREFIX = "batch";

export interface NewBatch {
  readonly owner: string;
  readonly keyId: string | null;
  readonly endpoint: BatchEndpoint;
  readonly inputFileId: string;
  readonly metadata: Readonly<Record<string, string>> | null;
}

export class Batches {
  readonly #records: OwnedRecords<typeof BatchRecord>;
  readonly #opened: PerConnection<{ readonly nc: NatsConnection; readonly manager: JetStreamManager }>;
  readonly #windowMs: number;

  /** @param windowMs how long one may take; shorter in tests */
  constructor(bus: Bus, windowMs = BATCH_WINDOW_MS) {
    this.#windowMs = windowMs;
    this.#records = new OwnedRecords({
      bus,
      bucket: BATCHES_BUCKET_CONFIG,
      schema: BatchRecord,
      idOf: ({ id }) => id,
    });
    this.#opened = new PerConnection(bus, async (nc) => {
      const manager = await jetstreamManager(nc, { checkAPI: false });
      await ensureStream(manager, BATCHES_STREAM_CONFIG);
      return { nc, manager };
    });
  }

  /** Kept, and put into the queue; from then on it is run whatever happens to this edge. */
  async create({ owner, keyId, endpoint, inputFileId, metadata }: NewBatch): Promise<BatchRecord> {
    const { nc } = await this.#opened.get();
    const now = Date.now();
    const record: BatchRecord = {
      v: 1,
      id: newListId(BATCH_PREFIX),
      owner,
      key_id: keyId,
      endpoint,
      input_file_id: inputFileId,
      status: "validating",
      errors: [],
      output_file_id: null,
      error_file_id: null,
      counts: { total: 0, completed: 0, failed: 0 },
      metadata: metadata === null ? null : { ...metadata },
      created_ms: now,
      expires_ms: now + this.#windowMs,
      in_progress_ms: null,
      finalizing_ms: null,
      completed_ms: null,
      failed_ms: null,
      expired_ms: null,
      cancelling_ms: null,
      cancelled_ms: null,
    };
    await this.#records.create(owner, record);
    try {
      const options = { msgID: record.id, timeout: PUBLISH_TIMEOUT_MS };
      await jetstream(nc).publish(batchRunSubject(owner, record.id), "", options);
    } catch (error) {
      await this.#records.remove(owner, record.id).catch(() => {});
      throw error;
    }
    return record;
  }

  /** Null when there is none (any more). */
  find(owner: string, id: string): Promise<Stored<BatchRecord> | null> {
    return this.#records.get(owner, id);
  }

  /** @throws TesseraError `not_found` for what is not there or somebody else's */
  async get(owner: string, id: string): Promise<BatchRecord> {
    const stored = isListId(BATCH_PREFIX, id) ? await this.#records.get(owner, id) : null;
    if (stored === null) throw absent(id);
    return stored.record;
  }

  list(owner: string, wish: PageWish): Promise<Page<BatchRecord>> {
    return this.#records.list(owner, wish);
  }

  /** Asks for its end; what is done by then is kept. @throws TesseraError `not_found` or `batch_ended` */
  async cancel(owner: string, id: string): Promise<BatchRecord> {
    await this.get(owner, id);
    const changed = await this.change(owner, id, (record) => {
      if (hasBatchEnded(record)) {
        throw new TesseraError("batch_ended", { message: `The batch ${id} is ${record.status} already.` });
      }
      if (record.status === "cancelling") return record;
      return { ...record, status: "cancelling", cancelling_ms: Date.now() };
    });
    if (changed === null) throw absent(id);
    return changed;
  }

  /** Changes a record, read anew where somebody else changed it in between; null when there is none. */
  async change(
    owner: string,
    id: string,
    act: (record: BatchRecord) => BatchRecord,
  ): Promise<BatchRecord | null> {
    for (let round = 0; round < MAX_RECORD_RETRIES; round++) {
      const stored = await this.#records.get(owner, id);
      if (stored === null) return null;
      const record = act(stored.record);
      if (record === stored.record) return record;
      if (await this.#records.update(owner, record, stored.revision) !== null) return record;
    }
    throw new TesseraError("internal_error", { diagnostic: `The state of ${id} changed too often` });
  }
}

function absent(id: string): TesseraError {
  return new TesseraError("not_found", { message: `No such Batch object: ${id.slice(0, 64)}.`, param: "id" });
}
