/** Writes baseline JPEGs (4:2:0 or grey) of any size from made-up coefficients: gradients, some texture, no encoder. */

/** Code lengths and values of the standard's Huffman tables (Annex K.3), luminance; used for colour too. */
const DC_COUNTS = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];
const DC_VALUES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
const AC_COUNTS = [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d];
/** The first values of the standard's list are all that is written; the rest only has to be there. */
const AC_FIRST = [0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07];

export interface JpegOptions {
  readonly grey?: boolean;
  /** Texture: coefficients beside the mean in each block, 0..15. More makes larger files that decode slower. */
  readonly detail?: number;
  readonly seed?: number;
  /** Exif orientation to write. */
  readonly orientation?: number;
}

/** A picture of `width` x `height` pixels. */
export function jpeg(width: number, height: number, options: JpegOptions = {}): Uint8Array<ArrayBuffer> {
  const { grey = false, detail = 4, seed = 1, orientation } = options;
  const factors = grey ? [1] : [2, 1, 1];
  const out = new Bits(width * height);
  out.bytes([0xff, 0xd8]);
  if (orientation !== undefined) out.segment(0xe1, exif(orientation));
  out.segment(0xdb, [0, ...new Array<number>(64).fill(8)]);
  const size = [height >> 8, height & 255, width >> 8, width & 255];
  out.segment(0xc0, [8, ...size, factors.length, ...factors.flatMap((f, i) => [i + 1, f * 16 + f, 0])]);
  out.segment(0xc4, [0x00, ...DC_COUNTS, ...DC_VALUES]);
  out.segment(0xc4, [0x10, ...AC_COUNTS, ...acValues()]);
  out.segment(0xda, [factors.length, ...factors.flatMap((_, i) => [i + 1, 0]), 0, 63, 0]);

  const dc = codes(DC_COUNTS, DC_VALUES);
  const ac = codes(AC_COUNTS, acValues());
  const last = [0, 0, 0];
  let state = seed >>> 0;
  const random = () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) >>> 24;
  const unit = 8 * factors[0]!;
  for (let y = 0; y < height; y += unit) {
    for (let x = 0; x < width; x += unit) {
      factors.forEach((factor, component) => {
        for (let block = 0; block < factor * factor; block++) {
          const slope = component === 0 ? (x + y) / (width + height) : (component === 1 ? x / width : y / height);
          const mean = Math.round(slope * 180 - 90) + (random() & 7);
          value(out, dc, 0, mean - last[component]!);
          last[component] = mean;
          for (let i = 0; i < detail; i++) {
            const level = (random() & 15) - 8;
            if (level !== 0) value(out, ac, 0, level);
          }
          out.put(...ac[0x00]!);
        }
      });
    }
  }
  return out.end();
}

/** A coefficient: its class by code, its bits behind it. */
function value(out: Bits, table: readonly (readonly [number, number])[], run: number, level: number): void {
  const bits = 32 - Math.clz32(Math.abs(level));
  out.put(...table[run * 16 + bits]!);
  if (bits > 0) out.put(level > 0 ? level : level + (1 << bits) - 1, bits);
}

function acValues(): number[] {
  const rest = Array.from({ length: 256 }, (_, i) => i).filter((v) => !AC_FIRST.includes(v));
  return [...AC_FIRST, ...rest].slice(0, AC_COUNTS.reduce((sum, count) => sum + count, 0));
}

/** By value: code and length. */
function codes(counts: readonly number[], values: readonly number[]): [number, number][] {
  const table: [number, number][] = [];
  let code = 0;
  let at = 0;
  counts.forEach((count, index) => {
    for (let i = 0; i < count; i++) table[values[at++]!] = [code++, index + 1];
    code <<= 1;
  });
  return table;
}

function exif(orientation: number): number[] {
  const text = [..."Exif\0\0MM\0*"].map((char) => char.charCodeAt(0));
  return [...text, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0];
}

/** A growing buffer of bytes, then of entropy-coded bits with their stuffing. */
class Bits {
  #buffer: Uint8Array<ArrayBuffer>;
  #at = 0;
  #pending = 0;
  #numPending = 0;

  constructor(capacity: number) {
    this.#buffer = new Uint8Array(capacity + 4_096);
  }

  bytes(bytes: readonly number[]): void {
    for (const byte of bytes) this.#push(byte);
  }

  segment(marker: number, body: readonly number[]): void {
    this.bytes([0xff, marker, (body.length + 2) >> 8, (body.length + 2) & 255, ...body]);
  }

  put(code: number, length: number): void {
    this.#pending = (this.#pending << length) | code;
    this.#numPending += length;
    while (this.#numPending >= 8) {
      this.#numPending -= 8;
      const byte = (this.#pending >> this.#numPending) & 255;
      this.#push(byte);
      if (byte === 0xff) this.#push(0);
    }
    this.#pending &= (1 << this.#numPending) - 1;
  }

  end(): Uint8Array<ArrayBuffer> {
    this.put(0x7f, 7);
    this.bytes([0xff, 0xd9]);
    return this.#buffer.slice(0, this.#at);
  }

  #push(byte: number): void {
    if (this.#at === this.#buffer.length) {
      const larger = new Uint8Array(this.#buffer.length * 2);
      larger.set(this.#buffer);
      this.#buffer = larger;
    }
    this.#buffer[this.#at++] = byte;
  }
}
