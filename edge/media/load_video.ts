/** From a video to the pictures it stands for: fetched, its frames decoded by a worker, each cut when it comes. */
import { type JobImage, MAX_VIDEO_BYTES, type VideoPlan } from "@tessera/shared";
import type { VideoSource } from "../api/videos.ts";
import { VIDEO } from "./kind.ts";
import type { CutPicture, LoadRequest, PictureTimings } from "./load_pictures.ts";
import { type FetchSettings, pictureBytes } from "./picture_bytes.ts";
import { type KeptVideo, VideoMemory } from "./video_memory.ts";
import type { FrameTaker, VideoRequest } from "./video_frames.ts";

/** Has a worker decode a video. */
export type TakeFrames = (request: VideoRequest, taker: FrameTaker) => Promise<void>;

/** What is told of a video in the answer. */
export interface VideoFacts {
  readonly num_frames: number;
  readonly fps: number;
  readonly duration_s: number;
  /** Of the frames looked at, in presentation order. */
  readonly indices: readonly number[];
  readonly width: number;
  readonly height: number;
}

export interface LoadedVideo {
  /** One for each segment. */
  readonly images: JobImage[];
  readonly timings: PictureTimings[];
  readonly facts: VideoFacts;
}

export interface VideoSettings extends FetchSettings {
  readonly videoMemory: VideoMemory;
  readonly takeFrames: TakeFrames;
}

const NO_TIME: PictureTimings = { fetch_ms: 0, wait_ms: 0, decode_ms: 0, resize_ms: 0, cut_ms: 0, hash_ms: 0 };

/** How a video's frames are cut, by whoever holds the request's tiles. */
export interface FrameCutter {
  /** All that decides about the tiles of a frame. */
  readonly options: unknown;
  /** Tiles one frame and keeps its tiles. */
  cut(bmp: Uint8Array<ArrayBuffer>): Promise<CutPicture>;
  /** Takes the tiles of a video that was seen lately. */
  recall(kept: KeptVideo): void;
  /** The tiles of these pictures. */
  tilesOf(images: readonly JobImage[]): KeptVideo["tiles"];
}

/**
 * @throws TesseraError naming the part
 */
export async function loadVideo(
  source: VideoSource,
  settings: VideoSettings,
  request: LoadRequest,
  cutter: FrameCutter,
): Promise<LoadedVideo> {
  const { ticket, signal, wish } = request;
  const { bytes, fetchMs } = await pictureBytes(source, settings, { ...request, kind: VIDEO });
  const key = await VideoMemory.key(bytes, [source.video, !wish.exact, cutter.options]);
  const kept = settings.videoMemory.get(key);
  if (kept !== null) {
    cutter.recall(kept);
    ticket.release(bytes.length);
    const timings = kept.images.map((_, place) => place === 0 ? { ...NO_TIME, fetch_ms: fetchMs } : NO_TIME);
    return { images: [...kept.images], timings, facts: kept.facts };
  }
  let plan: VideoPlan | null = null;
  const frames = new Map<number, CutPicture>();
  const began = performance.now();
  await settings.takeFrames({ source, bytes, upright: !wish.exact, signal }, {
    plan: (told) => {
      plan = told;
      frames.clear();
    },
    frame: async (index, bmp) => {
      ticket.hold(bmp.length);
      frames.set(index, await cutter.cut(bmp));
    },
  });
  const { num_frames, fps, indices, width, height } = plan!;
  const videoMs = performance.now() - began;
  ticket.release(Math.min(bytes.length, MAX_VIDEO_BYTES));
  // A frame that stands in two places is cut once, and counted once.
  const counted = new Set<number>();
  const timings = indices.map((index, place): PictureTimings => {
    if (counted.has(index)) return NO_TIME;
    counted.add(index);
    const frame = frames.get(index)!.timings;
    const tileMs = [...frames.values()].reduce((sum, { timings }) => sum + sumOf(timings), 0);
    // Of the first frame: the download, and what decoding took beside the tiling.
    const decodeMs = frame.decode_ms + (place === 0 ? Math.max(0, videoMs - tileMs) : 0);
    return { ...frame, fetch_ms: place === 0 ? fetchMs : 0, decode_ms: decodeMs };
  });
  const images = indices.map((index) => frames.get(index)!.image);
  const facts = { num_frames, fps, duration_s: num_frames / fps, indices, width, height };
  settings.videoMemory.set(key, { images, tiles: cutter.tilesOf(images), facts });
  return { images, timings, facts };
}

function sumOf(timings: PictureTimings): number {
  return timings.wait_ms + timings.decode_ms + timings.resize_ms + timings.cut_ms + timings.hash_ms;
}
