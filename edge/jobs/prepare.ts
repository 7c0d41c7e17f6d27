/** From a chat completions body to a job: understood, its model found, its pictures cut into tiles. */
import { type Announcement, GREEDY, type Job, STORED_VERSION, TesseraError } from "@tessera/shared";
import type { Ticket } from "../admission.ts";
import type { JsonBody } from "../api/body.ts";
import { type ChatRequest, parseChatRequest } from "../api/chat_request.ts";
import { type EdgeDeps, loaderOptions } from "../deps.ts";
import { type LoadedPictures, loadPictures } from "../media/load_pictures.ts";

/** A request of which only the answer is missing. */
export interface Prepared {
  readonly request: Omit<ChatRequest, "media">;
  readonly pictures: LoadedPictures;
  readonly model: Announcement;
}

/** @throws TesseraError naming what is wrong with the request, or the picture */
export async function understand(
  deps: EdgeDeps,
  owner: string,
  body: JsonBody,
  ticket: Ticket,
  signal: AbortSignal,
): Promise<Prepared> {
  const generationOf = (name: string) => deps.directory.find(name).generation ?? GREEDY;
  const { media, ...request } = parseChatRequest(body.json, generationOf);
  const model = deps.directory.find(request.model);
  const pictures = await loadPictures(loaderOptions(deps, owner), {
    media,
    blobs: body.blobs,
    ...(body.uploads === undefined ? {} : { uploads: body.uploads }),
    wish: request.tiling,
    model,
    ticket,
    signal,
  });
  checkContext(pictures, model);
  return { request, pictures, model };
}

/** The envelope of a request that was understood. */
export function jobOf(
  { request, pictures, model }: Prepared,
  { id, edgeId, owner }: { readonly id: string; readonly edgeId: string; readonly owner: string },
): Job {
  return {
    v: STORED_VERSION,
    id,
    model: model.model,
    edge_id: edgeId,
    created_ms: Date.now(),
    messages: request.messages,
    images: pictures.images,
    sampling: request.sampling,
    tenant: owner,
    priority: request.turn.priority,
    cache_salt: request.turn.cacheSalt,
  };
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
