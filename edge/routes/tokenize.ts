/** POST /v1/tokenize: a text's ids, or what a request would take of the context, pictures by their headers. */
import { type Announcement, TesseraError } from "@tessera/shared";
import type { Context } from "hono";
import type { Ticket } from "../admission.ts";
import type { Blobs } from "../api/blobs.ts";
import { readJsonBody } from "../api/body.ts";
import { parseTokenizeRequest, type TokenizeWish } from "../api/tokenize_request.ts";
import { isVideo } from "../api/videos.ts";
import { admitted, type EdgeContext, type EdgeDeps, fetchSettings } from "../deps.ts";
import { askForTokens } from "../dispatch/tokenize.ts";
import { inspectPictures } from "../media/inspect_pictures.ts";

export function tokenize(deps: EdgeDeps) {
  return async (c: Context<EdgeContext>): Promise<Response> => {
    const ticket = await admitted(deps, c);
    try {
      const body = await readJsonBody(c.req.raw, ticket, deps.config.waits.bodyMs);
      const wish = parseTokenizeRequest(body.json);
      const model = wish.model === null ? deps.directory.only() : deps.directory.find(wish.model);
      const tokens = await askForTokens(deps.bus, model.model, {
        v: 1,
        source: await sourceOf(deps, c.var.caller.tenant, wish.source, body.blobs, model, ticket, c.req.raw.signal),
        want_ids: wish.wantIds,
        want_texts: wish.wantTexts,
      });
      return c.json({
        object: "tokenization",
        model: model.model,
        count: tokens.count,
        image_tokens: tokens.image_tokens,
        max_model_len: model.context_length,
        tokens: tokens.ids,
        token_strs: tokens.texts,
      });
    } finally {
      ticket.close();
    }
  };
}

async function sourceOf(
  deps: EdgeDeps,
  owner: string,
  source: TokenizeWish["source"],
  blobs: Blobs,
  model: Announcement,
  ticket: Ticket,
  signal: AbortSignal,
) {
  if (source.type === "text") return source;
  const inspected = await inspectPictures(deps.tilePool, fetchSettings(deps, owner), {
    sources: source.media.filter((each) => !isVideo(each)),
    blobs,
    wish: source.tiling,
    model,
    ticket,
    signal,
  });
  const tilesOfPictures = inspected.map((picture) => {
    if (picture instanceof TesseraError) throw picture;
    return picture.tileCount;
  });
  let next = 0;
  // A frame is one tile, and each is a picture of the prompt.
  const image_tiles = source.media.flatMap((each) =>
    isVideo(each) ? Array.from({ length: each.video.numSegments }, () => 1) : [tilesOfPictures[next++]!]
  );
  return { type: "messages" as const, messages: [...source.messages], image_tiles };
}
