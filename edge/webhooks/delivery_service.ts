/** The deliverer as a part of a process: consumers on the bus, made anew with each connection, until it is closed. */
import { type ConsumerMessages, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/nats-core";
import {
  decodeMessage,
  ensureStream,
  JobRecord,
  JOBS_BUCKET_CONFIG,
  NEWS_STREAM,
  NEWS_STREAM_CONFIG,
  newsConsumerConfig,
  WEBHOOK_ACK_WAIT_MS,
  WEBHOOK_CONCURRENCY,
  WEBHOOKS_STREAM,
  webhooksConsumerConfig,
} from "@tessera/shared";
import { jobIdsOf } from "../captions/caption_record.ts";
import { captionRecords } from "../captions/captions.ts";
import type { Bus } from "../dispatch/bus.ts";
import { sleep, within } from "../wait.ts";
import { Deliverer, type DelivererOptions } from "./deliverer.ts";
import { feed } from "./news_feeder.ts";
import { SigningSecrets } from "./signing_secrets.ts";
import { WebhookStore } from "./webhook_store.ts";

const RETRY_MS = 1_000;
/** A pull that is not answered is repeated: half of this is how long a server that came back goes unnoticed. */
const PULL_MS = 5_000;

export interface DeliveryService {
  /** Lets running attempts end for so long, then breaks them off. Idempotent. */
  close(graceMs: number): Promise<void>;
}

/** Works as long as the bus does; the caller starts and closes the bus. */
export function startDeliveryService(bus: Bus, options: DelivererOptions): DeliveryService {
  const { log } = options;
  const closing = new AbortController();
  const current = new Set<Work>();

  const work = async (nc: NatsConnection) => {
    while (!closing.signal.aborted && !nc.isClosed()) {
      try {
        const opened = await Work.open(bus, nc, options);
        current.add(opened);
        if (closing.signal.aborted) opened.stop();
        log.info("delivering", {});
        await opened.ended.finally(() => current.delete(opened));
      } catch (error) {
        if (!closing.signal.aborted) log.warn("delivery_interrupted", { error });
      }
      await sleep(RETRY_MS, closing.signal);
    }
  };
  let running: Promise<void> = Promise.resolve();
  bus.onUp((nc, isNew) => {
    if (isNew) running = work(nc);
  });

  let closed: Promise<void> | null = null;
  const close = async (graceMs: number) => {
    closing.abort();
    for (const each of current) each.stop();
    await within(running, graceMs);
    for (const each of current) each.deliverer.abort();
    await within(running, RETRY_MS);
  };
  return { close: (graceMs) => closed ??= close(graceMs) };
}

/** Both consumers of one connection. */
class Work {
  readonly deliverer: Deliverer;
  readonly ended: Promise<void>;
  readonly #streams: readonly ConsumerMessages[];

  private constructor(deliverer: Deliverer, streams: readonly ConsumerMessages[], ended: Promise<void>) {
    this.deliverer = deliverer;
    this.#streams = streams;
    this.ended = ended;
  }

  static async open(bus: Bus, nc: NatsConnection, options: DelivererOptions): Promise<Work> {
    const { log, ackWaitMs = WEBHOOK_ACK_WAIT_MS, concurrency = WEBHOOK_CONCURRENCY } = options;
    const manager = await jetstreamManager(nc);
    const store = await WebhookStore.open(nc);
    await ensureStream(manager, NEWS_STREAM_CONFIG);
    const jobs = await new Kvm(nc).create(JOBS_BUCKET_CONFIG.name, { ...JOBS_BUCKET_CONFIG.options });
    const readJob = (jobId: string) => readRecord(jobs, jobId);
    const captions = captionRecords(bus);
    await manager.consumers.add(NEWS_STREAM, newsConsumerConfig(ackWaitMs));
    await manager.consumers.add(WEBHOOKS_STREAM, webhooksConsumerConfig(ackWaitMs));
    const js = jetstream(nc);
    const open = async (stream: string, consumer: string, maxMessages: number) =>
      await (await js.consumers.get(stream, consumer)).consume({ max_messages: maxMessages, expires: PULL_MS });
    const news = await open(NEWS_STREAM, newsConsumerConfig().durable_name, 1);
    const webhooks = await open(WEBHOOKS_STREAM, webhooksConsumerConfig().durable_name, concurrency);
    const readCaption = async (owner: string, captionId: string) => {
      const stored = await captions.get(owner, captionId);
      if (stored === null || !stored.record.is_taken) return null;
      const ids = jobIdsOf(stored.record);
      const jobs = await Promise.all(ids.map((id) => id === null ? null : readJob(id)));
      const isWhole = jobs.every((job, index) => job !== null || ids[index] === null);
      return isWhole ? { caption: stored.record, jobs } : null;
    };
    const signing = new SigningSecrets(bus, options.secrets);
    const resealed = await signing.reseal();
    if (resealed.numLost > 0) log.error("signing_secrets_sealed", { num_lost: resealed.numLost });
    else if (resealed.numResealed > 0) log.info("signing_secrets_resealed", { num: resealed.numResealed });
    const deliverer = new Deliverer(store, readCaption, signing, options);
    const feeding = async () => {
      for await (const message of news) await feed(message, { store, readJob, readCaption, log });
    };
    const streams = [news, webhooks];
    // Where one ends the other does, and both begin anew.
    const stopAll = () => streams.forEach((stream) => stream.stop());
    const ended = Promise.all([feeding().finally(stopAll), deliverer.run(webhooks).finally(stopAll)]).then(() => {});
    ended.catch(() => {});
    return new Work(deliverer, streams, ended);
  }

  /** Takes nothing new. */
  stop(): void {
    for (const stream of this.#streams) stream.stop();
  }
}

async function readRecord(jobs: KV, jobId: string): Promise<JobRecord | null> {
  const entry = await jobs.get(jobId);
  return entry === null || entry.operation !== "PUT" ? null : decodeMessage(JobRecord, entry.value);
}
