/** The tiler's failures as errors for the caller: which picture, why, and the limit it broke. */
import { type ErrorCode, MAX_IMAGE_PIXELS, MAX_IMAGE_SIDE, MAX_TILE_MS, TesseraError } from "@tessera/shared";
import { TileError, type TileReason } from "../tile/mod.ts";

const CODES: Record<TileReason, ErrorCode> = {
  empty: "image_corrupt",
  unsupported_format: "image_unsupported_format",
  truncated: "image_corrupt",
  corrupt: "image_corrupt",
  decoder_failed: "image_corrupt",
  too_many_pixels: "image_too_large",
  too_much_memory: "image_too_large",
  timeout: "image_too_large",
  out_of_memory: "rate_limited",
  busy: "rate_limited",
  aborted: "client_closed",
  closed: "shutting_down",
};

const MESSAGES: Partial<Record<TileReason, string>> = {
  empty: "The picture has no bytes. Send the complete file.",
  truncated: "The picture's file ends before the picture does. Send the complete file.",
  corrupt: "The picture's contents are damaged. Send the file as it was made.",
  decoder_failed: "The picture cannot be decoded. Send it in another format.",
  too_many_pixels: `The picture has more than ${MAX_IMAGE_PIXELS / 1_000_000} million pixels, or a side of more than ` +
    `${MAX_IMAGE_SIDE}. Send a smaller one.`,
  timeout: `Decoding the picture took longer than ${MAX_TILE_MS / 1000} s. Send a smaller one.`,
};

/** What the tile pool threw for the picture at `param`, as the caller sees it. */
export function fromTileError(thrown: unknown, param: string): unknown {
  if (!(thrown instanceof TileError)) return thrown;
  const message = thrown.memory === undefined ? MESSAGES[thrown.reason] : tooMuchMemory(thrown.memory);
  return new TesseraError(CODES[thrown.reason], { ...(message ? { message } : {}), param, cause: thrown });
}

function tooMuchMemory({ needBytes, maxBytes }: { needBytes: number; maxBytes: number }): string {
  const mib = (bytes: number) => Math.ceil(bytes / 1024 / 1024);
  return `Decoding the picture takes ${mib(needBytes)} MiB of memory, more than the ${mib(maxBytes)} MiB this server ` +
    "has for it. Send a smaller one.";
}
