/** Owns what is read of a video without decoding it: size, number of frames, frames a second, rotation, chroma position. */
import { MAX_VIDEO_FRAMES, MAX_VIDEO_PIXELS, TesseraError, type VideoContainer } from "@tessera/shared";
import { type ChromaPosition, chromaPosition } from "./chroma.ts";
import type { Ffmpeg } from "./ffmpeg.ts";

export interface VideoFacts {
  readonly width: number;
  readonly height: number;
  /** Packets of the video stream: one frame each. */
  readonly numFrames: number;
  readonly fps: number;
  /** Clockwise turn that makes the picture upright: 0, 90, 180 or 270. */
  readonly rotation: number;
  readonly chroma: ChromaPosition;
}

/** A packet that an edit list leaves out. */
const DISCARDED = 0x4;
/** Of FFmpeg's log, the beginning tells what the file is. */
const MAX_LOG_LINES = 200;
/** What FFmpeg prints of a rate has two decimals. */
const RATE_PRECISION = 0.006;

/** @throws TesseraError `video_corrupt` or `video_too_large` */
export async function probeVideo(ffmpeg: Ffmpeg, path: string, container: VideoContainer): Promise<VideoFacts> {
  const log: string[] = [];
  const list = new PacketList();
  const args = ["-f", container, "-i", path, "-map", "0:V:0", "-c", "copy", "-copyinkf", "-f", "framecrc", "-"];
  const process = ffmpeg.start(args, {
    logLevel: "verbose",
    onLog: (line) => log.length < MAX_LOG_LINES && log.push(line),
  });
  try {
    for await (const line of lines(process.stdout)) {
      list.add(line);
      // Enough to know; the rest need not be read.
      if (list.numFrames > MAX_VIDEO_FRAMES || list.numPixels > MAX_VIDEO_PIXELS) break;
    }
  } finally {
    process.kill();
  }
  await process.ended;
  if (list.numPixels > MAX_VIDEO_PIXELS) throw tooManyPixels(list.width, list.height);
  if (list.numFrames > MAX_VIDEO_FRAMES) {
    throw new TesseraError("video_too_large", {
      message: `The video has more than ${MAX_VIDEO_FRAMES} frames. Send a shorter one.`,
    });
  }
  if (list.numFrames === 0 || list.numPixels === 0) {
    throw new TesseraError("video_corrupt", {
      message: "No video could be read from the file. Send the complete file, with a video stream.",
      diagnostic: log.slice(-3).join("; "),
    });
  }
  const printed = log.find((line) => /Stream #0:\d+.*: Video:/.test(line)) ?? "";
  return {
    width: list.width,
    height: list.height,
    numFrames: list.numFrames,
    fps: rateOf(list, Number(/, ([\d.]+) fps/.exec(printed)?.[1] ?? Number.NaN)),
    rotation: rotationOf(log),
    chroma: chromaPosition(printed),
  };
}

/** Reads framecrc's output: a head of `#` lines, then a line a packet. */
class PacketList {
  width = 0;
  height = 0;
  numFrames = 0;
  #secondsPerTick = 0;
  /** Of all durations. */
  #ticks = 0;
  #firstTick = Infinity;
  #lastTick = -Infinity;

  get numPixels(): number {
    return this.width * this.height;
  }

  get framesPerSecond(): number {
    return this.numFrames / (this.#ticks * this.#secondsPerTick);
  }

  /** The same by the times at which the first and the last frame are shown. */
  get spannedRate(): number {
    return (this.numFrames - 1) / ((this.#lastTick - this.#firstTick) * this.#secondsPerTick);
  }

  /** How far off that may be, as a share: a tick at either end. */
  get tolerance(): number {
    return Math.max(1e-6, 1.5 / (this.#lastTick - this.#firstTick));
  }

  add(line: string): void {
    const tick = /^#tb 0: (\d+)\/(\d+)$/.exec(line);
    if (tick !== null) this.#secondsPerTick = Number(tick[1]) / Number(tick[2]);
    const size = /^#dimensions 0: (\d+)x(\d+)$/.exec(line);
    if (size !== null) [this.width, this.height] = [Number(size[1]), Number(size[2])];
    if (line.startsWith("#")) return;
    const [, , shown, duration, , , ...rest] = line.split(",").map((field) => field.trim());
    if (duration === undefined) return;
    const flags = rest.find((field) => field.startsWith("F="));
    if (flags !== undefined && (Number(flags.slice(2)) & DISCARDED) !== 0) return;
    this.numFrames++;
    this.#ticks += Number(duration);
    this.#firstTick = Math.min(this.#firstTick, Number(shown));
    this.#lastTick = Math.max(this.#lastTick, Number(shown));
  }
}

/**
 * Frames a second: their number over their time, as FFmpeg has it. Where the container counts time in steps too coarse
 * for that (milliseconds in Matroska), a whole or broadcast rate that FFmpeg prints and the frames' times allow.
 */
function rateOf(list: PacketList, printed: number): number {
  const { framesPerSecond, spannedRate, tolerance } = list;
  for (const rate of [Math.round(printed), Math.round(printed * 1.001) * 1000 / 1001]) {
    if (Math.abs(rate - printed) < RATE_PRECISION && Math.abs(rate - spannedRate) <= rate * tolerance) return rate;
  }
  if (Number.isFinite(framesPerSecond) && framesPerSecond > 0) return framesPerSecond;
  return printed > 0 ? printed : 1;
}

function rotationOf(log: readonly string[]): number {
  const line = log.find((text) => /display ?matrix: rotation of/i.test(text));
  // The matrix turns counter-clockwise; what undoes nothing and shows the picture is the opposite number.
  const degrees = Math.round(-Number(/rotation of (-?[\d.]+) degrees/.exec(line ?? "")?.[1] ?? 0));
  const turn = ((degrees % 360) + 360) % 360;
  return turn % 90 === 0 ? turn : 0;
}

function tooManyPixels(width: number, height: number): TesseraError {
  const limit = MAX_VIDEO_PIXELS / 1_000_000;
  return new TesseraError("video_too_large", {
    message:
      `The video's frames are ${width}x${height}, at most ${limit} million pixels are allowed. Send a smaller one.`,
  });
}

async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)) {
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
  if (rest !== "") yield rest;
}
