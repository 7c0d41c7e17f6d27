/** From picture sources to tiles: fetched and tiled a few at a time, every byte counted, all stopped by one failure. */
import { type Announcement, IMAGE_CONCURRENCY, type JobImage, MAX_TILES, TesseraError } from "@tessera/shared";
import type { Ticket } from "../admission.ts";
import type { Blobs } from "../api/blobs.ts";
import type { PictureSource, TilingWish } from "../api/pictures.ts";
import type { JobTile } from "../dispatch/running_job.ts";
import type { TiledImage, TileOptions, TilePool } from "../tile/mod.ts";
import { type FetchSettings, pictureBytes } from "./picture_bytes.ts";
import { fromTileError } from "./tile_errors.ts";
import { pictureOptions, tileOptions } from "./tiling.ts";

export interface LoaderOptions extends FetchSettings {
  readonly pool: TilePool;
}

/** Milliseconds of one picture. */
export interface PictureTimings {
  readonly fetch_ms: number;
  /** Waiting for a tile worker and for memory. */
  readonly wait_ms: number;
  /** From the file to pixels. */
  readonly decode_ms: number;
  readonly resize_ms: number;
  readonly cut_ms: number;
  readonly hash_ms: number;
}

/** Milliseconds, summed over pictures except where said. */
export interface LoadTimings {
  readonly fetch_ms: number;
  /** Waiting for a tile worker. */
  readonly tile_wait_ms: number;
  /** From a picture's file to pixels. */
  readonly decode_ms: number;
  /** Resize, cut and hash. */
  readonly tile_ms: number;
  /** Wall time of loading all pictures. */
  readonly images_ms: number;
}

export interface LoadedPictures {
  /** In the order of the sources. */
  readonly images: JobImage[];
  /** In the same order. */
  readonly pictureTimings: PictureTimings[];
  /** Every distinct tile once; held on the ticket until it closes. */
  readonly tiles: JobTile[];
  readonly timings: LoadTimings;
}

export interface LoadRequest {
  readonly sources: readonly PictureSource[];
  /** Bytes of the data: URLs that were taken out of the body. */
  readonly blobs: Blobs;
  readonly wish: TilingWish;
  readonly model: Announcement;
  readonly ticket: Ticket;
  readonly signal: AbortSignal;
}

/** @throws TesseraError naming the picture that could not be used */
export async function loadPictures(options: LoaderOptions, request: LoadRequest): Promise<LoadedPictures> {
  const began = performance.now();
  const general = tileOptions(request.model, request.wish);
  const stop = new AbortController();
  const signal = AbortSignal.any([request.signal, stop.signal]);
  const cuts = request.sources.map((source) => pictureOptions(request.model, general, source));
  const images = new Array<JobImage>(request.sources.length);
  const pictureTimings = new Array<PictureTimings>(request.sources.length);
  const tiles = new Map<string, JobTile>();
  let numTiles = 0;

  const load = async (source: PictureSource, index: number) => {
    const cut = cuts[index]!;
    const { bytes, fetchMs } = await pictureBytes(source, options, { ...request, signal });
    const numBytes = bytes.length;
    const inspection = await options.pool.inspectImage(bytes, cut);
    numTiles += inspection.tileCount;
    if (numTiles > MAX_TILES) throw tooManyTiles(source.param);
    request.ticket.hold(inspection.tileCount * cut.tileSize * cut.tileSize * 3);
    const tiled = await options.pool.tileImage(bytes, cut, signal, inspection);
    request.ticket.release(numBytes);
    pictureTimings[index] = timingsOf(tiled, fetchMs);
    images[index] = jobImage(tiled, cut);
    tiled.tiles.forEach((pixels, i) => {
      const hash = tiled.hashes[i]!;
      if (tiles.has(hash)) request.ticket.release(pixels.length);
      else tiles.set(hash, { hash, size: cut.tileSize, pixels });
    });
  };

  let next = 0;
  const lane = async () => {
    while (next < request.sources.length && !signal.aborted) {
      const index = next++;
      const source = request.sources[index]!;
      try {
        await load(source, index);
      } catch (thrown) {
        const error = fromTileError(thrown, source.param);
        stop.abort(error);
        throw error;
      }
    }
  };
  const lanes = Array.from({ length: Math.min(IMAGE_CONCURRENCY, request.sources.length) }, lane);
  // All lanes end before this function does: nothing of the request is left behind.
  await Promise.allSettled(lanes);
  if (request.signal.aborted) throw new TesseraError("client_closed");
  if (stop.signal.aborted) throw stop.signal.reason;
  const timings = summed(pictureTimings, performance.now() - began);
  return { images, pictureTimings, tiles: [...tiles.values()], timings };
}

function timingsOf({ timings }: TiledImage, fetchMs: number): PictureTimings {
  return {
    fetch_ms: fetchMs,
    wait_ms: timings.queueMs,
    decode_ms: timings.decodeMs,
    resize_ms: timings.resizeMs,
    cut_ms: timings.cutMs,
    hash_ms: timings.hashMs,
  };
}

function summed(pictures: readonly PictureTimings[], imagesMs: number): LoadTimings {
  const sum = (pick: (timings: PictureTimings) => number) =>
    pictures.reduce((total, timings) => total + pick(timings), 0);
  return {
    fetch_ms: sum((timings) => timings.fetch_ms),
    tile_wait_ms: sum((timings) => timings.wait_ms),
    decode_ms: sum((timings) => timings.decode_ms),
    tile_ms: sum((timings) => timings.resize_ms + timings.cut_ms + timings.hash_ms),
    images_ms: imagesMs,
  };
}

function jobImage(tiled: TiledImage, cut: TileOptions): JobImage {
  return {
    width: tiled.sourceWidth,
    height: tiled.sourceHeight,
    cols: tiled.cols,
    rows: tiled.rows,
    tile_size: cut.tileSize,
    tiles: tiled.hashes,
  };
}

function tooManyTiles(param: string): TesseraError {
  return new TesseraError("too_many_images", {
    message: `The pictures have more than ${MAX_TILES} tiles together. Send fewer, or set detail to "low".`,
    param,
  });
}
