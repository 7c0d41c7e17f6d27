/** Owns what lately seen videos came to, so that the next round of a conversation decodes nothing: least recent goes first. */
import { type JobImage, MAX_KEPT_VIDEO_BYTES, sha256Hex } from "@tessera/shared";
import type { JobTile } from "../dispatch/running_job.ts";
import type { VideoFacts } from "./load_video.ts";

export interface KeptVideo {
  /** One for each segment. */
  readonly images: readonly JobImage[];
  /** Each once. */
  readonly tiles: readonly JobTile[];
  readonly facts: VideoFacts;
}

export class VideoMemory {
  readonly #maxBytes: number;
  /** Least recently used first. */
  readonly #kept = new Map<string, KeptVideo>();
  #numBytes = 0;

  constructor(maxBytes: number = MAX_KEPT_VIDEO_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes of all tiles that are kept. */
  get numBytes(): number {
    return this.#numBytes;
  }

  /** @param wish all that decides which frames are taken and how they are cut */
  static async key(bytes: Uint8Array, wish: unknown): Promise<string> {
    return `${await sha256Hex(bytes)} ${JSON.stringify(wish)}`;
  }

  get(key: string): KeptVideo | null {
    const video = this.#kept.get(key);
    if (video === undefined) return null;
    this.#kept.delete(key);
    this.#kept.set(key, video);
    return video;
  }

  /** Keeps a video unless it would push out most of the others. */
  set(key: string, video: KeptVideo): void {
    if (this.#kept.has(key) || sizeOf(video) > this.#maxBytes / 2) return;
    this.#kept.set(key, video);
    this.#numBytes += sizeOf(video);
    for (const [oldest, old] of this.#kept) {
      if (this.#numBytes <= this.#maxBytes) return;
      this.#kept.delete(oldest);
      this.#numBytes -= sizeOf(old);
    }
  }
}

function sizeOf({ tiles }: KeptVideo): number {
  return tiles.reduce((sum, { pixels }) => sum + pixels.length, 0);
}
