/** A tile pool without a decoder: pictures are a few bytes that say what should happen to them. */
import { sha256Hex } from "@tessera/shared";
import {
  type ImageInspection,
  TILE_REASONS,
  type TiledImage,
  TileError,
  type TileOptions,
  type TilePool,
  type TileReason,
} from "../../edge/tile/mod.ts";

const MAGIC = 0x54;
const REASONS = Object.keys(TILE_REASONS) as TileReason[];

/** A picture that becomes cols x rows tiles with pixels that follow from `seed`, after `delayMs`. */
export function fakePicture(cols: number, rows: number, seed = 0, delayMs = 0): string {
  return dataUrl(Uint8Array.of(MAGIC, cols, rows, seed, Math.round(delayMs / 10)));
}

/** A picture the tiler refuses for a reason. */
export function badPicture(reason: TileReason): string {
  return dataUrl(Uint8Array.of(MAGIC, 0, REASONS.indexOf(reason)));
}

export function dataUrl(bytes: Uint8Array): string {
  return `data:image/png;base64,${bytes.toBase64()}`;
}

export class FakeTilePool implements TilePool {
  readonly ready: Promise<void>;
  readonly stats = { workers: 1, running: 0, queued: 0, replaced: 0, memoryBytes: 0 };
  /** Pictures whose tiling was aborted. */
  numAborted = 0;
  /** What every picture throws, when set: a fault inside. */
  fault: Error | null = null;

  constructor(ready: Promise<void> = Promise.resolve()) {
    this.ready = ready;
  }

  inspectImage(bytes: Uint8Array, options: TileOptions): Promise<ImageInspection> {
    if (this.fault !== null) return Promise.reject(this.fault);
    if (bytes[0] !== MAGIC) return Promise.reject(new TileError("unsupported_format"));
    if (bytes[1] === 0) return Promise.reject(new TileError(REASONS[bytes[2]!]!, "made up"));
    const cols = Math.min(bytes[1]!, options.maxTiles);
    const rows = Math.max(1, Math.min(bytes[2]!, Math.floor(options.maxTiles / cols)));
    const tileCount = cols * rows + (options.thumbnail && cols * rows > 1 ? 1 : 0);
    const { tileSize } = options;
    const [width, height] = [cols * tileSize, rows * tileSize];
    return Promise.resolve({
      format: "png",
      sourceWidth: 640,
      sourceHeight: 480,
      orientation: 1,
      cols,
      rows,
      width,
      height,
      tileCount,
      needBytes: 1,
    });
  }

  async tileImage(bytes: Uint8Array, options: TileOptions, signal?: AbortSignal): Promise<TiledImage> {
    const inspection = await this.inspectImage(bytes, options);
    await this.#pause((bytes[4] ?? 0) * 10, signal);
    const numBytes = options.tileSize ** 2 * 3;
    const tiles = Array.from(
      { length: inspection.tileCount },
      (_, i) => new Uint8Array(numBytes).map((_, at) => (at * 7 + i * 31 + bytes[3]!) & 255),
    );
    const hashes = await Promise.all(tiles.map(sha256Hex));
    return {
      ...inspection,
      peakBytes: 1,
      tiles,
      hashes,
      timings: { decodeMs: 1.26, resizeMs: 2, cutMs: 0.5, hashMs: 0.1, queueMs: 0 },
    };
  }

  #pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, ms);
      signal?.addEventListener("abort", () => {
        clearTimeout(timer);
        this.numAborted++;
        reject(new TileError("aborted"));
      }, { once: true });
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
