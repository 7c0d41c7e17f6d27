/** POST /v1/chat/completions: parse, admit, tile, dispatch, stream. */
import { type Announcement, GREEDY, type Job, newId, TesseraError } from "@tessera/shared";
import type { Context } from "hono";
import type { Ticket } from "../admission.ts";
import { type JsonBody, readJsonBody } from "../api/body.ts";
import { type ChatRequest, parseChatRequest } from "../api/chat_request.ts";
import { admitted, type EdgeContext, type EdgeDeps, loaderOptions } from "../deps.ts";
import { keptResponse, parseEventId } from "../resume/response.ts";
import { isResumable, resume } from "../resume/route.ts";
import { type LoadedPictures, loadPictures } from "../media/load_pictures.ts";
import { Answer } from "../stream/answer.ts";
import { chunks } from "../stream/chunks.ts";
import { oneCompletion } from "../stream/one_completion.ts";
import { sseResponse } from "../stream/sse.ts";

export function chatCompletions(deps: EdgeDeps) {
  return async (c: Context<EdgeContext>): Promise<Response> => {
    const last = parseEventId(c.req.header("last-event-id"));
    if (last !== null) return await resume(deps, c, last.id, last.after);
    const ticket = admitted(deps, c);
    const client = new AbortController();
    const leave = () => client.abort();
    // Heard only until the response is made: from then on the body's cancel says that the client left.
    c.req.raw.signal.addEventListener("abort", leave);
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
        return keptResponse(deps, id, kept.follow(-1));
      }
      return sseResponse(chunks(answer, first, request.includeUsage, c.var.log), {
        keepAliveMs: deps.config.waits.keepAliveMs,
        stallMs: deps.config.waits.stallMs,
        onClose: (isClientGone) => {
          if (isClientGone) leave();
          ticket.close();
        },
      });
    } catch (error) {
      leave();
      ticket.close();
      throw error;
    } finally {
      c.req.raw.signal.removeEventListener("abort", leave);
    }
  };
}

/** A request of which only the answer is missing. */
interface Prepared {
  readonly request: Omit<ChatRequest, "media">;
  readonly pictures: LoadedPictures;
  readonly model: Announcement;
}

/** The request understood, its model found, its pictures cut into tiles. */
async function prepare(
  deps: EdgeDeps,
  c: Context<EdgeContext>,
  ticket: Ticket,
  signal: AbortSignal,
): Promise<Prepared> {
  const body = await readJsonBody(c.req.raw, ticket, deps.config.waits.bodyMs);
  const prepared = await understand(deps, body, ticket, signal);
  // The body ends here: nothing returned refers to it.
  ticket.release(body.numBytes);
  return prepared;
}

/** The same for a body that was read already. */
export async function understand(
  deps: EdgeDeps,
  body: JsonBody,
  ticket: Ticket,
  signal: AbortSignal,
): Promise<Prepared> {
  const generationOf = (name: string) => deps.directory.find(name).generation ?? GREEDY;
  const { media, ...request } = parseChatRequest(body.json, generationOf);
  const model = deps.directory.find(request.model);
  const pictures = await loadPictures(loaderOptions(deps), {
    media,
    blobs: body.blobs,
    wish: request.tiling,
    model,
    ticket,
    signal,
  });
  checkContext(pictures, model);
  return { request, pictures, model };
}

/** @param requestedAt performance.now() from which its time counts */
export async function dispatch(
  deps: EdgeDeps,
  c: Context<EdgeContext>,
  { request, pictures, model }: Prepared,
  signal: AbortSignal,
  requestedAt: number,
): Promise<Answer> {
  const now = Date.now();
  const job: Job = {
    v: 1,
    id: newId("job"),
    model: model.model,
    edge_id: deps.dispatcher.edgeId,
    created_ms: now,
    messages: request.messages,
    images: pictures.images,
    sampling: request.sampling,
    tenant: c.var.caller.tenant,
    priority: request.turn.priority,
    cache_salt: request.turn.cacheSalt,
  };
  const deadlineAt = requestedAt + Math.min(request.turn.deadlineMs ?? Infinity, deps.config.deadlineMs);
  const running = await deps.dispatcher.start(job, pictures.tiles, { deadlineAt, signal });
  const head = { id: `chatcmpl-${job.id.slice("job-".length)}`, created: Math.floor(now / 1000), model: job.model };
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
    onUsage: (usage) => deps.gate.record(c.var.caller, usage),
  });
}

/** Pictures that cannot fit are refused here, before a worker is bothered; the exact count is the worker's. */
function checkContext(pictures: LoadedPictures, model: Announcement): void {
  const numTokens = pictures.images.reduce((sum, image) => sum + image.tiles.length * model.tokens_per_tile, 0);
  if (numTokens < model.context_length) return;
  throw new TesseraError("context_length_exceeded", {
    message: `The pictures alone take ${numTokens} tokens, the model's context has ${model.context_length}. ` +
      'Send fewer pictures, or set detail to "low".',
    param: "messages",
  });
}
