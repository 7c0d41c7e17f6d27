/** The bytes of one picture or video, from the request, the files or the web, every one of them held on the ticket. */
import { isListId } from "@tessera/shared";
import type { Ticket } from "../admission.ts";
import type { Blobs } from "../api/blobs.ts";
import type { PictureSource } from "../api/pictures.ts";
import { isDataUrl, maxDataUrlBytes, parseDataUrl } from "./data_url.ts";
import type { OutboundSettings } from "../outbound/request.ts";
import { fetchPicture, type IsEnough } from "./fetch_picture.ts";
import { type MediaKind, PICTURE, tooLarge } from "./kind.ts";

/**
 * Reads a stored file.
 * @param hold called with its size before anything is read; throws to refuse it
 */
export type ReadFile = (
  id: string,
  param: string,
  hold: (numBytes: number) => void,
) => Promise<Uint8Array<ArrayBuffer>>;

export interface FetchSettings {
  readonly readFile: ReadFile;
  readonly outbound: OutboundSettings;
  readonly fetchMs: number;
}

export interface BytesRequest {
  /** Bytes of the data: URLs that were taken out of the body. */
  readonly blobs: Blobs;
  /** Files that came with the request, by the name that stands in their `url`; held on the ticket already. */
  readonly uploads?: Blobs;
  readonly ticket: Ticket;
  readonly signal: AbortSignal;
  /** A picture when absent. */
  readonly kind?: MediaKind;
  /** Ends a download early. */
  readonly isEnough?: IsEnough;
}

export interface PictureBytes {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Download, in ms; 0 for what came with the request. */
  readonly fetchMs: number;
}

/** @throws TesseraError naming the picture */
export async function pictureBytes(
  { url, param }: PictureSource,
  settings: FetchSettings,
  { blobs, uploads, ticket, signal, kind = PICTURE, isEnough }: BytesRequest,
): Promise<PictureBytes> {
  const upload = uploads?.get(url);
  if (upload !== undefined) {
    if (upload.length > kind.maxBytes) throw tooLarge(kind, param);
    // A copy: whoever cuts it takes the buffer away, and the same file may stand in two places.
    ticket.hold(upload.length);
    return { bytes: upload.slice(), fetchMs: 0 };
  }
  const inline = blobs.get(url) ?? (isDataUrl(url) ? new TextEncoder().encode(url) : null);
  if (inline !== null) {
    const maxBytes = maxDataUrlBytes(inline.length);
    ticket.hold(maxBytes);
    const bytes = parseDataUrl(inline, param, kind);
    ticket.release(maxBytes - bytes.length);
    return { bytes, fetchMs: 0 };
  }
  const began = performance.now();
  if (isListId("file", url)) {
    const bytes = await settings.readFile(url, param, (numBytes) => {
      if (numBytes > kind.maxBytes) throw tooLarge(kind, param);
      ticket.hold(numBytes);
    });
    return { bytes, fetchMs: performance.now() - began };
  }
  const bytes = await fetchPicture(url, {
    ...settings.outbound,
    kind,
    timeoutMs: settings.fetchMs,
    signal,
    param,
    onBytes: (numBytes) => ticket.hold(numBytes),
    ...(isEnough === undefined ? {} : { isEnough }),
  });
  return { bytes, fetchMs: performance.now() - began };
}
