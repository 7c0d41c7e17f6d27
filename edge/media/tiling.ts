/** How pictures are cut: the model's announcement, what request and picture wish, and the limits between them. */
import { type Announcement, TesseraError } from "@tessera/shared";
import type { PictureSource, TileWish, TilingWish } from "../api/pictures.ts";
import type { TileOptions } from "../tile/mod.ts";

/** Tiles of `detail: high`, as in the vendor's quick start; less where the model takes less. */
const HIGH_DETAIL_TILES = 12;
/** The tiler's own bound; above every published model's. */
const MAX_GRID_TILES = 64;

/**
 * How the request's pictures are cut when they say nothing themselves.
 * @throws TesseraError `invalid_request` when the wish goes beyond what the model takes
 */
export function tileOptions(model: Announcement, wish: TilingWish): TileOptions {
  const limit = tileLimit(model);
  const range = narrowed({ minTiles: model.min_tiles, maxTiles: limit }, wish, limit, "mm_processor_kwargs");
  return { tileSize: model.tile_size, ...range, thumbnail: wish.thumbnail ?? model.thumbnail, exact: wish.exact };
}

/**
 * How one picture is cut. Its own numbers come before its `detail`, and that before what the request says of all.
 * @throws TesseraError `invalid_request`
 */
export function pictureOptions(model: Announcement, general: TileOptions, source: PictureSource): TileOptions {
  const { detail, optionsParam } = source;
  if (detail === "low") {
    const one = narrowed({ minTiles: 1, maxTiles: 1 }, source, 1, optionsParam, "the one tile of detail low");
    return { ...general, ...one, thumbnail: false };
  }
  const limit = tileLimit(model);
  const maxTiles = detail === "high" ? Math.min(HIGH_DETAIL_TILES, limit) : general.maxTiles;
  const range = { minTiles: Math.min(general.minTiles, maxTiles), maxTiles };
  return { ...general, ...narrowed(range, source, limit, optionsParam) };
}

interface TileRange {
  readonly minTiles: number;
  readonly maxTiles: number;
}

function narrowed(
  range: TileRange,
  wish: TileWish,
  limit: number,
  param: string,
  limitText = `the ${limit} tiles the model takes`,
): TileRange {
  const maxTiles = wish.maxTiles ?? Math.max(range.maxTiles, Math.min(wish.minTiles ?? 1, limit));
  if (maxTiles > limit) throw beyond(param, "max_dynamic_patch", `${maxTiles} is more than ${limitText}`);
  const minTiles = wish.minTiles ?? Math.min(range.minTiles, maxTiles);
  if (minTiles > maxTiles) {
    throw beyond(param, "min_dynamic_patch", `${minTiles} is more than the ${maxTiles} tiles allowed`);
  }
  return { minTiles, maxTiles };
}

function tileLimit(model: Announcement): number {
  return Math.min(model.max_tiles, MAX_GRID_TILES);
}

function beyond(prefix: string, field: string, text: string): TesseraError {
  const param = prefix === "" ? field : `${prefix}.${field}`;
  return new TesseraError("invalid_request", { message: `${param} is not valid: ${text}.`, param });
}
