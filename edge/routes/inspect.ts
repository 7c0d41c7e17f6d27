/** POST /v1/images/inspect: what pictures are and what they will cost, from their headers alone. */
import { type Announcement, TesseraError } from "@tessera/shared";
import type { Context } from "hono";
import { readJsonBody } from "../api/body.ts";
import { parseInspectRequest } from "../api/inspect_request.ts";
import { admitted, type EdgeContext, type EdgeDeps, fetchSettings } from "../deps.ts";
import { type InspectedPicture, inspectPictures } from "../media/inspect_pictures.ts";
import type { ImageInspection } from "../tile/mod.ts";

export function inspectImages(deps: EdgeDeps) {
  return async (c: Context<EdgeContext>): Promise<Response> => {
    const ticket = await admitted(deps, c);
    try {
      const body = await readJsonBody(c.req.raw, ticket, deps.config.waits.bodyMs);
      const { model: name, pictures, tiling, isList } = parseInspectRequest(body.json);
      const model = name === null ? deps.directory.only() : deps.directory.find(name);
      const inspected = await inspectPictures(deps.tilePool, fetchSettings(deps, c.var.caller.tenant), {
        sources: pictures,
        blobs: body.blobs,
        wish: tiling,
        model,
        ticket,
        signal: c.req.raw.signal,
      });
      if (isList) return c.json(listBody(inspected, model));
      const [only] = inspected;
      if (only === undefined || only instanceof TesseraError) throw only;
      return c.json({ object: "image.inspection", model: model.model, ...facts(only, model) });
    } finally {
      ticket.close();
    }
  };
}

function listBody(inspected: readonly InspectedPicture[], model: Announcement) {
  const data = inspected.map((picture, index) =>
    picture instanceof TesseraError ? { index, ...picture.toBody() } : { index, ...facts(picture, model) }
  );
  const numTiles = inspected.reduce((sum, picture) => sum + ("tileCount" in picture ? picture.tileCount : 0), 0);
  const tokens = numTiles * model.tokens_per_tile;
  return { object: "list", model: model.model, data, tiles: numTiles, tokens };
}

function facts(picture: ImageInspection, model: Announcement) {
  return {
    width: picture.sourceWidth,
    height: picture.sourceHeight,
    type: picture.format,
    orientation: picture.orientation,
    cols: picture.cols,
    rows: picture.rows,
    tiles: picture.tileCount,
    // As `usage` counts them; the two marks around a picture are text.
    tokens: picture.tileCount * model.tokens_per_tile,
    memory_bytes: picture.needBytes,
  };
}
