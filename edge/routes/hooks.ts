/** /v1/hooks/{source}: an event of a known source becomes captions; a sender that asks first is told whether it may send. */
import { BODY_TIMEOUT_MS, MAX_HOOK_BYTES, TesseraError } from "@tessera/shared";
import type { Context } from "hono";
import type { Ticket } from "../admission.ts";
import { concat } from "../api/blobs.ts";
import type { Caller } from "../auth/caller.ts";
import type { EdgeContext, EdgeDeps } from "../deps.ts";
import { itemsOf } from "../hooks/event_items.ts";
import { handshake } from "../hooks/handshake.ts";
import { type HookResult, receive } from "../hooks/receive.ts";
import { SeenEvents } from "../hooks/seen_events.ts";
import type { HookSource } from "../hooks/sources.ts";
import { verifyEvent } from "../hooks/verify.ts";
import { timeLimit } from "../wait.ts";

export function receiveHook(deps: EdgeDeps) {
  const seen = new SeenEvents(deps.bus);
  return async (c: Context<EdgeContext>): Promise<Response> => {
    const source = sourceOf(deps, c);
    const ticket = deps.admission.admit();
    try {
      const body = await readBody(c.req.raw, ticket);
      const { headers } = c.req.raw;
      const verified = verifyEvent(source.verifier, headers, body, Date.now());
      const text = new TextDecoder().decode(body);
      const items = itemsOf(source, { headers, text });
      const owner = await ownerOf(deps, c, source);
      await deps.gate.take(owner, items.length);
      const leave = await deps.gate.enter(owner);
      const signal = c.req.raw.signal;
      const reception = { deps, seen, source, owner, verified, ticket, signal };
      const results = await receive(reception, items).finally(leave);
      for (const result of results) {
        const { status } = result;
        const told = status === "failed" ? { code: result.error.code } : result;
        c.var.log.info("hook_event", { source: source.name, status, ...told });
      }
      return answer(c, results);
    } finally {
      ticket.close();
    }
  };
}

/** Answers OPTIONS of a CloudEvents sender that asks whether it may send here. */
export function greetSender(deps: EdgeDeps) {
  return async (c: Context<EdgeContext>): Promise<Response> => {
    const source = sourceOf(deps, c);
    const { key } = await ownerOf(deps, c, source);
    const granted = handshake(source, c.req.raw.headers, key?.limits.requests_per_minute ?? null);
    return new Response(null, { status: 200, headers: { allow: ALLOWED, ...granted } });
  };
}

const ALLOWED = "OPTIONS, POST";

/** @throws TesseraError `not_found` */
function sourceOf({ config }: EdgeDeps, c: Context<EdgeContext>): HookSource {
  const source = config.hookSources?.get(c.req.param("source") ?? "");
  if (source === undefined) throw new TesseraError("not_found", { message: "No such source of events." });
  return source;
}

/** Whose captions these are. The operator is told what is wrong with a key: its sender can do nothing about it. */
async function ownerOf({ gate }: EdgeDeps, c: Context<EdgeContext>, { name, apiKey }: HookSource): Promise<Caller> {
  try {
    return await gate.callerOf(apiKey, "captions");
  } catch (error) {
    c.var.log.warn("hook_key_refused", { source: name, error });
    throw error;
  }
}

/** 503 (or 429) where the source shall send it again; what is wrong for good is told with 200, as it would come for ever. */
function answer(c: Context<EdgeContext>, results: readonly HookResult[]): Response {
  const errors = results.flatMap((result) => result.status === "failed" ? [result.error] : []);
  const passing = errors.find(({ status, code }) => status >= 429 || code === "image_fetch_failed");
  const data = results.map((result) =>
    result.status === "failed" ? { status: result.status, ...result.error.toBody() } : result
  );
  if (passing === undefined) return c.json({ object: "hook.receipt", data });
  c.header("retry-after", String(passing.retryAfterS ?? RETRY_S));
  return c.json({ object: "hook.receipt", data, ...passing.toBody() }, passing.status === 429 ? 429 : 503);
}

/** When a picture that could not be fetched may be there. */
const RETRY_S = 10;

/** @throws TesseraError `request_too_large`, `request_timeout` */
async function readBody(request: Request, ticket: Ticket): Promise<Uint8Array> {
  const limit = timeLimit(BODY_TIMEOUT_MS, request.signal, () => new TesseraError("request_timeout"));
  const reader = request.body?.getReader();
  const stop = () => void reader?.cancel(limit.signal.reason).catch(() => {});
  limit.signal.addEventListener("abort", stop);
  const chunks: Uint8Array[] = [];
  let numBytes = 0;
  try {
    for (let read = await reader?.read(); read !== undefined && !read.done; read = await reader!.read()) {
      numBytes += read.value.length;
      if (numBytes > MAX_HOOK_BYTES) throw new TesseraError("request_too_large");
      ticket.hold(read.value.length);
      chunks.push(read.value);
    }
    if (limit.signal.aborted) throw limit.signal.reason;
    return concat(chunks);
  } finally {
    limit.signal.removeEventListener("abort", stop);
    limit.clear();
  }
}
