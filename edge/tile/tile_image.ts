// Owns the pool that callers without one of their own share: started by the first picture, ended by closeTilePool.
import { createTilePool } from "./pool.ts";
import type { TiledImage, TileOptions, TilePool } from "./types.ts";

let shared: TilePool | null = null;

/**
 * Tiles one picture in a pool of Web Workers shared by the whole process, with the pool's default limits. A server makes
 * a pool of its own with `createTilePool`, to choose them.
 * Takes ownership of `bytes`, as `TilePool.tileImage` says. Rejects with `TileError`, or `RangeError` for options out of
 * range.
 */
export function tileImage(bytes: Uint8Array, options: TileOptions, signal?: AbortSignal): Promise<TiledImage> {
  shared ??= createTilePool();
  return shared.tileImage(bytes, options, signal);
}

/** Ends the shared pool's workers; the next picture starts a new one. Idempotent. */
export async function closeTilePool(): Promise<void> {
  const pool = shared;
  shared = null;
  await pool?.close();
}
