/** The tiler's failures as errors for the caller. */
import { type ErrorCode, MAX_IMAGE_PIXELS, TesseraError } from "@tessera/shared";
import { TileError, type TileReason } from "../tile/mod.ts";

const CODES: Record<TileReason, ErrorCode> = {
  empty: "image_corrupt",
  unsupported_format: "image_unsupported_format",
  truncated: "image_corrupt",
  corrupt: "image_corrupt",
  decoder_failed: "image_corrupt",
  too_many_pixels: "image_too_large",
  timeout: "image_too_large",
  out_of_memory: "rate_limited",
  busy: "rate_limited",
  aborted: "client_closed",
  closed: "shutting_down",
};

const MESSAGES: Partial<Record<TileReason, string>> = {
  too_many_pixels: `The picture has more than ${MAX_IMAGE_PIXELS / 1_000_000} million pixels or a side that is too ` +
    "long. Send a smaller one.",
  timeout: "Decoding the picture took too long. Send a smaller one.",
};

/** What the tile pool threw for the picture at `param`, as the caller sees it. */
export function fromTileError(thrown: unknown, param: string): unknown {
  if (!(thrown instanceof TileError)) return thrown;
  const message = MESSAGES[thrown.reason];
  return new TesseraError(CODES[thrown.reason], { ...(message ? { message } : {}), param, cause: thrown });
}
