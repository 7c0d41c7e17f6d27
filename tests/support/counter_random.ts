/** Owns the counter-based generator: value(seed, name, index) by integer hashing, the same in Python (see tests/golden/engine/checkpoint.py). */

const GOLDEN_RATIO = 0x9e3779b9;

/** Murmur3's 32-bit finaliser. */
function mix(word: number): number {
  let h = word;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** FNV-1a, 32 bits, over UTF-8. */
function hashName(name: string): number {
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) h = Math.imul(h ^ byte, 0x01000193);
  return h >>> 0;
}

/** One independent stream of 32-bit words for each (seed, name); word `index` costs the same as word 0. */
export class CounterStream {
  readonly #key: number;

  constructor(seed: number, name: string) {
    this.#key = mix(hashName(name) ^ mix(seed >>> 0));
  }

  /** Uniform in [0, 2^32). */
  word(index: number): number {
    return mix(Math.imul(index, GOLDEN_RATIO) ^ this.#key);
  }

  /** Uniform in [0, 1), 24 bits. */
  uniform(index: number): number {
    return (this.word(index) >>> 8) * 2 ** -24;
  }

  /** Uniform integer in [0, bound). */
  integer(index: number, bound: number): number {
    return Math.floor(this.uniform(index) * bound);
  }

  /** `length` uniform bytes: pixels of a made-up tile. */
  bytes(length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let i = 0; i < length; i++) out[i] = this.word(i) >>> 24;
    return out;
  }

  /** `length` values, uniform in mean ± halfRange, rounded to what bf16 can hold. */
  bf16Values(length: number, mean: number, halfRange: number): Float32Array {
    const out = new Float32Array(length);
    for (let i = 0; i < length; i++) out[i] = mean + (this.uniform(i) * 2 - 1) * halfRange;
    const bits = new Uint32Array(out.buffer);
    for (let i = 0; i < length; i++) {
      const b = bits[i]!;
      bits[i] = (b + 0x7fff + ((b >>> 16) & 1)) & 0xffff0000;
    }
    return out;
  }
}

/** Pixels of the `index`-th made-up tile, u8 RGB row-major. */
export function randomTile(seed: number, index: number, tileSize: number): Uint8Array {
  return new CounterStream(seed, `pixels.${index}`).bytes(tileSize * tileSize * 3);
}
