// Owns where PNG and WebP keep their Exif block: it may stand behind the pixels, and a long file is not read for it.

const PNG_HEADER_BYTES = 33;
const WEBP_CHUNKS_AT = 12;

/** A short file with the same header and the same Exif block, for the header's reader. */
export function withoutPixels(bytes: Uint8Array, format: "png" | "webp"): Uint8Array {
  const isPng = format === "png";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wanted = isPng ? "eXIf" : "EXIF";
  // PNG: length, kind, contents, checksum. RIFF: kind, length, contents, padding to even.
  let at = isPng ? 8 : WEBP_CHUNKS_AT;
  let headerEnd = isPng ? PNG_HEADER_BYTES : bytes.length;
  while (at + 8 <= bytes.length) {
    const length = view.getUint32(isPng ? at : at + 4, !isPng);
    const kind = String.fromCharCode(...bytes.subarray(isPng ? at + 4 : at, isPng ? at + 8 : at + 4));
    const next = at + (isPng ? 12 + length : 8 + length + (length & 1));
    if (!isPng && at === WEBP_CHUNKS_AT) headerEnd = Math.min(next, bytes.length);
    if (kind === wanted) return joined(bytes.subarray(0, headerEnd), bytes.subarray(at, Math.min(next, bytes.length)));
    at = next;
  }
  // Only the extended kind of WebP has an Exif block at all; of the others the first chunk is the picture.
  return bytes.subarray(0, Math.min(headerEnd, 64 * 1024));
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
