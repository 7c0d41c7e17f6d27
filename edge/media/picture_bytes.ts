/** The bytes of one picture or video, from the request itself or from the web, every one of them held on the ticket. */
import type { Ticket } from "../admission.ts";
import type { Blobs } from "../api/blobs.ts";
import type { PictureSource } from "../api/pictures.ts";
import { isDataUrl, maxDataUrlBytes, parseDataUrl } from "./data_url.ts";
import type { OutboundSettings } from "../outbound/request.ts";
import { fetchPicture, type IsEnough } from "./fetch_picture.ts";
import { type MediaKind, PICTURE } from "./kind.ts";

export interface FetchSettings {
  readonly outbound: OutboundSettings;
  readonly fetchMs: number;
}

export interface BytesRequest {
  /** Bytes of the data: URLs that were taken out of the body. */
  readonly blobs: Blobs;
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
  { blobs, ticket, signal, kind = PICTURE, isEnough }: BytesRequest,
): Promise<PictureBytes> {
  const inline = blobs.get(url) ?? (isDataUrl(url) ? new TextEncoder().encode(url) : null);
  if (inline !== null) {
    const maxBytes = maxDataUrlBytes(inline.length);
    ticket.hold(maxBytes);
    const bytes = parseDataUrl(inline, param, kind);
    ticket.release(maxBytes - bytes.length);
    return { bytes, fetchMs: 0 };
  }
  const began = performance.now();
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
