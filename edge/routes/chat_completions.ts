/** POST /v1/chat/completions: parse, admit, tile, dispatch, stream. */
import { describeSpan, newId } from "@tessera/shared";
import type { Context } from "hono";
import type { Ticket } from "../admission.ts";
import { readJsonBody } from "../api/body.ts";
import { admitted, type EdgeContext, type EdgeDeps } from "../deps.ts";
import { jobOf, type Prepared, understand } from "../jobs/prepare.ts";
import { keptResponse, parseEventId } from "../resume/response.ts";
import { isResumable, resume } from "../resume/route.ts";
import { Answer } from "../stream/answer.ts";
import { chunks } from "../stream/chunks.ts";
import { oneCompletion } from "../stream/one_completion.ts";
import { timed } from "../stream/server_timing.ts";
import { sseResponse } from "../stream/sse.ts";

export function chatCompletions(deps: EdgeDeps) {
  return async (c: Context<EdgeContext>): Promise<Response> => {
    const last = parseEventId(c.req.header("last-event-id"));
    if (last !== null) return await resume(deps, c, last.id, last.after);
    const ticket = await admitted(deps, c);
    const client = new AbortController();
    const leave = () => client.abort();
    // Heard only until the response is made: from then on the body's cancel says that the client left.
    c.req.raw.signal.addEventListener("abort", leave);
    if (c.req.raw.signal.aborted) leave();
    try {
      const prepared = await prepare(deps, c, ticket, client.signal);
      const { request } = prepared;
      const answer = await dispatch(deps, c, prepared, client.signal, c.var.requestedAt);
      if (!request.isStream) {
        const response = await oneCompletion(answer, request.sampling.logprobs !== null);
        ticket.close();
        return response;
      }
      const isKept = isResumable(c);
      // It goes on without its client.
      if (isKept) c.req.raw.signal.removeEventListener("abort", leave);
      // What goes wrong before the first token is told by the HTTP status.
      const first = await answer.next();
      if (isKept) {
        const { id } = answer.head;
        const items = chunks(answer, first, request.includeUsage, c.var.log);
        const kept = await deps.answers.keep(id, c.var.caller.tenant, items, () => ticket.close());
        return timed(keptResponse(deps, id, kept.follow(-1)), answer.early);
      }
      const response = sseResponse(chunks(answer, first, request.includeUsage, c.var.log), {
        keepAliveMs: deps.config.waits.keepAliveMs,
        stallMs: deps.config.waits.stallMs,
        onClose: (isClientGone) => {
          if (isClientGone) leave();
          ticket.close();
        },
      });
      return timed(response, answer.early);
    } catch (error) {
      leave();
      ticket.close();
      throw error;
    } finally {
      c.req.raw.signal.removeEventListener("abort", leave);
    }
  };
}

/** The request understood, its model found, its pictures cut into tiles. */
async function prepare(
  deps: EdgeDeps,
  c: Context<EdgeContext>,
  ticket: Ticket,
  signal: AbortSignal,
): Promise<Prepared> {
  const body = await readJsonBody(c.req.raw, ticket, deps.config.waits.bodyMs);
  const prepared = await understand(deps, c.var.caller.tenant, body, ticket, signal);
  // The body ends here: nothing returned refers to it.
  ticket.release(body.numBytes);
  return prepared;
}

/** @param requestedAt performance.now() from which its time counts */
export async function dispatch(
  deps: EdgeDeps,
  c: Context<EdgeContext>,
  prepared: Prepared,
  signal: AbortSignal,
  requestedAt: number,
): Promise<Answer> {
  const { request, pictures } = prepared;
  const job = jobOf(prepared, { id: newId("job"), edgeId: deps.dispatcher.edgeId, owner: c.var.caller.tenant });
  const deadlineAt = requestedAt + Math.min(request.turn.deadlineMs ?? Infinity, deps.config.deadlineMs);
  const running = await deps.dispatcher.start(job, pictures.tiles, {
    deadlineAt,
    signal,
    onUsage: (usage) => {
      deps.gate.record(c.var.caller, usage, job.id);
      deps.metrics.used(job.model, usage);
    },
  });
  const head = {
    id: `chatcmpl-${job.id.slice("job-".length)}`,
    created: Math.floor(job.created_ms / 1000),
    model: job.model,
  };
  describeSpan({ "gen_ai.request.model": job.model, "tessera.job_id": job.id });
  c.var.log.debug("job_started", { job_id: job.id, num_images: job.images.length, num_tiles: pictures.tiles.length });
  return new Answer({
    head,
    job: running,
    numChoices: job.sampling.n,
    images: pictures.images,
    pictureTimings: pictures.pictureTimings,
    load: pictures.timings,
    videos: pictures.videos,
    requestedAt,
    log: c.var.log,
    onEnd: (end, { timings }) => {
      deps.metrics.completed(job.model, end.finishReason, end.usage, timings);
    },
  });
}
