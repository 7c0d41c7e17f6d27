// Owns header reading on the calling thread: an instance of its own, small because it sees beginnings of files.
import { TileError } from "./errors.ts";
import { withoutPixels } from "./exif_chunk.ts";
import type { CheckedLimits, CheckedOptions } from "./options.ts";
import { Tiler } from "./tiler.ts";
import type { ImageInspection } from "./types.ts";

/** Enough for the header of nearly every file; more is read only if it is needed. */
const PREFIX_BYTES = 64 * 1024;
const MAX_IDLE_BYTES = 16 * 1024 * 1024;

export class Inspector {
  readonly #limits: CheckedLimits;
  #tiler: Tiler | undefined;

  constructor(limits: CheckedLimits) {
    this.#limits = limits;
  }

  /** `bytes` may be the beginning of a file of `fileLength` bytes: `truncated` when it does not tell enough. */
  inspect(
    module: WebAssembly.Module,
    bytes: Uint8Array,
    options: CheckedOptions,
    fileLength: number = bytes.length,
  ): ImageInspection {
    const isWhole = fileLength <= bytes.length;
    const inspection = this.#readBeginning(module, bytes, options, fileLength);
    const { format } = inspection;
    // Their Exif block may stand behind the pixels, and it decides which side is up.
    const mayTurn = !options.exact && (format === "png" || format === "webp");
    if (!mayTurn || (isWhole && bytes.length <= PREFIX_BYTES)) return inspection;
    if (!isWhole) throw new TileError("truncated", "the orientation may stand behind the pixels");
    return this.#read(module, withoutPixels(bytes, format), options, fileLength);
  }

  /** By as little of the file as tells enough. */
  #readBeginning(
    module: WebAssembly.Module,
    bytes: Uint8Array,
    options: CheckedOptions,
    fileLength: number,
  ): ImageInspection {
    for (let length = PREFIX_BYTES;; length *= 16) {
      try {
        return this.#read(module, bytes.subarray(0, length), options, fileLength);
      } catch (error) {
        const isCut = error instanceof TileError && error.reason === "truncated";
        if (!isCut || length >= bytes.length) throw error;
      }
    }
  }

  #read(
    module: WebAssembly.Module,
    bytes: Uint8Array,
    options: CheckedOptions,
    fileLength: number,
  ): ImageInspection {
    const tiler = this.#tiler ??= new Tiler(module);
    let keep = false;
    try {
      const inspection = tiler.inspect(bytes, options, this.#limits, fileLength);
      keep = true;
      return inspection;
    } catch (error) {
      keep = error instanceof TileError && error.cause === undefined;
      throw error;
    } finally {
      if (!keep || tiler.memoryBytes > MAX_IDLE_BYTES) this.#tiler = undefined;
    }
  }
}
