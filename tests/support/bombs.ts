/** Pictures that attack: absurd sizes in tiny files, metadata that unpacks to gigabytes, files that are not what they say. */
import { concat } from "../../edge/api/blobs.ts";
import { jpeg } from "./jpeg_writer.ts";
import { png, pngChunk, pngFile, pngHeader, zlib } from "./png_writer.ts";

/** One bad picture, and the error code it must get. */
export interface BadPicture {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly code: "image_too_large" | "image_corrupt" | "image_unsupported_format";
  /** What the message must tell. */
  readonly says: RegExp;
}

const PIXELS = /50 million pixels, or a side of more than 16384/;
const text = (value: string) => new TextEncoder().encode(value);

export async function badPictures(): Promise<BadPicture[]> {
  const small = jpeg(40, 30);
  const sized = (bytes: Uint8Array, change: (view: DataView) => void) => {
    const copy = bytes.slice();
    change(new DataView(copy.buffer));
    return copy;
  };
  const frameAt = small.findIndex((byte, at) => byte === 0xff && small[at + 1] === 0xc0);
  const jpegOf = (width: number, height: number) =>
    sized(small, (view) => {
      view.setUint16(frameAt + 5, height);
      view.setUint16(frameAt + 7, width);
    });
  const idat = pngChunk("IDAT", await zlib(new Uint8Array(1_000_000)));
  const tooLarge = (name: string, bytes: Uint8Array): BadPicture => ({
    name,
    bytes,
    code: "image_too_large",
    says: PIXELS,
  });
  const corrupt = (name: string, bytes: Uint8Array, says: RegExp): BadPicture => ({
    name,
    bytes,
    code: "image_corrupt",
    says,
  });
  return [
    tooLarge("PNG of 2 billion by 2 billion", pngFile([pngHeader(0x7fffffff, 0x7fffffff), idat])),
    tooLarge("PNG of 144 megapixels", pngFile([pngHeader(12_000, 12_000), idat])),
    tooLarge("PNG, one line too long", pngFile([pngHeader(16_385, 1), idat])),
    tooLarge("JPEG of 65535 by 65535", jpegOf(65_535, 65_535)),
    tooLarge("GIF of 65535 by 65535", gif(65_535, 65_535)),
    tooLarge("GIF whose frame is larger than its screen", gif(10, 10, 60_000, 60_000)),
    tooLarge("WebP of 16 million by 16 million", webpCanvas(1 << 24, 1 << 24)),
    tooLarge("lossless WebP of 16384 by 16384", webpLossless(16_384, 16_384)),
    corrupt("PNG of 50 megapixels with a few bytes", pngFile([pngHeader(10_000, 5_000), idat]), /damaged/),
    corrupt("PNG without pixels", pngFile([pngHeader(100, 100)]), /damaged|ends before/),
    corrupt("PNG of no width", pngFile([pngHeader(0, 100), idat]), /damaged/),
    corrupt("JPEG of no height", jpegOf(30, 0), /damaged/),
    corrupt("JPEG cut short", small.subarray(0, small.length - 40), /ends before/),
    corrupt("PNG cut short", (await png(64, 64, (x, y) => x * y)).subarray(0, 90), /ends before/),
    corrupt("GIF without a frame", gif(10, 10).subarray(0, 13), /ends before/),
    corrupt("WebP without a frame", webpCanvas(100, 100), /ends before|damaged/),
    corrupt("an empty file", new Uint8Array(), /no bytes/),
    corrupt("a PNG's name on a few bytes", Uint8Array.of(0x89, 0x50, 0x4e, 0x47), /ends before/),
    {
      name: "a web page",
      bytes: text("<html><body>404</body></html>"),
      code: "image_unsupported_format",
      says: /JPEG/,
    },
    {
      name: "an SVG",
      bytes: text("<svg xmlns='http://www.w3.org/2000/svg'/>"),
      code: "image_unsupported_format",
      says: /JPEG/,
    },
    { name: "a ZIP", bytes: text("PK\u0003\u0004aaaaaaaaaaaaaaa"), code: "image_unsupported_format", says: /JPEG/ },
    {
      name: "a RIFF that is sound",
      bytes: text("RIFF\u0010\0\0\0WAVEfmt "),
      code: "image_unsupported_format",
      says: /JPEG/,
    },
  ];
}

/** Good pictures whose metadata unpacks to far more than any limit: tiled without unpacking it. */
export async function metadataBombs(): Promise<{ name: string; bytes: Uint8Array }[]> {
  const bomb = await zlib(new Uint8Array(100_000_000));
  const named = (name: string, head: readonly number[]) => concat([text(`${name}\0`), Uint8Array.from(head), bomb]);
  const chunk = (kind: string, body: Uint8Array) => png(64, 48, (x, y) => x + y, { extra: [pngChunk(kind, body)] });
  return [
    { name: "an ICC profile of 100 MB", bytes: await chunk("iCCP", named("icc", [0])) },
    { name: "a text chunk of 100 MB", bytes: await chunk("zTXt", named("Comment", [0])) },
    {
      name: "an international text chunk of 100 MB",
      bytes: await chunk("iTXt", named("XML:com.adobe.xmp", [1, 0, 0, 0])),
    },
  ];
}

function gif(width: number, height: number, frameWidth = width, frameHeight = height): Uint8Array {
  const le = (value: number) => [value & 255, value >> 8];
  const frame = [0x2c, 0, 0, 0, 0, ...le(frameWidth), ...le(frameHeight), 0, 2, 2, 0x4c, 1, 0, 0x3b];
  return new Uint8Array([...text("GIF89a"), ...le(width), ...le(height), 0, 0, 0, ...frame]);
}

function webpCanvas(width: number, height: number): Uint8Array {
  const le24 = (value: number) => [value & 255, (value >> 8) & 255, (value >> 16) & 255];
  const body = [...text("WEBPVP8X"), 10, 0, 0, 0, 0, 0, 0, 0, ...le24(width - 1), ...le24(height - 1)];
  return new Uint8Array([...text("RIFF"), body.length, 0, 0, 0, ...body]);
}

function webpLossless(width: number, height: number): Uint8Array {
  const size = (width - 1) | ((height - 1) << 14);
  const bits = [size & 255, (size >> 8) & 255, (size >> 16) & 255, (size >>> 24) & 255];
  const body = [...text("WEBPVP8L"), 16, 0, 0, 0, 0x2f, ...bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  return new Uint8Array([...text("RIFF"), body.length, 0, 0, 0, ...body]);
}
