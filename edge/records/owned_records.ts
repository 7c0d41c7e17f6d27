/** Records that belong to somebody: a bucket whose keys are owner and id, listed by age a page at a time. */
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { type KV, Kvm, type KvOptions } from "@nats-io/kv";
import { bucketStream, decodeMessage, encodeMessage, keySubject, TesseraError } from "@tessera/shared";
import type { z } from "zod";
import type { Bus } from "../dispatch/bus.ts";
import { isFull, isSuperseded } from "../dispatch/jetstream_codes.ts";
import { PerConnection } from "../dispatch/per_connection.ts";

/** A record and its revision in the bucket. */
export interface Stored<T> {
  readonly record: T;
  readonly revision: number;
}

export interface PageWish {
  /** Id of the last one of the page before; null: from the beginning. */
  readonly after: string | null;
  readonly limit: number;
  readonly order: "asc" | "desc";
}

export interface Page<T> {
  readonly data: readonly T[];
  readonly hasMore: boolean;
}

export interface OwnedRecordsOptions<S extends z.ZodType> {
  readonly bus: Bus;
  readonly bucket: { readonly name: string; readonly options: Partial<KvOptions> };
  readonly schema: S;
  /** Sorts by age, see newListId. */
  readonly idOf: (record: z.infer<S>) => string;
}

/** Records read at the same time for one page. */
const READS_IN_FLIGHT = 32;

export class OwnedRecords<S extends z.ZodType> {
  readonly #options: OwnedRecordsOptions<S>;
  readonly #opened: PerConnection<{ readonly kv: KV; readonly manager: JetStreamManager }>;

  constructor(options: OwnedRecordsOptions<S>) {
    this.#options = options;
    const { bucket } = options;
    this.#opened = new PerConnection(options.bus, async (nc) => {
      const kv = await new Kvm(nc).create(bucket.name, { ...bucket.options });
      return { kv, manager: await jetstreamManager(nc, { checkAPI: false }) };
    });
  }

  /**
   * @returns its revision; null when there is one of that id
   * @throws TesseraError `rate_limited` when the bucket is full
   */
  async create(owner: string, record: z.infer<S>): Promise<number | null> {
    const { kv } = await this.#opened.get();
    const key = keyOf(owner, this.#options.idOf(record));
    try {
      return await kv.create(key, encodeMessage(record, this.#options.bus.maxPayload));
    } catch (error) {
      if (isFull(error)) throw new TesseraError("rate_limited", { diagnostic: "The bucket is full", cause: error });
      if (isSuperseded(error)) return null;
      throw error;
    }
  }

  /** Null when there is none. */
  async get(owner: string, id: string): Promise<Stored<z.infer<S>> | null> {
    const { kv } = await this.#opened.get();
    const entry = await kv.get(keyOf(owner, id));
    if (entry === null || entry.operation !== "PUT") return null;
    return { record: decodeMessage(this.#options.schema, entry.value), revision: entry.revision };
  }

  /** Writes over the record of that revision; null when somebody else has written, or removed it, in between. */
  async update(owner: string, record: z.infer<S>, revision: number): Promise<number | null> {
    const { kv } = await this.#opened.get();
    const key = keyOf(owner, this.#options.idOf(record));
    try {
      return await kv.update(key, encodeMessage(record, this.#options.bus.maxPayload), revision);
    } catch (error) {
      if (isSuperseded(error)) return null;
      throw error;
    }
  }

  /** Leaves no trace. */
  async remove(owner: string, id: string): Promise<void> {
    const { manager } = await this.#opened.get();
    const { name } = this.#options.bucket;
    await manager.streams.purge(bucketStream(name), { filter: keySubject(name, keyOf(owner, id)) });
  }

  /** Ids of an owner, or of everybody with `*`, oldest first. */
  async ids(owner: string): Promise<string[]> {
    return (await this.keys(owner)).map(({ id }) => id);
  }

  /** The same with their owners. */
  async keys(owner: string): Promise<{ readonly owner: string; readonly id: string }[]> {
    const { manager } = await this.#opened.get();
    const { name } = this.#options.bucket;
    const filter = keySubject(name, keyOf(owner, "*"));
    const { state } = await manager.streams.info(bucketStream(name), { subjects_filter: filter });
    return Object.keys(state.subjects ?? {})
      .map((subject) => {
        const [owner, id] = subject.split(".").slice(-2) as [string, string];
        return { owner, id };
      })
      .sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** @param accepts those that are left out do not count to the page */
  async list(owner: string, wish: PageWish, accepts: (record: z.infer<S>) => boolean = () => true) {
    const ids = await this.ids(owner);
    if (wish.order === "desc") ids.reverse();
    const { after } = wish;
    const isBehind = (id: string) => after === null || (wish.order === "asc" ? id > after : id < after);
    const left = ids.filter(isBehind);
    const data: z.infer<S>[] = [];
    while (left.length > 0 && data.length <= wish.limit) {
      // One more than the page, to know whether there is another.
      const batch = left.splice(0, Math.min(READS_IN_FLIGHT, wish.limit + 1 - data.length));
      const found = await Promise.all(batch.map((id) => this.get(owner, id)));
      for (const stored of found) if (stored !== null && accepts(stored.record)) data.push(stored.record);
    }
    return { data: data.slice(0, wish.limit), hasMore: data.length > wish.limit } satisfies Page<z.infer<S>>;
  }
}

function keyOf(owner: string, id: string): string {
  return `${owner}.${id}`;
}
