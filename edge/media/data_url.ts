/** Pictures and videos inside the request: data: URLs in base64, as bytes or as text. */
import { TesseraError } from "@tessera/shared";
import { type MediaKind, PICTURE, tooLarge } from "./kind.ts";

/** The media type and parameters before the comma are short; what is longer is no picture. */
const MAX_HEADER_BYTES = 256;
/** Base64 decoded at once; strings of this size are gone before they cost anything. */
const PIECE_BYTES = 128 * 1024;
const COMMA = 0x2c;
const PERCENT = 0x25;
const PADDING = 0x3d;

export function isDataUrl(url: string): boolean {
  return url.slice(0, 5).toLowerCase() === "data:";
}

/** Upper bound of the bytes a data: URL of this length holds. */
export function maxDataUrlBytes(numChars: number): number {
  return Math.ceil(numChars / 4) * 3;
}

/**
 * The bytes of a data: URL. Its media type is not looked at: what a picture is, its bytes say.
 * @throws TesseraError `image_url_invalid`, `image_too_large` or `video_too_large`
 */
export function parseDataUrl(url: Uint8Array, param: string, kind: MediaKind = PICTURE): Uint8Array<ArrayBuffer> {
  const comma = url.subarray(0, MAX_HEADER_BYTES).indexOf(COMMA);
  const header = latin1(url.subarray(5, Math.max(comma, 5))).trimEnd().toLowerCase();
  if (comma < 0 || !(header === "base64" || header.endsWith(";base64"))) {
    throw new TesseraError("image_url_invalid", {
      message: `The data: URL is not valid. Use data:${kind.mediaType};base64, followed by the ${kind.noun} in base64.`,
      param,
    });
  }
  let payload = url.subarray(comma + 1);
  try {
    // Some clients percent-encode +, / and =.
    if (payload.includes(PERCENT)) payload = new TextEncoder().encode(decodeURIComponent(latin1(payload)));
    const padding = payload.indexOf(PADDING);
    const numDigits = padding < 0 ? payload.length : padding;
    if (Math.floor((numDigits * 3) / 4) > kind.maxBytes) throw tooLarge(kind, param);
    return decodeBase64(payload);
  } catch (error) {
    if (error instanceof TesseraError) throw error;
    throw new TesseraError("image_url_invalid", {
      message: `The data: URL's contents are not valid base64. Encode the ${kind.noun}'s bytes as standard base64.`,
      param,
    });
  }
}

/** @throws SyntaxError */
function decodeBase64(text: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(maxDataUrlBytes(text.length));
  let at = 0;
  let numWritten = 0;
  while (at < text.length) {
    const isLast = at + PIECE_BYTES >= text.length;
    const piece = latin1(text.subarray(at, at + PIECE_BYTES));
    if (!isLast && piece.includes("=")) throw new SyntaxError("padding inside");
    const lastChunkHandling = isLast ? "loose" : "stop-before-partial";
    const { read, written } = bytes.subarray(numWritten).setFromBase64(piece, { lastChunkHandling });
    if (read === 0) throw new SyntaxError("no digits");
    at += read;
    numWritten += written;
  }
  // A buffer of its own exact size can be handed to a worker without a copy.
  return numWritten === bytes.length ? bytes : new Uint8Array(bytes.buffer.transfer(numWritten));
}

function latin1(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes);
}
