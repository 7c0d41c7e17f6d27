/** From pictures and videos to tiles: fetched and tiled a few at a time, every byte counted, all stopped by one failure. */
import {
  type Announcement,
  IMAGE_CONCURRENCY,
  type JobImage,
  MAX_TILES,
  recordStage,
  TesseraError,
} from "@tessera/shared";
import type { Ticket } from "../admission.ts";
import type { Blobs } from "../api/blobs.ts";
import type { TilingWish } from "../api/pictures.ts";
import { isVideo, type MediaSource } from "../api/videos.ts";
import type { JobTile } from "../dispatch/running_job.ts";
import type { TiledImage, TileOptions, TilePool } from "../tile/mod.ts";
import { loadVideo, type VideoFacts, type VideoSettings } from "./load_video.ts";
import { pictureBytes } from "./picture_bytes.ts";
import { fromTileError } from "./tile_errors.ts";
import { pictureOptions, tileOptions } from "./tiling.ts";

export interface LoaderOptions extends VideoSettings {
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

/** A picture or frame in tiles. */
export interface CutPicture {
  readonly image: JobImage;
  readonly timings: PictureTimings;
}

export interface LoadedPictures {
  /** In the order of the sources, a video's frames in its place. */
  readonly images: JobImage[];
  /** In the same order. */
  readonly pictureTimings: PictureTimings[];
  /** Every distinct tile once; held on the ticket until it closes. */
  readonly tiles: JobTile[];
  readonly timings: LoadTimings;
  /** In the order of their sources. */
  readonly videos: VideoFacts[];
}

export interface LoadRequest {
  readonly media: readonly MediaSource[];
  /** Bytes of the data: URLs that were taken out of the body. */
  readonly blobs: Blobs;
  /** Files that came with the request. */
  readonly uploads?: Blobs;
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
  const cuts = request.media.map((source) => pictureOptions(request.model, general, source));
  const images: JobImage[][] = request.media.map(() => []);
  const pictureTimings: PictureTimings[][] = request.media.map(() => []);
  const videos: VideoFacts[][] = request.media.map(() => []);
  const tiles = new Map<string, JobTile>();
  let numTiles = 0;

  /** Cuts a file whose bytes the ticket holds, and lets go of them. */
  const cutFile = async (bytes: Uint8Array<ArrayBuffer>, cut: TileOptions, param: string, fetchMs = 0) => {
    const numBytes = bytes.length;
    const inspection = await options.pool.inspectImage(bytes, cut);
    numTiles += inspection.tileCount;
    if (numTiles > MAX_TILES) throw tooManyTiles(param);
    request.ticket.hold(inspection.tileCount * cut.tileSize * cut.tileSize * 3);
    const tilingAt = performance.now();
    const tiled = await options.pool.tileImage(bytes, cut, signal, inspection);
    traceCut(tiled, tilingAt);
    request.ticket.release(numBytes);
    tiled.tiles.forEach((pixels, i) => {
      const hash = tiled.hashes[i]!;
      if (tiles.has(hash)) request.ticket.release(pixels.length);
      else tiles.set(hash, { hash, size: cut.tileSize, pixels });
    });
    return { image: jobImage(tiled, cut), timings: timingsOf(tiled, fetchMs) };
  };
  /** Takes tiles that were cut for an earlier request. */
  const recall = (images: readonly JobImage[], known: readonly JobTile[], param: string) => {
    // A frame that stands in two places was counted once.
    numTiles += new Set(images.map(({ tiles }) => tiles.join())).size * (images[0]?.tiles.length ?? 0);
    if (numTiles > MAX_TILES) throw tooManyTiles(param);
    for (const tile of known) {
      if (tiles.has(tile.hash)) continue;
      request.ticket.hold(tile.pixels.length);
      tiles.set(tile.hash, tile);
    }
  };
  const load = async (source: MediaSource, index: number) => {
    const cut = cuts[index]!;
    if (isVideo(source)) {
      const video = await loadVideo(source, options, { ...request, signal }, {
        options: cut,
        cut: (bmp) => cutFile(bmp, cut, source.param),
        recall: (kept) => recall(kept.images, kept.tiles, source.param),
        tilesOf: (images) => [...new Set(images.flatMap(({ tiles }) => tiles))].map((hash) => tiles.get(hash)!),
      });
      [images[index], pictureTimings[index], videos[index]] = [video.images, video.timings, [video.facts]];
      return;
    }
    const fetchingAt = performance.now();
    const { bytes, fetchMs } = await pictureBytes(source, options, { ...request, signal });
    if (fetchMs > 0) recordStage("fetch", fetchingAt, fetchingAt + fetchMs, { "tessera.bytes": bytes.length });
    const { image, timings } = await cutFile(bytes, cut, source.param, fetchMs);
    [images[index], pictureTimings[index]] = [[image], [timings]];
  };

  let next = 0;
  const lane = async () => {
    while (next < request.media.length && !signal.aborted) {
      const index = next++;
      const source = request.media[index]!;
      try {
        await load(source, index);
      } catch (thrown) {
        const error = fromTileError(thrown, source.param);
        stop.abort(error);
        throw error;
      }
    }
  };
  const lanes = Array.from({ length: Math.min(IMAGE_CONCURRENCY, request.media.length) }, lane);
  // All lanes end before this function does: nothing of the request is left behind.
  await Promise.allSettled(lanes);
  if (request.signal.aborted) throw new TesseraError("client_closed");
  if (stop.signal.aborted) throw stop.signal.reason;
  const timings = summed(pictureTimings.flat(), performance.now() - began);
  return {
    images: images.flat(),
    pictureTimings: pictureTimings.flat(),
    tiles: [...tiles.values()],
    timings,
    videos: videos.flat(),
  };
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

/** Stages follow each other in the tile worker. @param tilingAt performance.now() when the picture was given to it */
function traceCut({ timings: { queueMs, decodeMs, resizeMs, cutMs, hashMs }, tiles }: TiledImage, tilingAt: number) {
  const decodingAt = tilingAt + queueMs;
  const cuttingAt = decodingAt + decodeMs;
  recordStage("decode", decodingAt, cuttingAt);
  recordStage("tile", cuttingAt, cuttingAt + resizeMs + cutMs + hashMs, { "tessera.tiles": tiles.length });
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
