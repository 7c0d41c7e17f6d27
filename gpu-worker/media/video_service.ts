/** Owns the videos a worker decodes for edges: takes them while there is room, answers about each, forgets silent ones. */
import { headers, type Msg, type NatsConnection, type Subscription } from "@nats-io/nats-core";
import {
  decodeMessage,
  type Logger,
  MAX_VIDEO_BYTES,
  MAX_VIDEO_SESSIONS,
  newId,
  TesseraError,
  VIDEO_GROUP,
  VIDEO_IDLE_MS,
  VIDEO_NOTE_HEADER,
  VIDEO_OPEN,
  type VideoNote,
  VideoOpen,
  type VideoOpened,
  videoSession,
} from "@tessera/shared";
import type { Ffmpeg } from "./ffmpeg.ts";
import { makeVideoFolder, removeStaleFolders } from "./folders.ts";
import { refusalOf, VideoSession } from "./video_session.ts";

/** How long a reply may take before the edge is told to ask again. */
const PATIENCE_MS = 2_000;

interface Live {
  readonly id: string;
  readonly session: VideoSession;
  readonly subscription: Subscription;
  idleTimer: ReturnType<typeof setTimeout>;
  /** One request after the other. */
  last: Promise<void>;
  /** Work the edge was told to ask for again, by verb. */
  readonly pending: Map<string, Promise<Reply>>;
}

interface Reply {
  readonly note: VideoNote | null;
  readonly body: Uint8Array;
}

const encode = (message: unknown) => new TextEncoder().encode(JSON.stringify(message));
const NOTHING = new Uint8Array(0);

export class VideoService {
  readonly #nc: NatsConnection;
  readonly #ffmpeg: Ffmpeg;
  readonly #log: Logger;
  readonly #live = new Map<string, Live>();
  readonly #opening: Subscription;
  /** Places given away, sessions that are still being made included. */
  #numTaken = 0;

  constructor(nc: NatsConnection, ffmpeg: Ffmpeg, log: Logger) {
    this.#nc = nc;
    this.#ffmpeg = ffmpeg;
    this.#log = log;
    void removeStaleFolders();
    this.#opening = nc.subscribe(VIDEO_OPEN, {
      queue: VIDEO_GROUP,
      callback: (error, msg) => {
        if (error === null) void this.#openSession(msg);
      },
    });
  }

  get numSessions(): number {
    return this.#live.size;
  }

  /** Takes no more and ends what runs. */
  async stop(): Promise<void> {
    this.#opening.unsubscribe();
    await Promise.all([...this.#live.values()].map((live) => this.#close(live)));
  }

  async #openSession(msg: Msg): Promise<void> {
    let reply: VideoOpened;
    try {
      const open = decodeMessage(VideoOpen, msg.data);
      if (open.num_bytes > MAX_VIDEO_BYTES) throw new TesseraError("video_too_large");
      if (this.#numTaken >= MAX_VIDEO_SESSIONS) throw new TesseraError("rate_limited");
      this.#numTaken++;
      try {
        reply = { v: 1, ok: true, session_id: await this.#begin(open) };
      } catch (error) {
        this.#numTaken--;
        throw error;
      }
    } catch (error) {
      reply = this.#refuse(error);
    }
    msg.respond(encode(reply));
  }

  async #begin(open: VideoOpen): Promise<string> {
    const id = newId("video");
    const folder = await makeVideoFolder();
    const session = await VideoSession.start({ ffmpeg: this.#ffmpeg, open, folder, log: this.#log });
    const live: Live = {
      id,
      session,
      subscription: this.#nc.subscribe(videoSession(id), {
        callback: (error, msg) => {
          if (error === null) live.last = live.last.then(() => this.#answer(live, msg));
        },
      }),
      idleTimer: setTimeout(() => void this.#close(live), VIDEO_IDLE_MS),
      last: Promise.resolve(),
      pending: new Map(),
    };
    this.#live.set(id, live);
    // The subscription is at the server before the edge hears of it.
    await this.#nc.flush();
    return id;
  }

  async #answer(live: Live, msg: Msg): Promise<void> {
    clearTimeout(live.idleTimer);
    const verb = msg.subject.slice(msg.subject.lastIndexOf(".") + 1);
    const { note, body } = await this.#patiently(live, verb, msg.data);
    if (note === null) msg.respond(body);
    else {
      const told = headers();
      told.set(VIDEO_NOTE_HEADER, note);
      msg.respond(body, { headers: told });
    }
    if (verb === "close" || note === "refusal") await this.#close(live);
    else if (this.#live.has(live.id)) live.idleTimer = setTimeout(() => void this.#close(live), VIDEO_IDLE_MS);
  }

  /** The reply, or the note to ask again, for which what is under way is kept. */
  async #patiently(live: Live, verb: string, data: Uint8Array): Promise<Reply> {
    const work = live.pending.get(verb) ??
      this.#work(live.session, verb, data).catch((error): Reply => ({
        note: "refusal",
        body: encode(this.#refuse(error)),
      }));
    live.pending.set(verb, work);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise<null>((resolve) => timer = setTimeout(() => resolve(null), PATIENCE_MS));
    const reply = await Promise.race([work, patience]);
    clearTimeout(timer);
    if (reply === null) return { note: "wait", body: NOTHING };
    live.pending.delete(verb);
    return reply;
  }

  async #work(session: VideoSession, verb: string, data: Uint8Array): Promise<Reply> {
    switch (verb) {
      case "upload":
        await session.upload(data);
        return { note: null, body: NOTHING };
      case "plan":
        return { note: null, body: encode(await session.plan()) };
      case "read": {
        const read = await session.read();
        return read.note === null ? { note: null, body: read.bytes } : { note: "plan", body: encode(read.plan) };
      }
      case "close":
        return { note: null, body: NOTHING };
      default:
        throw new TesseraError("internal_error", { diagnostic: `Cannot do "${verb}" with a video` });
    }
  }

  #refuse(error: unknown) {
    const refusal = refusalOf(error);
    this.#log.info("video_refused", { error });
    return refusal;
  }

  async #close(live: Live): Promise<void> {
    if (!this.#live.delete(live.id)) return;
    clearTimeout(live.idleTimer);
    live.subscription.unsubscribe();
    await live.session.close();
    this.#numTaken--;
  }
}
