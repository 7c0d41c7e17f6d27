// Owns the ranges and the defaults of what a caller may set; a number out of range is a RangeError at the call.
import type { TileOptions, TilePoolOptions } from "./types.ts";

/** The ranges the WASM accepts; see native/tiler/src/grid.rs. */
const MAX_TILES = 64;
const MAX_TILE_SIZE = 1024;
const MAX_CORES_BY_DEFAULT = 4;
const MIB = 1024 * 1024;

export interface CheckedOptions {
  readonly tileSize: number;
  readonly minTiles: number;
  readonly maxTiles: number;
  readonly thumbnail: boolean;
  readonly exact: boolean;
}

export interface CheckedLimits {
  readonly maxPixels: number;
  readonly maxSide: number;
}

export interface CheckedPoolOptions {
  readonly limits: CheckedLimits;
  readonly workers: number;
  readonly maxQueue: number;
  readonly maxQueuedBytes: number;
  readonly timeoutMs: number;
  readonly abortGraceMs: number;
  readonly maxIdleBytes: number;
  readonly maxMemoryBytes: number;
}

export function checkTileOptions(options: TileOptions): CheckedOptions {
  const maxTiles = inRange("maxTiles", options.maxTiles, 1, MAX_TILES);
  return {
    tileSize: inRange("tileSize", options.tileSize, 1, MAX_TILE_SIZE),
    minTiles: inRange("minTiles", options.minTiles, 1, maxTiles),
    maxTiles,
    thumbnail: options.thumbnail,
    exact: options.exact ?? false,
  };
}

export function checkPoolOptions(options: TilePoolOptions): CheckedPoolOptions {
  const workers = inRange("workers", options.workers ?? defaultWorkers(), 1, 256);
  return {
    limits: {
      maxPixels: inRange("maxPixels", options.maxPixels ?? 50_000_000, 1, 268_435_456),
      maxSide: inRange("maxSide", options.maxSide ?? 16_384, 1, 65_535),
    },
    workers,
    maxQueue: inRange("maxQueue", options.maxQueue ?? 16 * workers, 0, 1_000_000),
    maxQueuedBytes: inRange("maxQueuedBytes", options.maxQueuedBytes ?? 128 * MIB, 0, Number.MAX_SAFE_INTEGER),
    timeoutMs: inRange("timeoutMs", options.timeoutMs ?? 10_000, 1, 3_600_000),
    abortGraceMs: inRange("abortGraceMs", options.abortGraceMs ?? 200, 0, 3_600_000),
    maxMemoryBytes: inRange("maxMemoryBytes", options.maxMemoryBytes ?? 768 * MIB, 1, Number.MAX_SAFE_INTEGER),
    maxIdleBytes: inRange("maxIdleBytes", options.maxIdleBytes ?? 128 * MIB, 0, Number.MAX_SAFE_INTEGER),
  };
}

function defaultWorkers(): number {
  return Math.max(1, Math.min(MAX_CORES_BY_DEFAULT, globalThis.navigator?.hardwareConcurrency ?? 1));
}

function inRange(name: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new RangeError(`Cannot tile: ${name} is ${value}, expected an integer from ${min} to ${max}`);
}
