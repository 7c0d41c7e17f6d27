/** What is fetched: a picture or a video, with its limits and its name in errors. */
import {
  type ErrorCode,
  FETCH_TIMEOUT_MS,
  MAX_IMAGE_BYTES,
  MAX_VIDEO_BYTES,
  TesseraError,
  VIDEO_FETCH_TIMEOUT_MS,
} from "@tessera/shared";
import { containerOf, isPicture } from "./file_type.ts";

export interface MediaKind {
  readonly noun: "picture" | "video";
  readonly maxBytes: number;
  readonly tooLarge: ErrorCode;
  readonly unknownFormat: ErrorCode;
  /** Whether a file may be one, by its first 12 bytes or more. */
  readonly isKnown: (beginning: Uint8Array) => boolean;
  /** How much longer a download may take than a picture's. */
  readonly timeFactor: number;
  readonly accept: string;
  /** In the example of a data: URL. */
  readonly mediaType: string;
}

export const PICTURE: MediaKind = {
  noun: "picture",
  maxBytes: MAX_IMAGE_BYTES,
  tooLarge: "image_too_large",
  unknownFormat: "image_unsupported_format",
  isKnown: isPicture,
  timeFactor: 1,
  accept: "image/*",
  mediaType: "image/jpeg",
};

export const VIDEO: MediaKind = {
  noun: "video",
  maxBytes: MAX_VIDEO_BYTES,
  tooLarge: "video_too_large",
  unknownFormat: "video_unsupported_format",
  isKnown: (beginning) => containerOf(beginning) !== null,
  timeFactor: VIDEO_FETCH_TIMEOUT_MS / FETCH_TIMEOUT_MS,
  accept: "video/*, image/gif",
  mediaType: "video/mp4",
};

/** The error for files above the limit. */
export function tooLarge(kind: MediaKind, param: string): TesseraError {
  const limit = kind.maxBytes / 1024 / 1024;
  return new TesseraError(kind.tooLarge, {
    message: `The ${kind.noun} is larger than ${limit} MiB. Send a smaller one.`,
    param,
  });
}
