/** Pictures and videos from the web: followed over a few redirects, within limits of size, time and type. */
import type { IncomingMessage } from "node:http";
import { MAX_REDIRECTS, MAX_URL_CHARS, TesseraError } from "@tessera/shared";
import { concat } from "../api/blobs.ts";
import { type OutboundSettings, RefusedError, sendOutbound } from "../outbound/request.ts";
import { timeLimit } from "../wait.ts";
import { type MediaKind, tooLarge } from "./kind.ts";

/** Asked now and then while a picture comes in, with what is there; `total` is the announced length, if one is. */
export type IsEnough = (beginning: Uint8Array<ArrayBuffer>, total: number | undefined) => Promise<boolean>;

/** Bytes after which `isEnough` is asked first; after that at each doubling. */
const FIRST_LOOK_BYTES = 64 * 1024;
/** Bytes that tell the type of a file. */
const SNIFF_BYTES = 16;

export interface FetchOptions extends OutboundSettings {
  readonly kind: MediaKind;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Where in the request, for errors. */
  readonly param: string;
  /** Called with the size of every piece before it is kept; throws to refuse it. */
  readonly onBytes: (numBytes: number) => void;
  /** Ends the download early: the beginning is all that is wanted. */
  readonly isEnough?: IsEnough;
}

/**
 * Fetches the bytes of a picture or video.
 * @throws TesseraError `image_url_invalid`, `image_url_forbidden`, `image_fetch_failed`, or the kind's for type and size
 */
export async function fetchPicture(address: string, options: FetchOptions): Promise<Uint8Array<ArrayBuffer>> {
  const { param, kind } = options;
  const timeoutMs = options.timeoutMs * kind.timeFactor;
  const message = `The ${kind.noun}'s server took longer than ${Math.round(timeoutMs / 1000)} s.`;
  const limit = timeLimit(timeoutMs, options.signal, () => new TesseraError("image_fetch_failed", { message, param }));
  try {
    return await follow(address, { ...options, signal: limit.signal });
  } catch (cause) {
    if (options.signal.aborted) throw new TesseraError("client_closed", { cause });
    const reason = limit.signal.reason;
    if (limit.signal.aborted && reason instanceof TesseraError) throw reason;
    if (cause instanceof TesseraError) throw cause;
    if (cause instanceof RefusedError) throw refused(cause, options);
    // Names, addresses and the resolver's words stay inside.
    throw new TesseraError("image_fetch_failed", {
      message: `The ${kind.noun} could not be fetched from its URL.`,
      param,
      cause,
    });
  } finally {
    limit.clear();
  }
}

async function follow(address: string, options: FetchOptions): Promise<Uint8Array<ArrayBuffer>> {
  let url = parse(address);
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const headers = { accept: options.kind.accept, "accept-encoding": "identity", "user-agent": "tessera" };
    const response = await sendOutbound(url, options, { headers, signal: options.signal });
    const status = response.statusCode ?? 0;
    const location = response.headers.location;
    if (status >= 300 && status < 400 && location !== undefined) {
      response.destroy();
      url = parse(location, url);
      continue;
    }
    if (status !== 200) {
      response.destroy();
      throw failed(`The ${options.kind.noun}'s server answered with status ${status}.`, options.param);
    }
    return await readAll(response, options);
  }
  throw failed(`The ${options.kind.noun}'s URL redirects more than ${MAX_REDIRECTS} times.`, options.param);
}

function parse(address: string, base?: URL): URL {
  const url = address.length > MAX_URL_CHARS ? null : URL.parse(address, base);
  if (url === null) throw new RefusedError("invalid");
  return url;
}

async function readAll(response: IncomingMessage, options: FetchOptions): Promise<Uint8Array<ArrayBuffer>> {
  const { kind, param } = options;
  const chunks: Uint8Array[] = [];
  const announced = response.headers["content-length"];
  const total = announced === undefined ? undefined : Number(announced);
  let numBytes = 0;
  let nextLook = FIRST_LOOK_BYTES;
  let isSniffed = false;
  try {
    if ((total ?? 0) > kind.maxBytes) throw tooLarge(kind, param);
    for await (const chunk of response as AsyncIterable<Uint8Array>) {
      numBytes += chunk.length;
      if (numBytes > kind.maxBytes) throw tooLarge(kind, param);
      options.onBytes(chunk.length);
      chunks.push(chunk);
      if (!isSniffed && numBytes >= SNIFF_BYTES) {
        isSniffed = true;
        // What is none of ours is not read to its end, however long it is.
        if (!kind.isKnown(concat(chunks))) throw new TesseraError(kind.unknownFormat, { param });
      }
      if (options.isEnough === undefined || numBytes < nextLook) continue;
      const beginning = concat(chunks);
      if (await options.isEnough(beginning, total)) return beginning;
      nextLook = numBytes * 2;
    }
  } finally {
    response.destroy();
  }
  if (!response.complete) {
    throw failed(`The ${kind.noun}'s server closed the connection too early.`, param);
  }
  return concat(chunks);
}

function failed(message: string, param: string): TesseraError {
  return new TesseraError("image_fetch_failed", { message, param });
}

function refused({ refusal }: RefusedError, { kind: { noun }, param }: FetchOptions): TesseraError {
  if (refusal === "forbidden") {
    const message = `The ${noun}'s URL may not be fetched from this server.`;
    return new TesseraError("image_url_forbidden", { message, param });
  }
  const message = refusal === "credentials"
    ? `The ${noun}'s URL must not hold credentials.`
    : `The ${noun}'s URL is not valid. Use https: or data: URLs.`;
  return new TesseraError("image_url_invalid", { message, param });
}
