/** Owns the other end of the wire: publishes jobs, answers claims, sends tiles, gathers events, over a real server. */
import { jetstream } from "@nats-io/jetstream";
import { headers, type NatsConnection } from "@nats-io/nats-core";
import {
  ANONYMOUS,
  cancelSubject,
  Claim,
  type ClaimReply,
  decodeMessage,
  edgeAlive,
  edgeClaims,
  edgeEvents,
  encodeMessage,
  type EventBody,
  type Job,
  liveJobsSubject,
  newId,
  Sampling,
  sha256Hex,
  tileHeaders,
  tilesSubject,
  WIRE_VERSIONS,
} from "@tessera/shared";
import { readEvents } from "../../edge/dispatch/read_events.ts";
import { connectNats } from "../../gpu-worker/intake/connect.ts";
import { FAKE_INFO } from "../support/fake_engine.ts";

export const MODEL = "fake/model 1";
const MAX_PAYLOAD = 1_048_576;

export interface Tile {
  readonly hash: string;
  readonly pixels: Uint8Array;
}

export async function makeTile(seed: number): Promise<Tile> {
  const pixels = Uint8Array.from({ length: FAKE_INFO.tileSize ** 2 * 3 }, (_, i) => (seed * 31 + i * 7) % 256);
  return { hash: await sha256Hex(pixels), pixels };
}

/** What a test says of a job that is not as usual. */
export type JobFields = Partial<Omit<Job, "sampling">> & { readonly sampling?: Partial<Sampling> };

/** A job of one user message: its pictures (one tile each), then the text. */
export function makeJob(edgeId: string, text: string, tiles: readonly Tile[] = [], more: JobFields = {}): Job {
  const sampling = { temperature: 0, top_p: 1, top_k: 0, seed: 1, max_tokens: 8, stop: [], ...more.sampling };
  return {
    v: WIRE_VERSIONS.at(-1)!,
    id: newId("job"),
    model: MODEL,
    edge_id: edgeId,
    created_ms: Date.now(),
    messages: [{ role: "system", parts: [] }, {
      role: "user",
      parts: [...tiles.map((_, image) => ({ type: "image" as const, image })), { type: "text", text }],
    }],
    images: tiles.map(({ hash }) => ({ width: 4, height: 4, cols: 1, rows: 1, tile_size: 4, tiles: [hash] })),
    tenant: ANONYMOUS,
    priority: 0,
    cache_salt: "",
    ...more,
    sampling: Sampling.parse(sampling),
  };
}

/** What an edge knows of a job of its. */
export class EdgeJob {
  readonly claims: Claim[] = [];
  readonly events: EventBody[] = [];
  /** Passed on: ids and text, in order and each once. */
  readonly ids: number[] = [];
  text = "";
  attempt = 0;
  readonly ended = Promise.withResolvers<Extract<EventBody, { type: "done" | "error" }>>();
  #changed = Promise.withResolvers<void>();

  constructor(readonly job: Job, readonly tiles: readonly Tile[]) {}

  hear(event: EventBody): void {
    if (event.attempt !== this.attempt) return;
    this.events.push(event);
    if (event.type === "tokens" && (event.choice ?? 0) === 0) {
      if (event.seq + event.ids.length <= this.ids.length) return;
      if (event.seq !== this.ids.length) throw new Error(`tokens at ${event.seq}, expected ${this.ids.length}`);
      this.ids.push(...event.ids);
      this.text += event.text;
    } else if (event.type === "done") this.text += event.text;
    if (event.type === "done" || event.type === "error") this.ended.resolve(event);
    this.touch();
  }

  touch(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** Waits until something holds. */
  async until(holds: (job: EdgeJob) => boolean): Promise<void> {
    while (!holds(this)) await this.#changed.promise;
  }

  /** The end, which must be a good one. */
  async done(): Promise<Extract<EventBody, { type: "done" }>> {
    const event = await this.ended.promise;
    if (event.type === "error") throw new Error(`job failed: ${event.code} ${event.message}`);
    return event;
  }
}

export interface FakeEdgeOptions {
  /** Decides on a claim; undefined grants it. */
  readonly refuse?: (claim: Claim) => ClaimReply | undefined;
  /** Tiles never sent. */
  readonly withhold?: ReadonlySet<string>;
  readonly remainingMs?: number;
  /** Jobs that may end the worker: granted to be run alone up to the first token. */
  readonly isSuspect?: (jobId: string) => boolean;
  /** What is sent in place of a tile's pixels. */
  readonly pixelsOf?: (tile: Tile) => Uint8Array;
}

export class FakeEdge {
  readonly id = newId("edge");
  readonly nc: NatsConnection;
  readonly jobs = new Map<string, EdgeJob>();
  readonly #options: FakeEdgeOptions;

  private constructor(nc: NatsConnection, options: FakeEdgeOptions) {
    this.nc = nc;
    this.#options = options;
    nc.subscribe(edgeClaims(this.id), { callback: (_error, msg) => void msg.respond(this.#claim(msg.data)) });
    nc.subscribe(edgeAlive(this.id), { callback: (_error, msg) => void msg.respond() });
    nc.subscribe(edgeEvents(this.id), {
      callback: (_error, msg) => {
        for (const { jobId, event } of readEvents(msg.subject, msg.data)) {
          if (event instanceof Error) throw event;
          this.jobs.get(jobId)?.hear(event);
        }
      },
    });
  }

  static async connect(url: string, options: FakeEdgeOptions = {}): Promise<FakeEdge> {
    const edge = new FakeEdge(await connectNats(url, "fake edge"), options);
    await edge.nc.flush();
    return edge;
  }

  async send(job: Job, tiles: readonly Tile[] = []): Promise<EdgeJob> {
    const running = new EdgeJob(job, tiles);
    this.jobs.set(job.id, running);
    await jetstream(this.nc).publish(liveJobsSubject(job.model), encodeMessage(job, MAX_PAYLOAD), { msgID: job.id });
    return running;
  }

  ask(text: string, tiles: readonly Tile[] = [], more: JobFields = {}): Promise<EdgeJob> {
    return this.send(makeJob(this.id, text, tiles, more), tiles);
  }

  cancel(job: EdgeJob): void {
    this.nc.publish(cancelSubject(job.job.id));
  }

  async close(): Promise<void> {
    await this.nc.close();
  }

  #claim(data: Uint8Array): Uint8Array {
    const claim = decodeMessage(Claim, data);
    const job = this.jobs.get(claim.job_id);
    const refusal = this.#options.refuse?.(claim);
    job?.claims.push(claim);
    job?.touch();
    let reply: ClaimReply = { v: claim.v, granted: false, reason: "gone" };
    if (refusal !== undefined) reply = refusal;
    else if (job !== undefined) {
      job.attempt = Math.max(job.attempt, claim.attempt);
      const remaining_ms = this.#options.remainingMs ?? 60_000;
      const alone = this.#options.isSuspect?.(claim.job_id) === true ? { alone: true } : {};
      reply = { v: claim.v, granted: true, resume_ids: [...job.ids], remaining_ms, ...alone };
      queueMicrotask(() => this.sendTiles(job, claim));
    }
    return encodeMessage(reply, MAX_PAYLOAD);
  }

  /** Sends what a claim wants, but for what is withheld. */
  sendTiles(job: EdgeJob, claim: Claim): void {
    for (const hash of claim.want) {
      if (this.#options.withhold?.has(hash)) continue;
      const tile = job.tiles.find((each) => each.hash === hash)!;
      const described = headers();
      for (const [name, value] of tileHeaders({ hash, size: FAKE_INFO.tileSize })) described.set(name, value);
      const pixels = this.#options.pixelsOf?.(tile) ?? tile.pixels;
      this.nc.publish(tilesSubject(claim.worker_id, claim.job_id), pixels, { headers: described });
    }
  }
}
