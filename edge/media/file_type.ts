/** What a file is, told by its first bytes and never by a label. */
import type { VideoContainer } from "@tessera/shared";

/** As native/tiler/src/header.rs has them. */
const PICTURES = ["\xff\xd8\xff", "\x89PNG\r\n\x1a\n", "GIF87a", "GIF89a", "BM"];

/** Whether these can be the first bytes of a picture that the tiler reads; 12 are enough. */
export function isPicture(bytes: Uint8Array): boolean {
  const beginning = String.fromCharCode(...bytes.subarray(0, 12));
  return PICTURES.some((magic) => beginning.startsWith(magic)) || /^RIFF[^]{4}WEBP/.test(beginning);
}

/** The container of a video; null: nothing that is read. 12 bytes are enough. */
export function containerOf(bytes: Uint8Array): VideoContainer | null {
  const at = (offset: number) => String.fromCharCode(...bytes.subarray(offset, offset + 4));
  if (bytes.length < 12) return null;
  if (["ftyp", "moov", "mdat", "wide", "free", "skip", "pnot"].includes(at(4))) return "mov";
  if (at(0) === "\x1aE\xdf\xa3") return "matroska";
  return at(0) === "GIF8" ? "gif" : null;
}
