/** Writes PNGs: from rows of a function, or chunk by chunk for files that lie. */

export interface PngOptions {
  /** 2: RGB; 6: RGBA; 0: grey. */
  readonly colour?: 0 | 2 | 6;
  /** Chunks between the header and the pixels. */
  readonly extra?: readonly Uint8Array[];
}

const CHANNELS = { 0: 1, 2: 3, 6: 4 } as const;

/** A picture whose bytes are `sample(x, y)`, x counting bytes of a row. */
export async function png(
  width: number,
  height: number,
  sample: (x: number, y: number) => number,
  options: PngOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { colour = 2, extra = [] } = options;
  const stride = width * CHANNELS[colour];
  const raw = new Uint8Array((stride + 1) * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < stride; x++) raw[y * (stride + 1) + 1 + x] = sample(x, y);
  }
  return pngFile([pngHeader(width, height, colour), ...extra, pngChunk("IDAT", await zlib(raw))]);
}

export function pngFile(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return joined([Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10), ...chunks, pngChunk("IEND", new Uint8Array())]);
}

export function pngHeader(width: number, height: number, colour = 2, interlaced = false): Uint8Array {
  const body = new Uint8Array(13);
  const view = new DataView(body.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  body.set([8, colour, 0, 0, interlaced ? 1 : 0], 8);
  return pngChunk("IHDR", body);
}

export function pngChunk(kind: string, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(body.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  bytes.set(new TextEncoder().encode(kind), 4);
  bytes.set(body, 8);
  view.setUint32(8 + body.length, crc32(bytes.subarray(4, 8 + body.length)));
  return bytes;
}

export async function zlib(raw: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([raw]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 255]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
