/** A worker without a model: announces itself, pulls jobs, claims them and says what the test tells it to say. */
import { type Consumer, jetstream, jetstreamManager, type JsMsg, type StreamState } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import { type Msg, type NatsConnection, type Subscription, wsconnect } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import {
  type Announcement,
  cancelSubject,
  type Claim,
  ClaimReply,
  claimSubject,
  decodeMessage,
  ensureStream,
  eventBatchSubject,
  type EventBody,
  eventsSubject,
  type FinishReason,
  Job,
  LIVE_STREAM,
  LIVE_STREAM_CONFIG,
  liveConsumerConfig,
  newId,
  parseTile,
  tilesSubject,
  WIRE_VERSIONS,
  workerAlive,
  WORKERS_BUCKET_CONFIG,
} from "@tessera/shared";
import assert from "node:assert/strict";

const HEARTBEAT_MS = 1_000;
const WAIT_MS = 30_000;

export const FAKE_MODEL = "fake/vl-1b";
export const TILE_SIZE = 28;

type EventFields = EventBody extends infer E ? E extends EventBody ? Omit<E, "attempt"> : never : never;

export interface FakeWorkerOptions {
  readonly natsUrl: string;
  readonly announcement?: Partial<Announcement>;
  readonly ackWaitMs?: number;
}

export class FakeWorker {
  readonly announcement: Announcement;
  readonly #nc: NatsConnection;
  readonly #bucket: KV;
  readonly #consumer: Consumer;
  readonly #heartbeat: ReturnType<typeof setInterval>;
  #isDead = false;

  private constructor(announcement: Announcement, nc: NatsConnection, bucket: KV, consumer: Consumer) {
    this.announcement = announcement;
    this.#nc = nc;
    this.#bucket = bucket;
    this.#consumer = consumer;
    this.#heartbeat = setInterval(() => void this.announce().catch(() => {}), HEARTBEAT_MS);
  }

  static async start(options: FakeWorkerOptions): Promise<FakeWorker> {
    const announcement: Announcement = {
      v: 1,
      worker_id: newId("worker"),
      model: FAKE_MODEL,
      created: 1_700_000_000,
      tile_size: TILE_SIZE,
      tokens_per_tile: 4,
      min_tiles: 1,
      max_tiles: 12,
      thumbnail: true,
      context_length: 1_000,
      capacity: 8,
      running: 0,
      device: "fake",
      dtype: "fp32",
      isa: "none",
      draining: false,
      wire_versions: [...WIRE_VERSIONS],
      ...options.announcement,
    };
    // The client library has one transport per process: the worker's is the edge's.
    const open = options.natsUrl.startsWith("ws") ? wsconnect : connect;
    const nc = await open({ servers: options.natsUrl });
    const manager = await jetstreamManager(nc);
    await ensureStream(manager, LIVE_STREAM_CONFIG);
    const config = liveConsumerConfig(announcement.model, options.ackWaitMs ?? 2_000);
    await manager.consumers.add(LIVE_STREAM, config);
    const consumer = await jetstream(nc).consumers.get(LIVE_STREAM, config.durable_name);
    const bucket = await new Kvm(nc).create(WORKERS_BUCKET_CONFIG.name, { ...WORKERS_BUCKET_CONFIG.options });
    nc.subscribe(workerAlive(announcement.worker_id), { callback: (_error, msg) => void msg.respond() });
    const worker = new FakeWorker(announcement, nc, bucket, consumer);
    await worker.announce();
    return worker;
  }

  async announce(change: Partial<Announcement> = {}): Promise<void> {
    Object.assign(this.announcement, change);
    await this.#bucket.put(this.announcement.worker_id, JSON.stringify(this.announcement));
  }

  /** Waits for the next job. */
  async pull(): Promise<FakeJob> {
    const message = await this.#consumer.next({ expires: WAIT_MS });
    assert.ok(message !== null, "no job came");
    return new FakeJob(this.#nc, this.announcement.worker_id, message);
  }

  /** Number of jobs in the stream, taken or not. */
  async numQueued(): Promise<number> {
    return (await this.#queueState()).messages;
  }

  /** Sequence number of the oldest of them: higher once that has left the stream. */
  async firstQueued(): Promise<number> {
    return (await this.#queueState()).first_seq;
  }

  async #queueState(): Promise<StreamState> {
    const manager = await jetstreamManager(this.#nc);
    return (await manager.streams.info(LIVE_STREAM)).state;
  }

  /** Serves every job with the same pieces of text until it is stopped. */
  serve(pieces: readonly string[], pauseMs = 0): void {
    void (async () => {
      while (!this.#isDead) {
        const job = await this.pull();
        void (async () => {
          await job.take();
          for (const [seq, text] of pieces.entries()) {
            if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
            job.tokens(seq, [seq + 100], text);
          }
          job.done(pieces.length);
          await job.ack();
        })().catch(() => {});
      }
    })().catch(() => {});
  }

  /** Takes its announcement back and leaves. */
  async stop(): Promise<void> {
    if (!this.#isDead) await this.#bucket.delete(this.announcement.worker_id).catch(() => {});
    await this.die();
  }

  /** Leaves without a word: nothing acknowledged, the announcement left to expire. */
  async die(): Promise<void> {
    if (this.#isDead) return;
    this.#isDead = true;
    clearInterval(this.#heartbeat);
    await this.#nc.close();
  }
}

/** One delivery of a job. */
export class FakeJob {
  readonly job: Job;
  readonly attempt: number;
  /** Resolves when the edge cancels the job. */
  readonly cancelled: Promise<void>;
  /** Tiles in the order they came. */
  readonly tiles: { readonly hash: string; readonly pixels: Uint8Array }[] = [];
  readonly #nc: NatsConnection;
  readonly #workerId: string;
  readonly #message: JsMsg;
  readonly #tilesHere = Promise.withResolvers<void>();
  #numWanted = 0;

  constructor(nc: NatsConnection, workerId: string, message: JsMsg) {
    this.#nc = nc;
    this.#workerId = workerId;
    this.#message = message;
    this.job = decodeMessage(Job, message.data);
    this.attempt = (this.job.attempt_base ?? 0) + message.info.deliveryCount;
    this.cancelled = new Promise((resolve) => {
      nc.subscribe(cancelSubject(this.job.id), { max: 1, callback: () => resolve() });
    });
  }

  get allTiles(): string[] {
    return [...new Set(this.job.images.flatMap((image) => image.tiles))];
  }

  /** Sends the claim and returns the answer; wanted tiles come into `tiles`. */
  async claim(want: string[] = this.allTiles, attempt: number = this.attempt): Promise<ClaimReply> {
    this.#numWanted = want.length;
    if (want.length > 0) this.#collect();
    const claim: Claim = { v: this.job.v, job_id: this.job.id, worker_id: this.#workerId, attempt, want };
    const subject = claimSubject(this.job.edge_id, this.job.id);
    const reply = await this.#nc.request(subject, JSON.stringify(claim), { timeout: 5_000 });
    return decodeMessage(ClaimReply, reply.data);
  }

  /** Claims, expects to be granted, waits for the tiles. Returns the ids already passed on. */
  async take(want: string[] = this.allTiles): Promise<number[]> {
    const reply = await this.claim(want);
    assert.ok(reply.granted, "the claim was refused");
    if (want.length > 0) await this.#tilesHere.promise;
    return reply.resume_ids;
  }

  #collect(): void {
    const size = this.job.images[0]?.tile_size ?? TILE_SIZE;
    const subscription: Subscription = this.#nc.subscribe(tilesSubject(this.#workerId, this.job.id), {
      callback: (_error: Error | null, message: Msg) => {
        const { hash } = parseTile((name) => message.headers?.get(name), message.data, size);
        this.tiles.push({ hash, pixels: message.data.slice() });
        if (this.tiles.length < this.#numWanted) return;
        subscription.unsubscribe();
        this.#tilesHere.resolve();
      },
    });
  }

  emit(event: EventFields, attempt: number = this.attempt): void {
    const { v, id: job_id, edge_id } = this.job;
    if (v === 1) this.#nc.publish(eventsSubject(edge_id, job_id), JSON.stringify({ v, attempt, ...event }));
    else this.#nc.publish(eventBatchSubject(edge_id), JSON.stringify({ v, events: [{ job_id, attempt, ...event }] }));
  }

  tokens(seq: number, ids: number[], text: string, attempt?: number): void {
    this.emit({ type: "tokens", seq, ids, text }, attempt);
  }

  done(seq: number, text = "", finishReason: FinishReason = "stop"): void {
    const image_tokens = this.job.images.reduce((sum, image) => sum + image.tiles.length * 4, 0);
    this.emit({
      type: "done",
      seq,
      text,
      finish_reason: finishReason,
      usage: { prompt_tokens: 10 + image_tokens, completion_tokens: seq, image_tokens, cached_tokens: 3 },
      timings: { tiles_ms: 1, wait_ms: 2, vision_ms: 3, prefill_ms: 4, decode_ms: 5 },
    });
  }

  async ack(): Promise<void> {
    this.#message.ack();
    await this.#nc.flush();
  }
}
