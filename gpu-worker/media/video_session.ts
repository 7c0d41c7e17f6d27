/** Owns one video at a worker: its file on disk while it arrives, the plan, its frames as they are asked for, the end. */
import {
  errorCodeFor,
  type Logger,
  MAX_VIDEO_MS,
  TesseraError,
  toTesseraError,
  type VideoOpen,
  type VideoPlan,
  type VideoRefusal,
} from "@tessera/shared";
import { bmpFiles, countDecodable, startDecoding } from "./decode.ts";
import type { Ffmpeg, FfmpegProcess } from "./ffmpeg.ts";
import { createVideoFile, videoPath } from "./folders.ts";
import { frameIndices } from "./frame_indices.ts";
import { probeVideo, type VideoFacts } from "./probe.ts";

export interface VideoSessionOptions {
  readonly ffmpeg: Ffmpeg;
  readonly open: VideoOpen;
  /** Empty; removed at the end. */
  readonly folder: string;
  readonly log: Logger;
  /** Longest life in ms; MAX_VIDEO_MS when absent. */
  readonly maxMs?: number;
}

/** What a `read` comes to: bytes of frames, or a note. */
export type ReadReply =
  | { readonly note: null; readonly bytes: Uint8Array }
  | { readonly note: "plan"; readonly plan: VideoPlan };

export class VideoSession {
  /** Ends with the session, and when its time is over. */
  readonly #ffmpeg: Ffmpeg;
  readonly #end = new AbortController();
  readonly #open: VideoOpen;
  readonly #folder: string;
  readonly #log: Logger;
  readonly #file: Deno.FsFile;
  readonly #maxMs: number;
  readonly #timer: ReturnType<typeof setTimeout>;
  #numBytes = 0;
  #process: FfmpegProcess | null = null;
  #frames: AsyncGenerator<Uint8Array, void> | null = null;
  /** The frame being read, and how much of it was. */
  #frame: Uint8Array = new Uint8Array(0);
  #offset = 0;
  #numWanted = 0;
  #numDecoded = 0;
  #facts: VideoFacts | null = null;
  #hasReplanned = false;
  #isClosed = false;
  #isLate = false;

  private constructor({ ffmpeg, open, folder, log, maxMs = MAX_VIDEO_MS }: VideoSessionOptions, file: Deno.FsFile) {
    this.#ffmpeg = ffmpeg.until(this.#end.signal);
    this.#open = open;
    this.#folder = folder;
    this.#file = file;
    this.#log = log;
    this.#maxMs = maxMs;
    this.#timer = setTimeout(() => {
      this.#isLate = true;
      this.#end.abort();
    }, maxMs);
  }

  static async start(options: VideoSessionOptions): Promise<VideoSession> {
    return new VideoSession(options, await createVideoFile(options.folder));
  }

  get #path(): string {
    return videoPath(this.#folder);
  }

  /** Takes the next piece of the file. @throws TesseraError when it is more than was announced */
  async upload(piece: Uint8Array): Promise<void> {
    this.#numBytes += piece.length;
    if (this.#numBytes > this.#open.num_bytes) {
      throw new TesseraError("internal_error", {
        diagnostic: `Cannot take video: more than ${this.#open.num_bytes} B`,
      });
    }
    for (let rest = piece; rest.length > 0;) rest = rest.subarray(await this.#file.write(rest));
  }

  /** Reads what the file is and begins to decode. @throws TesseraError */
  async plan(): Promise<VideoPlan> {
    if (this.#numBytes !== this.#open.num_bytes) {
      const diagnostic = `Cannot read video: ${this.#numBytes} bytes came, expected ${this.#open.num_bytes}`;
      throw new TesseraError("internal_error", { diagnostic });
    }
    const facts = await this.#inTime(probeVideo(this.#ffmpeg, this.#path, this.#open.container));
    this.#facts = { ...facts, rotation: this.#open.upright ? facts.rotation : 0 };
    return this.#begin(this.#facts);
  }

  /** Bytes of the next frame, `max_reply_bytes` at most; none at the end. @throws TesseraError */
  async read(): Promise<ReadReply> {
    if (this.#frames === null) throw new TesseraError("internal_error", { diagnostic: "Cannot read before the plan" });
    if (this.#offset === this.#frame.length) {
      const { done, value } = await this.#frames.next();
      if (done === true) return await this.#atEnd();
      [this.#frame, this.#offset] = [value, 0];
      this.#numDecoded++;
    }
    const bytes = this.#frame.subarray(this.#offset, this.#offset + this.#open.max_reply_bytes);
    this.#offset += bytes.length;
    return { note: null, bytes };
  }

  /** Ends what runs and removes the file. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#end.abort();
    await this.#process?.ended.catch(() => {});
    this.#file.close();
    await Deno.remove(this.#folder, { recursive: true }).catch((error) =>
      this.#log.warn("video_not_removed", { error })
    );
  }

  #begin(facts: VideoFacts): VideoPlan {
    const { start_s, end_s, num_segments, container } = this.#open;
    const { fps, numFrames, rotation, chroma } = facts;
    if (start_s !== null && start_s * fps > numFrames - 1) {
      const message = `The video ends at ${(numFrames / fps).toFixed(2)} s, before the start at ${start_s} s.`;
      throw new TesseraError("invalid_request", { message, param: "start" });
    }
    const indices = frameIndices({ startS: start_s, endS: end_s }, fps, numFrames - 1, num_segments);
    const distinct = [...new Set(indices)];
    [this.#numWanted, this.#numDecoded, this.#offset, this.#frame] = [distinct.length, 0, 0, new Uint8Array(0)];
    this.#process = startDecoding(this.#ffmpeg, { path: this.#path, container, indices: distinct, rotation, chroma });
    this.#frames = bmpFiles(this.#process.stdout);
    const [width, height] = rotation % 180 === 0 ? [facts.width, facts.height] : [facts.height, facts.width];
    return { v: 1, num_frames: numFrames, fps, width, height, indices };
  }

  /** All that was wanted has come; or the file holds fewer frames than its index says, and those are chosen from. */
  async #atEnd(): Promise<ReadReply> {
    if (this.#isLate) throw this.#tooLate();
    if (this.#numDecoded === this.#numWanted) return { note: null, bytes: new Uint8Array(0) };
    const facts = this.#facts!;
    const { container } = this.#open;
    const numFrames = this.#hasReplanned ? 0 : await this.#inTime(countDecodable(this.#ffmpeg, this.#path, container));
    this.#hasReplanned = true;
    if (numFrames === 0 || numFrames >= facts.numFrames) {
      throw new TesseraError("video_corrupt", {
        diagnostic: `${this.#numDecoded} of ${this.#numWanted} frames decoded`,
      });
    }
    return { note: "plan", plan: this.#begin({ ...facts, numFrames }) };
  }

  /** What the work comes to; where it was ended because its time was over, that. */
  async #inTime<T>(work: Promise<T>): Promise<T> {
    try {
      const result = await work;
      if (!this.#isLate) return result;
    } catch (error) {
      if (!this.#isLate) throw error;
    }
    throw this.#tooLate();
  }

  #tooLate(): TesseraError {
    return new TesseraError("video_too_large", {
      message: `Decoding the video took longer than ${this.#maxMs / 1000} s. Send a shorter or smaller one.`,
    });
  }
}

/** What is said of an error to the edge; what is inside stays in the log. */
export function refusalOf(thrown: unknown): VideoRefusal {
  const { code, message, param } = toTesseraError(thrown);
  return { v: 1, ok: false, code: errorCodeFor(1, code), message, field: param };
}
