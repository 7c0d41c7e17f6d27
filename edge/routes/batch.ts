/** POST /v1/batch/chat/completions: many questions in one call, a few at a time, answers in order, each failing alone. */
import { BATCH_CONCURRENCY, TesseraError, type Usage } from "@tessera/shared";
import { toEdgeError } from "../dispatch/bus_faults.ts";
import type { Context } from "hono";
import type { Ticket } from "../admission.ts";
import { inBatch, parseBatchRequest } from "../api/batch_request.ts";
import { type JsonBody, readJsonBody } from "../api/body.ts";
import { admitted, type EdgeContext, type EdgeDeps } from "../deps.ts";
import { DONE } from "../stream/chunks.ts";
import { wholeCompletion } from "../stream/one_completion.ts";
import { sseResponse } from "../stream/sse.ts";
import { sleep } from "../wait.ts";
import { understand } from "../jobs/prepare.ts";
import { dispatch } from "./chat_completions.ts";

/** How long a request of a batch waits before it asks for room again. */
const ROOM_RETRY_MS = 250;

/** One request's answer or error, with its place in the batch. */
type Item = { readonly index: number } & Record<string, unknown>;

export function batchCompletions(deps: EdgeDeps) {
  return async (c: Context<EdgeContext>): Promise<Response> => {
    // Its requests count for their key, one by one.
    const ticket = deps.admission.admit();
    const client = new AbortController();
    const leave = () => client.abort();
    c.req.raw.signal.addEventListener("abort", leave);
    try {
      const body = await readJsonBody(c.req.raw, ticket, deps.config.waits.bodyMs);
      const { requests, isStream } = parseBatchRequest(body.json);
      await deps.gate.take(c.var.caller, requests.length - 1);
      const answer = (request: unknown, index: number) =>
        answerOne(deps, c, { ...body, json: request }, index, client.signal);
      const items = inParallel(requests, answer, client.signal);
      if (isStream) return stream(deps, items, leave, ticket);
      const data = await Array.fromAsync(items);
      if (client.signal.aborted) throw new TesseraError("client_closed");
      ticket.close();
      return c.json(listBody(data.sort((a, b) => a.index - b.index)));
    } catch (error) {
      leave();
      ticket.close();
      throw error;
    } finally {
      c.req.raw.signal.removeEventListener("abort", leave);
    }
  };
}

function stream(deps: EdgeDeps, items: AsyncGenerator<Item>, leave: () => void, ticket: Ticket): Response {
  async function* events(): AsyncGenerator<string, void> {
    for await (const item of items) yield JSON.stringify(item);
    yield DONE;
  }
  return sseResponse(events(), {
    keepAliveMs: deps.config.waits.keepAliveMs,
    stallMs: deps.config.waits.stallMs,
    onClose: (isClientGone) => {
      if (isClientGone) leave();
      ticket.close();
    },
  });
}

/** A request's own admission, tiles and job; the batch's ticket holds the body they all refer to. Never throws. */
async function answerOne(
  deps: EdgeDeps,
  c: Context<EdgeContext>,
  body: JsonBody,
  index: number,
  signal: AbortSignal,
): Promise<Item> {
  const requestedAt = performance.now();
  const give = async (): Promise<Item> => {
    const ticket = await admitted(deps, c);
    try {
      const prepared = await understand(deps, c.var.caller.tenant, body, ticket, signal);
      if (prepared.request.isStream) {
        const message = "One request of a batch cannot stream by itself. Set stream beside requests.";
        throw new TesseraError("invalid_request", { message, param: "stream" });
      }
      const answer = await dispatch(deps, c, prepared, signal, performance.now());
      return { index, ...await wholeCompletion(answer, prepared.request.sampling.logprobs !== null) };
    } finally {
      ticket.close();
    }
  };
  for (;;) {
    try {
      return await give();
    } catch (thrown) {
      const error = toEdgeError(thrown);
      const isLate = performance.now() - requestedAt > deps.config.deadlineMs;
      if (error.code === "rate_limited" && !isLate && !signal.aborted) {
        // A batch is in no hurry: it waits for room that a single question would be refused for.
        await sleep(ROOM_RETRY_MS, signal);
        continue;
      }
      if (error.status >= 500) c.var.log.error("batch_request_failed", { index, error });
      return { index, ...inBatch(error, index).toBody() };
    }
  }
}

/** What `work` makes of each, as it is ready; a few at a time, none begun after an abort. */
async function* inParallel<T>(
  all: readonly T[],
  work: (one: T, index: number) => Promise<Item>,
  signal: AbortSignal,
): AsyncGenerator<Item> {
  const running = new Map<number, Promise<Item>>();
  for (let next = 0; next < all.length || running.size > 0;) {
    while (next < all.length && running.size < BATCH_CONCURRENCY && !signal.aborted) {
      const index = next++;
      running.set(index, work(all[index]!, index));
    }
    if (running.size === 0) return;
    const item = await Promise.race(running.values());
    running.delete(item.index);
    yield item;
  }
}

function listBody(data: readonly Item[]) {
  const usage = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 };
  let numFailed = 0;
  for (const item of data) {
    const own = item["usage"] as (Usage & { total_tokens: number }) | undefined;
    if (own === undefined) numFailed++;
    usage.prompt_tokens += own?.prompt_tokens ?? 0;
    usage.completion_tokens += own?.completion_tokens ?? 0;
    usage.total_tokens += own?.total_tokens ?? 0;
  }
  return { object: "list", data, num_failed: numFailed, usage };
}
