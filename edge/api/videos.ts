/** What a request says of a video: where it comes from, which stretch of it, and how many frames to look at. */
import { DEFAULT_VIDEO_SEGMENTS, MAX_FRAMES, MAX_VIDEO_SEGMENTS, TesseraError } from "@tessera/shared";
import { z } from "zod";
import { type PictureSource, pictureSource } from "./pictures.ts";

/** Which frames of a video are looked at. */
export interface FrameWish {
  readonly numSegments: number;
  /** Seconds; null: from the beginning, to the end. */
  readonly startS: number | null;
  readonly endS: number | null;
}

/** A video to load; it stands for as many pictures as it has segments, each cut as one picture would be. */
export interface VideoSource extends PictureSource {
  readonly video: FrameWish;
}

export type MediaSource = PictureSource | VideoSource;

/** A video as requests write it; the names are the vendor's, `start` and `end` its `bound`. */
export const VideoFields = {
  url: z.string().min(1),
  num_segments: z.int().min(1).max(MAX_VIDEO_SEGMENTS).nullish(),
  start: z.number().min(0).nullish(),
  end: z.number().min(0).nullish(),
  /** Tiles of each frame. */
  min_dynamic_patch: z.int().min(1).nullish(),
  max_dynamic_patch: z.int().min(1).nullish(),
};

const Video = z.object(VideoFields);

/** @throws TesseraError `invalid_request` when the stretch ends before it begins */
export function videoSource(video: z.infer<typeof Video>, param: string, optionsParam: string): VideoSource {
  const [startS, endS] = [video.start ?? null, video.end ?? null];
  if (endS !== null && endS <= (startS ?? 0)) {
    const message = `${optionsParam}.end is not valid: ${endS} s is not behind the start at ${startS ?? 0} s.`;
    throw new TesseraError("invalid_request", { message, param: `${optionsParam}.end` });
  }
  const perFrame = { ...video, max_dynamic_patch: video.max_dynamic_patch ?? video.min_dynamic_patch ?? 1 };
  return {
    ...pictureSource(perFrame, param, optionsParam),
    video: { numSegments: video.num_segments ?? DEFAULT_VIDEO_SEGMENTS, startS, endS },
  };
}

export function isVideo(source: MediaSource): source is VideoSource {
  return "video" in source;
}

/** How many pictures of the job a source stands for. */
export function numImages(source: MediaSource): number {
  return isVideo(source) ? source.video.numSegments : 1;
}

/** @throws TesseraError `too_many_images` */
export function checkNumFrames(sources: readonly MediaSource[]): void {
  let numFrames = 0;
  for (const source of sources) {
    if (!isVideo(source)) continue;
    numFrames += source.video.numSegments;
    if (numFrames <= MAX_FRAMES) continue;
    throw new TesseraError("too_many_images", {
      message: `The videos have ${numFrames} frames together, at most ${MAX_FRAMES} are allowed. Lower num_segments.`,
      param: source.param,
    });
  }
}
