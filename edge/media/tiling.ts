/** How a request's pictures are cut: the model's announcement, what the request wishes, and the limits between them. */
import { type Announcement, TesseraError } from "@tessera/shared";
import type { TilingWish } from "../api/chat_request.ts";
import type { TileOptions } from "../tile/mod.ts";

/** @throws TesseraError `invalid_request` when the wish goes beyond what the model takes */
export function tileOptions(model: Announcement, wish: TilingWish): TileOptions {
  const maxTiles = wish.maxTiles ?? model.max_tiles;
  const minTiles = wish.minTiles ?? Math.min(model.min_tiles, maxTiles);
  if (maxTiles > model.max_tiles) {
    throw beyond("max_dynamic_patch", `${maxTiles} is more than the ${model.max_tiles} tiles the model takes`);
  }
  if (minTiles > maxTiles) throw beyond("min_dynamic_patch", `${minTiles} is more than the ${maxTiles} tiles allowed`);
  return {
    tileSize: model.tile_size,
    minTiles,
    maxTiles,
    thumbnail: wish.thumbnail ?? model.thumbnail,
    exact: wish.exact,
  };
}

/** The same for `detail: low`: the whole picture as one tile. */
export function oneTile(options: TileOptions): TileOptions {
  return { ...options, minTiles: 1, maxTiles: 1, thumbnail: false };
}

function beyond(field: string, text: string): TesseraError {
  const param = `mm_processor_kwargs.${field}`;
  return new TesseraError("invalid_request", { message: `${param} is not valid: ${text}.`, param });
}
