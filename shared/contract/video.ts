/** Videos between edge and worker: the edge sends a file in pieces, the worker answers with a plan and with frames. */
import { z } from "zod";
import { WireErrorCode } from "./error_code.ts";

/** Containers that are read; told by the file's first bytes. */
export const VideoContainer = z.enum(["mov", "matroska", "gif"]);

/** Asks for a worker that decodes a video. */
export const VideoOpen = z.object({
  v: z.literal(1),
  container: VideoContainer,
  num_bytes: z.int().positive(),
  num_segments: z.int().positive(),
  /** Seconds; null: from the beginning, to the end. */
  start_s: z.number().min(0).nullable(),
  end_s: z.number().min(0).nullable(),
  /** Turned as the file's display matrix says. */
  upright: z.boolean(),
  /** Longest reply the edge takes, in bytes. */
  max_reply_bytes: z.int().positive(),
});

/** A worker's answer to any request that it does not grant. `message` is written for the caller. */
export const VideoRefusal = z.object({
  v: z.literal(1),
  ok: z.literal(false),
  code: WireErrorCode,
  message: z.string(),
  /** Field of the video part that is at fault, if one is. */
  field: z.string().nullable(),
});

export const VideoOpened = z.discriminatedUnion("ok", [
  z.object({ v: z.literal(1), ok: z.literal(true), session_id: z.string().min(1) }),
  VideoRefusal,
]);

/** What the file is, and which frames will come: each distinct one of `indices` once, ascending, as a BMP file. */
export const VideoPlan = z.object({
  v: z.literal(1),
  num_frames: z.int().positive(),
  fps: z.number().positive(),
  /** Of a frame as it comes. */
  width: z.int().positive(),
  height: z.int().positive(),
  indices: z.array(z.int().min(0)).min(1),
});

/**
 * Header of a reply to `upload` or `read` that is no bytes of a frame but a note: `wait` (nothing yet, ask again),
 * `refusal` (a VideoRefusal), `plan` (a new VideoPlan, because fewer frames than promised could be decoded: frames begin
 * again). A reply to `read` without note and without bytes is the end.
 */
export const VIDEO_NOTE_HEADER = "Tessera-Video-Note";
export type VideoNote = "wait" | "refusal" | "plan";

export type VideoContainer = z.infer<typeof VideoContainer>;
export type VideoOpen = z.infer<typeof VideoOpen>;
export type VideoOpened = z.infer<typeof VideoOpened>;
export type VideoRefusal = z.infer<typeof VideoRefusal>;
export type VideoPlan = z.infer<typeof VideoPlan>;
