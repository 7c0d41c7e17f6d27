/** What pictures will cost, told by their headers: downloads end where the header does, nothing is decoded. */
import { type Announcement, type ErrorCode, IMAGE_CONCURRENCY, TesseraError } from "@tessera/shared";
import type { Ticket } from "../admission.ts";
import type { Blobs } from "../api/blobs.ts";
import type { PictureSource, TilingWish } from "../api/pictures.ts";
import { type ImageInspection, TileError, type TileOptions, type TilePool } from "../tile/mod.ts";
import { type FetchSettings, pictureBytes } from "./picture_bytes.ts";
import { fromTileError } from "./tile_errors.ts";
import { pictureOptions, tileOptions } from "./tiling.ts";

export interface InspectRequest {
  readonly sources: readonly PictureSource[];
  readonly blobs: Blobs;
  readonly wish: TilingWish;
  readonly model: Announcement;
  readonly ticket: Ticket;
  readonly signal: AbortSignal;
}

/** One picture's header, or why it cannot be used. */
export type InspectedPicture = ImageInspection | TesseraError;

/** Not the picture's fault: the whole request fails with these. */
const WHOLE: readonly ErrorCode[] = ["client_closed", "rate_limited", "request_too_large", "shutting_down"];

/** @throws TesseraError for what is wrong with the request as a whole */
export async function inspectPictures(
  pool: TilePool,
  settings: FetchSettings,
  request: InspectRequest,
): Promise<InspectedPicture[]> {
  const general = tileOptions(request.model, request.wish);
  const inspected = new Array<InspectedPicture>(request.sources.length);
  const stop = new AbortController();
  const signal = AbortSignal.any([request.signal, stop.signal]);
  let next = 0;
  const lane = async () => {
    while (next < request.sources.length && !signal.aborted) {
      const index = next++;
      const source = request.sources[index]!;
      try {
        const cut = pictureOptions(request.model, general, source);
        inspected[index] = await inspect(pool, settings, { ...request, signal }, source, cut);
      } catch (thrown) {
        const error = fromTileError(thrown, source.param);
        if (error instanceof TesseraError && !WHOLE.includes(error.code)) inspected[index] = error;
        else stop.abort(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(IMAGE_CONCURRENCY, request.sources.length) }, lane));
  if (request.signal.aborted) throw new TesseraError("client_closed");
  if (stop.signal.aborted) throw stop.signal.reason;
  return inspected;
}

async function inspect(
  pool: TilePool,
  settings: FetchSettings,
  request: InspectRequest,
  source: PictureSource,
  cut: TileOptions,
): Promise<ImageInspection> {
  let early: Promise<ImageInspection> | undefined;
  const isEnough = async (beginning: Uint8Array, total: number | undefined) => {
    // What is not announced is longer than what came so far, by how much nobody knows.
    const attempt = pool.inspectImage(beginning, cut, total ?? beginning.length + 1);
    const isCut = await attempt.then(() => false, (e) => e instanceof TileError && e.reason === "truncated");
    if (!isCut) early = attempt;
    return !isCut;
  };
  const { bytes } = await pictureBytes(source, settings, { ...request, isEnough });
  try {
    return await (early ?? pool.inspectImage(bytes, cut));
  } finally {
    request.ticket.release(bytes.length);
  }
}
