/** POST /v1/hooks/{source}: an event of a known source becomes captions. */
import { BODY_TIMEOUT_MS, MAX_HOOK_BYTES, TesseraError } from "@tessera/shared";
import type { Context } from "hono";
import type { Ticket } from "../admission.ts";
import { concat } from "../api/blobs.ts";
import type { EdgeContext, EdgeDeps } from "../deps.ts";
import { itemsOf } from "../hooks/event_items.ts";
import { type HookResult, receive } from "../hooks/receive.ts";
import { SeenEvents } from "../hooks/seen_events.ts";
import { verifyEvent } from "../hooks/verify.ts";
import { timeLimit } from "../wait.ts";

export function receiveHook(deps: EdgeDeps) {
  const seen = new SeenEvents(deps.bus);
  return async (c: Context<EdgeContext>): Promise<Response> => {
    const source = deps.config.hookSources?.get(c.req.param("source") ?? "");
    if (source === undefined) throw new TesseraError("not_found", { message: "No such source of events." });
    const ticket = deps.admission.admit();
    try {
      const body = await readBody(c.req.raw, ticket);
      const { headers } = c.req.raw;
      const verified = verifyEvent(source.verifier, headers, body, Date.now());
      const text = new TextDecoder().decode(body);
      const items = itemsOf(source, { headers, text });
      const owner = await deps.gate.callerOf(source.apiKey);
      await deps.gate.take(owner, items.length);
      const signal = c.req.raw.signal;
      const results = await receive({ deps, seen, source, owner, verified, ticket, signal }, items);
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
