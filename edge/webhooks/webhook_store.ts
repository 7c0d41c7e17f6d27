/** What webhooks keep on the bus: the queue of those on their way, what became of each, and those given up. */
import { jetstream, type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/nats-core";
import {
  bucketStream,
  decodeMessage,
  DELIVERIES_BUCKET,
  DELIVERIES_BUCKET_CONFIG,
  deliveryKey,
  DeliveryRecord,
  encodeMessage,
  ensureStream,
  keySubject,
  MAX_RECORD_RETRIES,
  PUBLISH_TIMEOUT_MS,
  TesseraError,
  UNDELIVERED_BUCKET,
  UNDELIVERED_BUCKET_CONFIG,
  type WebhookDispatch,
  WEBHOOKS_STREAM,
  WEBHOOKS_STREAM_CONFIG,
  webhooksOf,
  webhookSubject,
} from "@tessera/shared";

/** Digits of a time in base 36. */
const TIME_DIGITS = 9;

export interface DeadPage {
  readonly data: DeliveryRecord[];
  readonly hasMore: boolean;
}

export class WebhookStore {
  readonly #nc: NatsConnection;
  readonly #manager: JetStreamManager;
  readonly #deliveries: KV;
  readonly #undelivered: KV;

  private constructor(nc: NatsConnection, manager: JetStreamManager, deliveries: KV, undelivered: KV) {
    this.#nc = nc;
    this.#manager = manager;
    this.#deliveries = deliveries;
    this.#undelivered = undelivered;
  }

  /** Makes stream and buckets where they are missing. */
  static async open(nc: NatsConnection): Promise<WebhookStore> {
    const manager = await jetstreamManager(nc, { checkAPI: false });
    await ensureStream(manager, WEBHOOKS_STREAM_CONFIG);
    const bucket = ({ name, options }: typeof DELIVERIES_BUCKET_CONFIG | typeof UNDELIVERED_BUCKET_CONFIG) =>
      new Kvm(nc).create(name, { ...options });
    return new WebhookStore(
      nc,
      manager,
      await bucket(DELIVERIES_BUCKET_CONFIG),
      await bucket(UNDELIVERED_BUCKET_CONFIG),
    );
  }

  /** Puts an event on its way; the same one of the same round counts once. */
  async send(dispatch: WebhookDispatch): Promise<void> {
    const { id, subject_id, round } = dispatch;
    await this.#create(dispatch);
    const options = { msgID: `${id}.${round}`, timeout: PUBLISH_TIMEOUT_MS };
    await jetstream(this.#nc).publish(webhookSubject(subject_id, id), this.#encode(dispatch), options);
  }

  /** Place in the queue of the event that is next of a caption's; null when none waits. */
  async next(subjectId: string): Promise<number | null> {
    const query = { seq: 1, next_by_subj: webhooksOf(subjectId) };
    const message = await this.#manager.direct.getMessage(WEBHOOKS_STREAM, query);
    return message?.seq ?? null;
  }

  /** Null when there is none (any more). */
  async read(subjectId: string, deliveryId: string): Promise<DeliveryRecord | null> {
    return (await this.#get(deliveryKey(subjectId, deliveryId)))?.record ?? null;
  }

  /** All of a caption, in the order in which they came to pass. */
  async list(subjectId: string): Promise<DeliveryRecord[]> {
    const keys = await this.#keys(DELIVERIES_BUCKET, subjectId);
    const found = await Promise.all(keys.map((key) => this.#get(key)));
    return found.flatMap((stored) => stored === null ? [] : [stored.record])
      .sort((a, b) => a.dispatch.at_ms - b.dispatch.at_ms);
  }

  /** Changes what is known of a delivery; null when there is nothing known (any more). */
  async change(
    { subject_id, id }: Pick<WebhookDispatch, "subject_id" | "id">,
    change: (record: DeliveryRecord) => DeliveryRecord,
  ): Promise<DeliveryRecord | null> {
    const key = deliveryKey(subject_id, id);
    for (let round = 0; round < MAX_RECORD_RETRIES; round++) {
      const stored = await this.#get(key);
      if (stored === null) return null;
      const record = change(stored.record);
      try {
        await this.#deliveries.update(key, this.#encode(record), stored.revision);
        return record;
      } catch (error) {
        if (round === MAX_RECORD_RETRIES - 1) throw error;
      }
    }
    throw new TesseraError("internal_error", { diagnostic: `Delivery ${id} changed too often` });
  }

  /** Sends a delivery anew, whatever became of it, with the whole schedule before it; null when the owner has none such. */
  async redeliver(owner: string, subjectId: string, deliveryId: string): Promise<DeliveryRecord | null> {
    const known = await this.read(subjectId, deliveryId);
    if (known === null || known.dispatch.owner !== owner) return null;
    const record = await this.change(known.dispatch, (now) => ({
      ...now,
      dispatch: { ...now.dispatch, round: now.dispatch.round + 1 },
      state: "pending",
      num_in_round: 0,
      next_attempt_ms: Date.now(),
    }));
    if (record === null) return null;
    // What still waits for its turn would wait on, and the new one behind it.
    await this.#manager.streams.purge(WEBHOOKS_STREAM, { filter: webhookSubject(subjectId, deliveryId) });
    await this.revive(known);
    await this.send(record.dispatch);
    return record;
  }

  /** Forgets all of a caption; what is on its way finds nothing to say. */
  async forget(subjectId: string): Promise<void> {
    for (const record of await this.list(subjectId)) if (record.state === "failed") await this.revive(record);
    await this.#manager.streams.purge(bucketStream(DELIVERIES_BUCKET), {
      filter: keySubject(DELIVERIES_BUCKET, deliveryKey(subjectId, "*")),
    });
    await this.#manager.streams.purge(WEBHOOKS_STREAM, { filter: webhooksOf(subjectId) });
  }

  /** Puts a delivery on the list of those given up. */
  async bury(record: DeliveryRecord): Promise<void> {
    await this.#undelivered.put(graveOf(record), record.dispatch.subject_id);
  }

  /** Takes it off that list. */
  async revive(record: DeliveryRecord): Promise<void> {
    await this.#manager.streams.purge(bucketStream(UNDELIVERED_BUCKET), {
      filter: keySubject(UNDELIVERED_BUCKET, graveOf(record)),
    });
  }

  /**
   * Those of an owner that were given up, the latest first.
   * @param after id of the last one of the page before; null: from the beginning
   */
  async dead(owner: string, limit: number, after: string | null = null): Promise<DeadPage> {
    const keys = (await this.#keys(UNDELIVERED_BUCKET, owner)).sort().reverse();
    const begin = after === null ? 0 : keys.findIndex((key) => deliveryIdOf(key) === after) + 1;
    const page = keys.slice(begin, begin + limit);
    const found = await Promise.all(page.map(async (key) => {
      const entry = await this.#undelivered.get(key);
      return entry?.operation === "PUT" ? await this.read(entry.string(), deliveryIdOf(key)) : null;
    }));
    return { data: found.filter((record) => record !== null), hasMore: keys.length > begin + limit };
  }

  async #create(dispatch: WebhookDispatch): Promise<void> {
    const record: DeliveryRecord = {
      v: 1,
      dispatch,
      state: "pending",
      num_attempts: 0,
      num_in_round: 0,
      attempts: [],
      next_attempt_ms: dispatch.at_ms,
    };
    const key = deliveryKey(dispatch.subject_id, dispatch.id);
    try {
      await this.#deliveries.create(key, this.#encode(record));
    } catch (error) {
      if (await this.#get(key) === null) throw error;
    }
  }

  async #get(key: string): Promise<{ record: DeliveryRecord; revision: number } | null> {
    const entry = await this.#deliveries.get(key);
    if (entry === null || entry.operation !== "PUT") return null;
    return { record: decodeMessage(DeliveryRecord, entry.value), revision: entry.revision };
  }

  /** Keys of a bucket that begin with that token. */
  async #keys(bucket: string, first: string): Promise<string[]> {
    const prefix = keySubject(bucket, "");
    const { state } = await this.#manager.streams.info(bucketStream(bucket), {
      subjects_filter: `${prefix}${first}.*`,
    });
    return Object.keys(state.subjects ?? {}).map((subject) => subject.slice(prefix.length));
  }

  #encode(value: unknown): Uint8Array {
    return encodeMessage(value, this.#nc.info?.max_payload ?? 1_048_576);
  }
}

/** Key on the list of those given up: owner, time of the last attempt so that keys sort by it, id. */
function graveOf({ dispatch, attempts }: DeliveryRecord): string {
  const time = (attempts.at(-1)?.at_ms ?? 0).toString(36).padStart(TIME_DIGITS, "0");
  return deliveryKey(dispatch.owner, `${time}${dispatch.id}`);
}

function deliveryIdOf(grave: string): string {
  return grave.slice(grave.indexOf(".") + 1 + TIME_DIGITS);
}
