/** Idempotency-Key: a request sent twice runs once. Its answer is kept for a day under whose it is, the path and the key. */
import { type KV, Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/nats-core";
import {
  decodeMessage,
  edgeAlive,
  encodeMessage,
  HOLDER_PROBE_MS,
  MAX_FILE_BYTES,
  MAX_KEPT_BODY_BYTES,
  REQUESTS_BUCKET_CONFIG,
  sha256Hex,
  TesseraError,
} from "@tessera/shared";
import type { Context } from "hono";
import { z } from "zod";
import type { EdgeContext } from "../deps.ts";
import type { Bus } from "../dispatch/bus.ts";
import { noStorage } from "../dispatch/per_connection.ts";
import { hasNoResponders } from "../dispatch/probe.ts";
import { BodyHash } from "./body_hash.ts";

/** The stream that an answer's events are kept under, told by the route to this middleware and to the client. */
export const STREAM_ID_HEADER = "tessera-stream-id";
const KEY = /^[\x21-\x7e]{1,255}$/;
/** Statuses that the same request may not get again: not kept, so that it is run anew. */
const PASSING = new Set([408, 409, 425, 429, 499]);
/** Longest body of any route: a file, with the form around it. */
const MAX_BYTES = MAX_FILE_BYTES + MAX_KEPT_BODY_BYTES;

/** What is kept under a key. */
export const IdempotencyEntry = z.object({
  v: z.literal(1),
  /** SHA-256 of the body; null until it was read. */
  fingerprint: z.string().nullable(),
  edge_id: z.string(),
  /** null while the request runs. */
  answer: z.object({
    status: z.int(),
    content_type: z.string(),
    /** null: too large, or not to be kept. */
    body: z.string().nullable(),
    /** The events are kept under this id. */
    stream_id: z.string().nullable(),
  }).nullable(),
});
type Entry = z.infer<typeof IdempotencyEntry>;

export interface IdempotencyOptions {
  readonly bus: Bus;
  readonly edgeId: string;
  /** Plays a kept stream again from its beginning. */
  readonly replay: (streamId: string, tenant: string) => Promise<Response>;
}

export class Idempotency {
  readonly #options: IdempotencyOptions;
  #opened: { readonly nc: NatsConnection; readonly kv: Promise<KV> } | null = null;

  constructor(options: IdempotencyOptions) {
    this.#options = options;
  }

  /** For every POST. */
  middleware() {
    return async (c: Context<EdgeContext>, next: () => Promise<void>): Promise<Response | void> => {
      const given = c.req.method === "POST" ? c.req.header("idempotency-key") : undefined;
      if (given === undefined) return await next();
      if (!KEY.test(given)) {
        throw new TesseraError("invalid_request", { message: "Idempotency-Key must be 1 to 255 visible characters." });
      }
      const tenant = c.var.caller.tenant;
      const name = await sha256Hex(new TextEncoder().encode(JSON.stringify([tenant, c.req.path, given])));
      const kv = await this.#kv();
      const entry: Entry = { v: 1, fingerprint: null, edge_id: this.#options.edgeId, answer: null };
      let revision = await this.#create(kv, name, entry);
      if (revision === null) {
        const found = await this.#found(kv, name, c, tenant);
        if (found instanceof Response) return found;
        revision = found;
      }
      await this.#run(kv, name, revision, entry, c, next);
    };
  }

  /** Runs the request and keeps its answer, unless it may be another one next time. */
  async #run(
    kv: KV,
    name: string,
    revision: number,
    entry: Entry,
    c: Context<EdgeContext>,
    next: () => Promise<void>,
  ): Promise<void> {
    const hash = new BodyHash(c.req.header("content-type") ?? "");
    c.req.raw = hashing(c.req.raw, hash);
    await next();
    const { res } = c;
    const isSettled = res.status < 500 && !PASSING.has(res.status);
    const stream_id = res.headers.get(STREAM_ID_HEADER);
    const isStream = res.headers.get("content-type")?.startsWith("text/event-stream") ?? false;
    const text = isStream ? null : await res.clone().text();
    // A request that ended its workers is not to be tried again.
    const isFinal = res.status === 500 && text?.includes('"worker_crashed"') === true;
    if (!(isSettled || isFinal) || (isStream && stream_id === null)) return void await kv.delete(name).catch(() => {});
    // What is told once is told once.
    const isKept = text !== null && text.length <= MAX_KEPT_BODY_BYTES &&
      res.headers.get("cache-control") !== "no-store";
    const body = isKept ? text : null;
    const content_type = res.headers.get("content-type") ?? "application/json";
    const answer = { status: res.status, content_type, body, stream_id };
    const kept = { ...entry, fingerprint: hash.digest(), answer };
    await kv.update(name, encodeMessage(kept, this.#options.bus.maxPayload), revision);
  }

  /** What to say to a request whose key is known; a revision to run it over when the first run died with its edge. */
  async #found(kv: KV, name: string, c: Context<EdgeContext>, tenant: string): Promise<Response | number> {
    const hash = new BodyHash(c.req.header("content-type") ?? "");
    await drain(c.req.raw, hash);
    const stored = await kv.get(name);
    if (stored === null || stored.operation !== "PUT") throw new TesseraError("request_in_progress");
    const entry = decodeMessage(IdempotencyEntry, stored.value);
    if (entry.answer === null) {
      // The body is gone by now, so the client has to send it again.
      if (await this.#isGone(entry.edge_id)) await kv.delete(name, { previousSeq: stored.revision }).catch(() => {});
      throw new TesseraError("request_in_progress");
    }
    if (entry.fingerprint !== hash.digest()) throw new TesseraError("idempotency_mismatch");
    const { status, content_type, body, stream_id } = entry.answer;
    if (stream_id !== null) return await this.#options.replay(stream_id, tenant);
    if (body === null) {
      throw new TesseraError("request_in_progress", {
        message: "The request was run, and its answer is not kept.",
      });
    }
    return new Response(body, { status, headers: { "content-type": content_type, "idempotency-replayed": "true" } });
  }

  async #isGone(edgeId: string): Promise<boolean> {
    if (edgeId === this.#options.edgeId) return false;
    try {
      await this.#options.bus.connection.request(edgeAlive(edgeId), "", { timeout: HOLDER_PROBE_MS });
      return false;
    } catch (error) {
      return hasNoResponders(error);
    }
  }

  /** The revision of the new entry; null when there is one. */
  async #create(kv: KV, name: string, entry: Entry): Promise<number | null> {
    try {
      return await kv.create(name, encodeMessage(entry, this.#options.bus.maxPayload));
    } catch (error) {
      const stored = await kv.get(name);
      if (stored !== null && stored.operation === "PUT") return null;
      throw noStorage("Cannot keep the idempotency key", error);
    }
  }

  async #kv(): Promise<KV> {
    const nc = this.#options.bus.connection;
    if (this.#opened?.nc !== nc) {
      this.#opened = {
        nc,
        kv: new Kvm(nc).create(REQUESTS_BUCKET_CONFIG.name, { ...REQUESTS_BUCKET_CONFIG.options }),
      };
    }
    try {
      return await this.#opened.kv;
    } catch (cause) {
      this.#opened = null;
      throw noStorage("Cannot open the bucket of idempotency keys", cause);
    }
  }
}

/** The same request; what is read of its body is hashed. */
function hashing(request: Request, hash: BodyHash): Request {
  if (request.body === null) return request;
  const body = request.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        hash.update(chunk);
        controller.enqueue(chunk);
      },
    }),
  );
  return new Request(request.url, { method: request.method, headers: request.headers, body, signal: request.signal });
}

/** Reads a body for its hash alone. */
async function drain(request: Request, hash: BodyHash): Promise<void> {
  let numBytes = 0;
  for await (const chunk of request.body ?? []) {
    numBytes += chunk.length;
    if (numBytes > MAX_BYTES) throw new TesseraError("request_too_large");
    hash.update(chunk);
  }
}
