/** Frames of a video, decoded by a worker that has FFmpeg: the file goes up in pieces, pictures come back one by one. */
import { headers, type Msg, type NatsConnection } from "@nats-io/nats-core";
import {
  decodeMessage,
  PAYLOAD_FRACTION,
  TesseraError,
  VIDEO_ATTEMPTS,
  VIDEO_NOTE_HEADER,
  VIDEO_OPEN,
  VIDEO_REPLY_MS,
  VIDEO_ROOM_MS,
  type VideoContainer,
  type VideoOpen,
  VideoOpened,
  VideoPlan,
  VideoRefusal,
  videoSubject,
  type VideoVerb,
} from "@tessera/shared";
import type { VideoSource } from "../api/videos.ts";
import { hasNoResponders } from "../dispatch/probe.ts";
import { sleep } from "../wait.ts";
import { containerOf } from "./file_type.ts";

export interface VideoRequest {
  readonly source: VideoSource;
  readonly bytes: Uint8Array;
  /** Frames turned as the file says. */
  readonly upright: boolean;
  readonly signal: AbortSignal;
}

/** Takes the frames of a plan, ascending, each a picture file of its own. Starts anew with every plan. */
export interface FrameTaker {
  plan(plan: VideoPlan): void;
  frame(index: number, bmp: Uint8Array<ArrayBuffer>): Promise<void>;
}

const ROOM_RETRY_MS = 250;
const NOTHING = new Uint8Array(0);

/** The worker that had the video is gone. */
class SessionLost extends Error {
  override readonly name = "SessionLost";
}

/**
 * Has a video's frames decoded and hands each on before the next is asked for.
 * @throws TesseraError naming the part of the request
 */
export async function takeFrames(nc: NatsConnection, maxPayload: number, request: VideoRequest, taker: FrameTaker) {
  const container = containerOf(request.bytes);
  const { param } = request.source;
  if (container === null) throw new TesseraError("video_unsupported_format", { param });
  for (let attempt = 1;; attempt++) {
    try {
      return await new Session(nc, maxPayload, request, container).run(taker);
    } catch (error) {
      if (!(error instanceof SessionLost) || request.signal.aborted) throw error;
      if (attempt === VIDEO_ATTEMPTS) throw new TesseraError("worker_lost", { param, cause: error });
    }
  }
}

class Session {
  readonly #nc: NatsConnection;
  readonly #request: VideoRequest;
  readonly #open: VideoOpen;
  #id = "";

  constructor(nc: NatsConnection, maxPayload: number, request: VideoRequest, container: VideoContainer) {
    this.#nc = nc;
    this.#request = request;
    const { numSegments, startS, endS } = request.source.video;
    this.#open = {
      v: 1,
      container,
      num_bytes: request.bytes.length,
      num_segments: numSegments,
      start_s: startS,
      end_s: endS,
      upright: request.upright,
      max_reply_bytes: Math.floor(maxPayload * PAYLOAD_FRACTION),
    };
  }

  async run(taker: FrameTaker): Promise<void> {
    this.#id = await this.#find();
    try {
      const { bytes } = this.#request;
      const pieceBytes = this.#open.max_reply_bytes;
      for (let at = 0; at < bytes.length; at += pieceBytes) {
        await this.#ask("upload", bytes.subarray(at, at + pieceBytes));
      }
      let plan: VideoPlan | null = decodeMessage(VideoPlan, (await this.#ask("plan")).data);
      while (plan !== null) {
        taker.plan(plan);
        plan = await this.#frames(plan, taker);
      }
    } finally {
      // Whoever does not hear it forgets the video by itself.
      if (!this.#nc.isClosed()) this.#nc.publish(videoSubject(this.#id, "close"), NOTHING);
    }
  }

  /** A worker with room; waits a while for one. */
  async #find(): Promise<string> {
    const { signal, source: { param } } = this.#request;
    const deadline = performance.now() + VIDEO_ROOM_MS;
    for (;;) {
      if (signal.aborted) throw new TesseraError("client_closed");
      const message = await this.#send(VIDEO_OPEN, new TextEncoder().encode(JSON.stringify(this.#open)))
        .catch((error) => {
          throw hasNoResponders(error) ? new TesseraError("video_unavailable", { param, cause: error }) : error;
        });
      const opened = decodeMessage(VideoOpened, message.data);
      if (opened.ok) return opened.session_id;
      if (opened.code !== "rate_limited" || performance.now() > deadline) throw this.#refused(opened);
      await sleep(ROOM_RETRY_MS, signal);
    }
  }

  /** Passes all frames on; a new plan when they have to begin again. */
  async #frames(plan: VideoPlan, taker: FrameTaker): Promise<VideoPlan | null> {
    let bmp: Uint8Array<ArrayBuffer> | null = null;
    let numBytes = 0;
    const indices = [...new Set(plan.indices)];
    for (let numTaken = 0;;) {
      const { data, headers } = await this.#ask("read");
      if (headers?.get(VIDEO_NOTE_HEADER) === "plan") return decodeMessage(VideoPlan, data);
      if (data.length === 0) {
        if (bmp === null && numTaken === indices.length) return null;
        throw new SessionLost("The frames ended early");
      }
      // The file's own length stands behind its two first letters.
      bmp ??= new Uint8Array(new DataView(data.buffer, data.byteOffset).getUint32(2, true));
      bmp.set(data, numBytes);
      numBytes += data.length;
      if (numBytes < bmp.length) continue;
      await taker.frame(indices[numTaken]!, bmp);
      [bmp, numBytes, numTaken] = [null, 0, numTaken + 1];
    }
  }

  /** Asks about the video until the answer is there. */
  async #ask(verb: VideoVerb, data: Uint8Array = NOTHING): Promise<Msg> {
    for (;;) {
      if (this.#request.signal.aborted) throw new TesseraError("client_closed");
      const message = await this.#send(videoSubject(this.#id, verb), data).catch((cause) => {
        throw new SessionLost("The worker does not answer", { cause });
      });
      const note = message.headers?.get(VIDEO_NOTE_HEADER) ?? "";
      if (note === "refusal") throw this.#refused(decodeMessage(VideoRefusal, message.data));
      if (note !== "wait") return message;
      // What was sent with the question is there.
      data = NOTHING;
    }
  }

  #send(subject: string, data: Uint8Array): Promise<Msg> {
    return this.#nc.request(subject, data, { timeout: VIDEO_REPLY_MS, headers: headers() });
  }

  #refused({ code, message, field }: VideoRefusal): TesseraError {
    const { param, optionsParam } = this.#request.source;
    const details = code === "internal_error" ? { diagnostic: message } : { message };
    return new TesseraError(code, { ...details, param: field === null ? param : `${optionsParam}.${field}` });
  }
}
