// Owns header reading on the calling thread: an instance of its own, small because it sees beginnings of files.
import { TileError } from "./errors.ts";
import type { CheckedLimits, CheckedOptions } from "./options.ts";
import { Tiler } from "./tiler.ts";
import type { ImageInspection } from "./types.ts";

/** Enough for the header of nearly every file; the rest of a file is read only if it is needed. */
const PREFIX_BYTES = 64 * 1024;
const MAX_IDLE_BYTES = 16 * 1024 * 1024;

export class Inspector {
  readonly #limits: CheckedLimits;
  #tiler: Tiler | undefined;

  constructor(limits: CheckedLimits) {
    this.#limits = limits;
  }

  inspect(module: WebAssembly.Module, bytes: Uint8Array, options: CheckedOptions): ImageInspection {
    const prefix = bytes.subarray(0, PREFIX_BYTES);
    if (prefix.length === bytes.length) return this.#read(module, bytes, options);
    try {
      const inspection = this.#read(module, prefix, options);
      // Their Exif block may stand behind the pixels, and it decides which side is up.
      const whole = !options.exact && (inspection.format === "png" || inspection.format === "webp");
      return whole ? this.#read(module, bytes, options) : inspection;
    } catch (error) {
      if (error instanceof TileError && error.reason === "truncated") return this.#read(module, bytes, options);
      throw error;
    }
  }

  #read(module: WebAssembly.Module, bytes: Uint8Array, options: CheckedOptions): ImageInspection {
    const tiler = this.#tiler ??= new Tiler(module);
    let keep = false;
    try {
      const inspection = tiler.inspect(bytes, options, this.#limits);
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
