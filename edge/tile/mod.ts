// Owns the public surface of edge/tile: the pool that turns image bytes into model tiles, its types and its errors.

export { TILE_REASONS, TileError, type TileErrorClass, type TileReason } from "./errors.ts";
export type {
  ImageFormat,
  ImageInspection,
  ImageLimits,
  TiledImage,
  TileOptions,
  TilePool,
  TilePoolOptions,
  TilePoolStats,
  TileTimings,
} from "./types.ts";
export { createTilePool } from "./pool.ts";
export { closeTilePool, tileImage } from "./tile_image.ts";
