/** Long data: URLs taken out of a JSON text while it is still bytes, so that pictures never become strings in the heap. */
import { newId } from "@tessera/shared";

/** Shorter strings are left where they are. */
const MIN_BLOB_BYTES = 4_096;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const DATA = new TextEncoder().encode("data:");

/** The data: URLs of one body, by the name that stands in their place. A name cannot be guessed, so not typed either. */
export type Blobs = ReadonlyMap<string, Uint8Array<ArrayBuffer>>;

/** A body in two parts. */
export interface Extracted {
  /** The JSON text with names in place of data: URLs; valid if and only if the body is. */
  readonly rest: Uint8Array<ArrayBuffer>;
  /** Views of the body. */
  readonly blobs: Blobs;
}

/**
 * Finds the strings of a JSON text and takes out those that are long data: URLs without escapes. Outside of strings
 * JSON has no quotes, so strings are what stands between an odd quote and the next one that is not escaped.
 */
export function extractBlobs(body: Uint8Array<ArrayBuffer>): Extracted {
  const blobs = new Map<string, Uint8Array<ArrayBuffer>>();
  const pieces: Uint8Array[] = [];
  const prefix = newId("data:blob");
  let copied = 0;
  for (let open = body.indexOf(QUOTE); open >= 0;) {
    const close = closingQuote(body, open + 1);
    if (close < 0) break;
    const content = body.subarray(open + 1, close);
    if (content.length >= MIN_BLOB_BYTES && isDataUrl(content) && !content.includes(BACKSLASH)) {
      const name = `${prefix}-${blobs.size}`;
      blobs.set(name, content);
      pieces.push(body.subarray(copied, open + 1), new TextEncoder().encode(name));
      copied = close;
    }
    open = body.indexOf(QUOTE, close + 1);
  }
  if (blobs.size === 0) return { rest: body, blobs };
  pieces.push(body.subarray(copied));
  return { rest: concat(pieces), blobs };
}

/** For JSON.parse: puts data: URLs back wherever they are no picture's `url`. */
export function restoreBlobs(blobs: Blobs): (key: string, value: unknown) => unknown {
  return (key, value) => {
    const blob = typeof value === "string" && key !== "url" ? blobs.get(value) : undefined;
    // Parsed, not only decoded: control characters are as wrong here as anywhere in JSON.
    return blob === undefined ? value : JSON.parse(`"${new TextDecoder("utf-8", { fatal: true }).decode(blob)}"`);
  };
}

function closingQuote(body: Uint8Array, from: number): number {
  for (let at = body.indexOf(QUOTE, from); at >= 0; at = body.indexOf(QUOTE, at + 1)) {
    let numBackslashes = 0;
    while (at - 1 - numBackslashes >= from && body[at - 1 - numBackslashes] === BACKSLASH) numBackslashes++;
    if (numBackslashes % 2 === 0) return at;
  }
  return -1;
}

function isDataUrl(content: Uint8Array): boolean {
  // 0x20 makes letters lower-case; the colon has that bit set already.
  return DATA.every((byte, i) => (content[i]! | 0x20) === byte);
}

/** The pieces in one buffer. */
export function concat(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
