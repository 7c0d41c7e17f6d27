/** From picture sources to tiles: fetched and tiled a few at a time, every byte counted, all stopped by one failure. */
import { type Announcement, IMAGE_CONCURRENCY, type JobImage, MAX_TILES, TesseraError } from "@tessera/shared";
import type { Ticket } from "../admission.ts";
import type { Blobs } from "../api/blobs.ts";
import type { PictureSource, TilingWish } from "../api/chat_request.ts";
import type { JobTile } from "../dispatch/running_job.ts";
import type { TiledImage, TileOptions, TilePool } from "../tile/mod.ts";
import { isDataUrl, maxDataUrlBytes, parseDataUrl } from "./data_url.ts";
import { fetchPicture, type Resolve } from "./fetch_picture.ts";
import { fromTileError } from "./tile_errors.ts";
import { oneTile, tileOptions } from "./tiling.ts";

export interface LoaderOptions {
  readonly pool: TilePool;
  readonly allowPrivateUrls: boolean;
  readonly fetchMs: number;
  readonly resolve?: Resolve;
}

/** Milliseconds, summed over pictures except where said. */
export interface LoadTimings {
  fetch_ms: number;
  /** Waiting for a tile worker. */
  tile_wait_ms: number;
  /** From a picture's file to pixels. */
  decode_ms: number;
  /** Resize, cut and hash. */
  tile_ms: number;
  /** Wall time of loading all pictures. */
  images_ms: number;
}

export interface LoadedPictures {
  /** In the order of the sources. */
  readonly images: JobImage[];
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
  const timings: LoadTimings = { fetch_ms: 0, tile_wait_ms: 0, decode_ms: 0, tile_ms: 0, images_ms: 0 };
  const general = tileOptions(request.model, request.wish);
  const stop = new AbortController();
  const signal = AbortSignal.any([request.signal, stop.signal]);
  const images = new Array<JobImage>(request.sources.length);
  const tiles = new Map<string, JobTile>();
  let numTiles = 0;

  const load = async (source: PictureSource, index: number) => {
    const cut = source.isLowDetail ? oneTile(general) : general;
    const bytes = await bytesOf(source, options, request, signal, timings);
    const numBytes = bytes.length;
    const inspection = await options.pool.inspectImage(bytes, cut);
    numTiles += inspection.tileCount;
    if (numTiles > MAX_TILES) throw tooManyTiles(source.param);
    request.ticket.hold(inspection.tileCount * cut.tileSize * cut.tileSize * 3);
    const tiled = await options.pool.tileImage(bytes, cut, signal);
    request.ticket.release(numBytes);
    timings.tile_wait_ms += tiled.timings.queueMs;
    timings.decode_ms += tiled.timings.decodeMs;
    timings.tile_ms += tiled.timings.resizeMs + tiled.timings.cutMs + tiled.timings.hashMs;
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
  timings.images_ms = performance.now() - began;
  return { images, tiles: [...tiles.values()], timings };
}

async function bytesOf(
  { url, param }: PictureSource,
  options: LoaderOptions,
  { blobs, ticket }: LoadRequest,
  signal: AbortSignal,
  timings: LoadTimings,
): Promise<Uint8Array<ArrayBuffer>> {
  const inline = blobs.get(url) ?? (isDataUrl(url) ? new TextEncoder().encode(url) : null);
  if (inline !== null) {
    const maxBytes = maxDataUrlBytes(inline.length);
    ticket.hold(maxBytes);
    const bytes = parseDataUrl(inline, param);
    ticket.release(maxBytes - bytes.length);
    return bytes;
  }
  const began = performance.now();
  const bytes = await fetchPicture(url, {
    allowPrivate: options.allowPrivateUrls,
    timeoutMs: options.fetchMs,
    signal,
    param,
    onBytes: (numBytes) => ticket.hold(numBytes),
    ...(options.resolve === undefined ? {} : { resolve: options.resolve }),
  });
  timings.fetch_ms += performance.now() - began;
  return bytes;
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
