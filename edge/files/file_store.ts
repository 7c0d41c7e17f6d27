/** Files for later requests: bytes in the object store, what is known of them in a bucket, each seen by its owner alone. */
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { type ObjectStore, Objm } from "@nats-io/obj";
import {
  FILE_MAX_AGE_MS,
  FILE_PIECE_BYTES,
  FILE_RECORDS_BUCKET_CONFIG,
  FILES_BUCKET,
  FILES_BUCKET_CONFIG,
  isListId,
  MAX_FILE_BYTES,
  MAX_FILES,
  newListId,
  PUBLISH_TIMEOUT_MS,
  TesseraError,
} from "@tessera/shared";
import { concat } from "../api/blobs.ts";
import { replacingError } from "../byte_streams.ts";
import type { Bus } from "../dispatch/bus.ts";
import { isFull } from "../dispatch/jetstream_codes.ts";
import { noStorage, PerConnection } from "../dispatch/per_connection.ts";
import { OwnedRecords, type Page, type PageWish } from "../records/owned_records.ts";
import { FileRecord } from "./file_record.ts";
import { dropOrphans } from "./orphans.ts";
import { objectBytes } from "./pieces.ts";

const PREFIX = "file";

export type FilePurpose = FileRecord["purpose"];

/** Bytes that are stored and not yet anybody's file. */
export interface StoredBytes {
  readonly id: string;
  readonly numBytes: number;
}

export interface FileFacts {
  readonly purpose: FilePurpose;
  readonly filename: string;
  readonly contentType: string;
  /** From now, in ms; as long as files are kept when absent. */
  readonly expiresInMs?: number;
}

interface Opened {
  readonly nc: NatsConnection;
  readonly store: ObjectStore;
  readonly manager: JetStreamManager;
}

export class FileStore {
  readonly #objects: PerConnection<Opened>;
  readonly #records: OwnedRecords<typeof FileRecord>;

  readonly #maxFileBytes: number;

  constructor(bus: Bus, maxFileBytes: number = MAX_FILE_BYTES) {
    this.#maxFileBytes = maxFileBytes;
    this.#objects = new PerConnection(bus, async (nc) => {
      const store = await new Objm(nc).create(FILES_BUCKET_CONFIG.name, { ...FILES_BUCKET_CONFIG.options });
      return { nc, store, manager: await jetstreamManager(nc, { checkAPI: false }) };
    });
    this.#records = new OwnedRecords({
      bus,
      bucket: FILE_RECORDS_BUCKET_CONFIG,
      schema: FileRecord,
      idOf: ({ id }) => id,
    });
  }

  /**
   * Stores bytes as they come; nothing is left of what breaks off.
   * @param bytes their errors come out as they are
   * @throws TesseraError `request_too_large`, or `rate_limited` where there is no room
   */
  async store(bytes: ReadableStream<Uint8Array>): Promise<StoredBytes> {
    const { store } = await this.#objects.get();
    const id = newListId(PREFIX);
    let numBytes = 0;
    let failure: unknown = null;
    const maxBytes = this.#maxFileBytes;
    const counted = bytes.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          numBytes += chunk.length;
          if (numBytes > maxBytes) throw tooLarge(maxBytes);
          controller.enqueue(chunk);
        },
      }),
    );
    try {
      const options = { max_chunk_size: FILE_PIECE_BYTES };
      // The store's client wraps the error that ends them.
      await store.put({ name: id, options }, replacingError(counted, (error) => failure = error), {
        timeout: PUBLISH_TIMEOUT_MS,
      });
      return { id, numBytes };
    } catch (error) {
      throw failure ?? noRoom(error);
    }
  }

  /**
   * Makes stored bytes somebody's file.
   * @param isOurs the server's own making, which is not counted
   * @throws TesseraError `rate_limited` when the owner has as many as allowed
   */
  async publish(
    owner: string,
    stored: StoredBytes,
    facts: FileFacts,
    { isOurs = false }: { readonly isOurs?: boolean } = {},
  ): Promise<FileRecord> {
    if (!isOurs && (await this.#records.ids(owner)).length >= MAX_FILES) {
      throw new TesseraError("rate_limited", {
        message: `There are ${MAX_FILES} files of this API key, which is as many as are kept. Delete some.`,
      });
    }
    const now = Date.now();
    const record: FileRecord = {
      v: 1,
      id: stored.id,
      purpose: facts.purpose,
      filename: facts.filename,
      content_type: facts.contentType,
      num_bytes: stored.numBytes,
      created_ms: now,
      expires_ms: now + Math.min(facts.expiresInMs ?? FILE_MAX_AGE_MS, FILE_MAX_AGE_MS),
    };
    await this.#records.create(owner, record);
    return record;
  }

  /** Forgets stored bytes. */
  async discard(id: string): Promise<void> {
    const { store } = await this.#objects.get();
    await store.delete(id);
  }

  /** @throws TesseraError `not_found` for what is not there, too old or somebody else's */
  async get(owner: string, id: string): Promise<FileRecord> {
    const stored = isListId(PREFIX, id) ? await this.#records.get(owner, id) : null;
    if (stored === null) throw absent(id);
    if (Date.now() < stored.record.expires_ms) return stored.record;
    await this.#drop(owner, id);
    throw absent(id);
  }

  list(owner: string, wish: PageWish, purpose: string | null): Promise<Page<FileRecord>> {
    const now = Date.now();
    return this.#records.list(
      owner,
      wish,
      (record) => now < record.expires_ms && (purpose === null || record.purpose === purpose),
    );
  }

  /** A file's bytes as they are read. @throws TesseraError `not_found` */
  async read(owner: string, id: string): Promise<{ record: FileRecord; bytes: ReadableStream<Uint8Array> }> {
    const record = await this.get(owner, id);
    const { nc, store } = await this.#objects.get();
    const info = await store.info(id);
    if (info === null || info.deleted) throw absent(id);
    const bytes = objectBytes(nc, FILES_BUCKET, info);
    const stream = new ReadableStream<Uint8Array>({
      async pull(controller) {
        const { done, value } = await bytes.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: () => void bytes.return(undefined).catch(() => {}),
    }, { highWaterMark: 0 });
    return { record, bytes: stream };
  }

  /** @throws TesseraError `not_found` */
  async remove(owner: string, id: string): Promise<void> {
    await this.get(owner, id);
    await this.#drop(owner, id);
  }

  /** Forgets the files that are too old, and what uploads left that broke off with their edge. Returns how many. */
  async sweep(orphanAgeMs?: number): Promise<number> {
    const { manager } = await this.#objects.get();
    let numDropped = 0;
    for (const { owner, id } of await this.#records.keys("*")) {
      const stored = await this.#records.get(owner, id);
      if (stored === null || Date.now() < stored.record.expires_ms) continue;
      await this.#drop(owner, id);
      numDropped++;
    }
    const ids = new Set((await this.#records.keys("*")).map(({ id }) => id));
    return numDropped + await dropOrphans(manager, ids, orphanAgeMs);
  }

  async #drop(owner: string, id: string): Promise<void> {
    await this.#records.remove(owner, id);
    await this.discard(id);
  }
}

/** A whole file, for whoever wants it in memory, such as a picture of a request. */
export interface FileBytes {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** As its uploader labelled it. */
  readonly contentType: string;
}

/**
 * A file of that owner by its id.
 * @param hold called with the file's size before anything is read; throws to refuse it
 * @throws TesseraError `not_found`
 */
export async function resolveFile(
  files: FileStore,
  owner: string,
  id: string,
  hold: (numBytes: number) => void = () => {},
): Promise<FileBytes> {
  hold((await files.get(owner, id)).num_bytes);
  const { record, bytes } = await files.read(owner, id);
  return { bytes: concat(await Array.fromAsync(bytes)), contentType: record.content_type };
}

function absent(id: string): TesseraError {
  return new TesseraError("not_found", { message: `No such File object: ${id.slice(0, 64)}.`, param: "id" });
}

function tooLarge(maxBytes: number): TesseraError {
  const limit = maxBytes / 1024 / 1024;
  return new TesseraError("request_too_large", { message: `The file is larger than ${limit} MiB.`, param: "file" });
}

function noRoom(cause: unknown): unknown {
  if (cause instanceof TesseraError) return cause;
  // A disk that is full, a server that does not answer.
  if (!isFull(cause)) return noStorage("Cannot store the file", cause);
  return new TesseraError("rate_limited", {
    message: "The server has no room for more files now. Delete some, or try again later.",
    cause,
  });
}
