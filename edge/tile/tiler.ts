// Owns one instance of the tiler's WASM: the calls, the report, the status codes; see native/tiler/src/lib.rs.
import { TileError, type TileReason } from "./errors.ts";
import type { ImageFormat, ImageInspection, TileTimings } from "./types.ts";
import type { CheckedLimits, CheckedOptions } from "./options.ts";

interface Exports {
  readonly memory: WebAssembly.Memory;
  tiler_report(): number;
  tiler_alloc(len: number): number;
  tiler_open(
    tile: number,
    min: number,
    max: number,
    flags: number,
    maxPixels: number,
    maxSide: number,
    fileLen: number,
  ): number;
  tiler_decode(): number;
  tiler_resize(): number;
  tiler_cut(): number;
  tiler_reset(): void;
}

/** By status code; 0 is success. A misuse is a bug of this file, so it reads as a failure of the decoder. */
const REASONS: readonly TileReason[] = [
  "decoder_failed",
  "empty",
  "unsupported_format",
  "truncated",
  "corrupt",
  "too_many_pixels",
  "out_of_memory",
  "decoder_failed",
];
const FORMATS: readonly (ImageFormat | undefined)[] = [undefined, "jpeg", "png", "webp", "gif", "bmp"];
const FLAG_THUMBNAIL = 1;
const FLAG_EXACT = 2;

/** Order of the report's numbers. */
enum Field {
  Format,
  SourceWidth,
  SourceHeight,
  Cols,
  Rows,
  TileCount,
  TilesAt,
  TilesLen,
  MessageAt,
  MessageLen,
  NeedKib,
  PeakBytes,
  Orientation,
  RowsLeft,
  Count,
}

export interface CutImage extends ImageInspection {
  readonly tiles: Uint8Array<ArrayBuffer>[];
  /** Most bytes of the instance that were in use at once. */
  readonly peakBytes: number;
  readonly timings: Omit<TileTimings, "queueMs" | "hashMs">;
}

/** Not reentrant. After `decoder_failed` with a cause (a trap) the instance must be thrown away. */
export class Tiler {
  readonly #exports: Exports;
  readonly #report: number;

  constructor(module: WebAssembly.Module) {
    this.#exports = new WebAssembly.Instance(module, {}).exports as unknown as Exports;
    this.#report = this.#exports.tiler_report();
  }

  /** WASM memory only grows; its owner drops the instance when it has grown too large. */
  get memoryBytes(): number {
    return this.#exports.memory.buffer.byteLength;
  }

  /** Reads the header of `bytes`, which may be the beginning of a file of `fileLength` bytes only. */
  inspect(
    bytes: Uint8Array,
    options: CheckedOptions,
    limits: CheckedLimits,
    fileLength: number = bytes.length,
  ): ImageInspection {
    return this.#guarded(() => this.#open(bytes, options, limits, fileLength));
  }

  tile(bytes: Uint8Array, options: CheckedOptions, limits: CheckedLimits): CutImage {
    return this.#guarded(() => {
      const start = performance.now();
      const inspection = this.#open(bytes, options, limits, bytes.length);
      let decodeMs = 0;
      let resizeMs = 0;
      let resized = start;
      do {
        this.#check(this.#exports.tiler_decode());
        const decoded = performance.now();
        decodeMs += decoded - resized;
        this.#check(this.#exports.tiler_resize());
        resized = performance.now();
        resizeMs += resized - decoded;
      } while (this.#fields()[Field.RowsLeft]! > 0);
      this.#check(this.#exports.tiler_cut());
      const tiles = this.#copyTiles(options.tileSize);
      const timings = { decodeMs, resizeMs, cutMs: performance.now() - resized };
      return { ...inspection, tiles, peakBytes: this.#fields()[Field.PeakBytes]!, timings };
    });
  }

  #open(
    bytes: Uint8Array,
    options: CheckedOptions,
    limits: CheckedLimits,
    fileLength: number,
  ): ImageInspection {
    if (bytes.length === 0) throw new TileError("empty");
    const at = this.#exports.tiler_alloc(bytes.length);
    if (at === 0) throw new TileError("out_of_memory", `no memory for a file of ${bytes.length} bytes`);
    new Uint8Array(this.#exports.memory.buffer, at, bytes.length).set(bytes);
    const { tileSize, minTiles, maxTiles } = options;
    const flags = (options.thumbnail ? FLAG_THUMBNAIL : 0) | (options.exact ? FLAG_EXACT : 0);
    const { maxPixels, maxSide } = limits;
    this.#check(this.#exports.tiler_open(tileSize, minTiles, maxTiles, flags, maxPixels, maxSide, fileLength));
    const fields = this.#fields();
    const [format, sourceWidth, sourceHeight, cols, rows, tileCount] = fields;
    const size = { width: cols! * tileSize, height: rows! * tileSize };
    const name = FORMATS[format!];
    if (name === undefined) throw new TileError("decoder_failed", `format number ${format}`);
    return {
      format: name,
      sourceWidth: sourceWidth!,
      sourceHeight: sourceHeight!,
      orientation: fields[Field.Orientation]!,
      cols: cols!,
      rows: rows!,
      ...size,
      tileCount: tileCount!,
      needBytes: fields[Field.NeedKib]! * 1024,
    };
  }

  /** Each tile gets a buffer of its own, so that it can be transferred and let go of alone. */
  #copyTiles(tileSize: number): Uint8Array<ArrayBuffer>[] {
    const fields = this.#fields();
    const bytes = tileSize * tileSize * 3;
    const all = new Uint8Array(this.#exports.memory.buffer, fields[Field.TilesAt]!, fields[Field.TilesLen]!);
    return Array.from(
      { length: fields[Field.TileCount]! },
      (_, index) => all.slice(index * bytes, (index + 1) * bytes),
    );
  }

  /** Frees the picture whatever happened, and tells a trap from a refusal. */
  #guarded<T>(run: () => T): T {
    try {
      const result = run();
      this.#exports.tiler_reset();
      return result;
    } catch (error) {
      if (error instanceof TileError) {
        this.#exports.tiler_reset();
        throw error;
      }
      throw new TileError("decoder_failed", this.#message() || String(error), { cause: error });
    }
  }

  #check(status: number): void {
    if (status !== 0) throw new TileError(REASONS[status] ?? "decoder_failed", this.#message());
  }

  #fields(): Uint32Array {
    return new Uint32Array(this.#exports.memory.buffer, this.#report, Field.Count);
  }

  #message(): string {
    const fields = this.#fields();
    const bytes = new Uint8Array(this.#exports.memory.buffer, fields[Field.MessageAt]!, fields[Field.MessageLen]!);
    return new TextDecoder().decode(bytes);
  }
}

/** Compiles the committed WASM. `fetch` reads it from a disk, a bundle or a server, wherever this module came from. */
export async function loadTilerModule(): Promise<WebAssembly.Module> {
  const response = await fetch(new URL("./wasm/tiler.wasm", import.meta.url));
  if (!response.ok) throw new Error(`Cannot load the tiler: status ${response.status}, expected the WASM's bytes`);
  return await WebAssembly.compile(await response.arrayBuffer());
}
