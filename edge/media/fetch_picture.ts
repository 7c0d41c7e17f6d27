/** Pictures and videos from the web: https: with a size cap, a time limit, redirects by hand, and no way into private networks. */
import { lookup as systemLookup, type LookupAddress } from "node:dns";
import http, { type IncomingMessage, type RequestOptions } from "node:http";
import https from "node:https";
import { MAX_REDIRECTS, TesseraError } from "@tessera/shared";
import { concat } from "../api/blobs.ts";
import { timeLimit } from "../wait.ts";
import { isPublicAddress, parseV4, parseV6 } from "./address.ts";
import { type MediaKind, tooLarge } from "./kind.ts";

/** All addresses of a host name. */
export type Resolve = (hostname: string) => Promise<readonly LookupAddress[]>;

/** Asked now and then while a picture comes in, with what is there; `total` is the announced length, if one is. */
export type IsEnough = (beginning: Uint8Array<ArrayBuffer>, total: number | undefined) => Promise<boolean>;

/** Bytes after which `isEnough` is asked first; after that at each doubling. */
const FIRST_LOOK_BYTES = 64 * 1024;

export interface FetchOptions {
  readonly kind: MediaKind;
  readonly allowPrivate: boolean;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Where in the request, for errors. */
  readonly param: string;
  /** Called with the size of every piece before it is kept; throws to refuse it. */
  readonly onBytes: (numBytes: number) => void;
  /** Ends the download early: the beginning is all that is wanted. */
  readonly isEnough?: IsEnough;
  /** The system's resolver when absent. */
  readonly resolve?: Resolve;
}

const resolveBySystem: Resolve = (hostname) =>
  new Promise((resolve, reject) => {
    systemLookup(hostname, { all: true }, (error, addresses) => error === null ? resolve(addresses) : reject(error));
  });

/**
 * Fetches the bytes of a picture or video.
 * @throws TesseraError `image_url_invalid`, `image_url_forbidden`, `image_fetch_failed` or the kind's for size
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
  let url = checkUrl(URL.parse(address), options);
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const response = await request(url, options);
    const status = response.statusCode ?? 0;
    const location = response.headers.location;
    if (status >= 300 && status < 400 && location !== undefined) {
      response.destroy();
      url = checkUrl(URL.parse(location, url), options);
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

function checkUrl(url: URL | null, options: FetchOptions): URL {
  const { param, allowPrivate, kind: { noun } } = options;
  const isAllowed = url?.protocol === "https:" || (url?.protocol === "http:" && allowPrivate);
  if (url === null || url.hostname === "" || !isAllowed) {
    const message = `The ${noun}'s URL is not valid. Use https: or data: URLs.`;
    throw new TesseraError("image_url_invalid", { message, param });
  }
  if (url.username !== "" || url.password !== "") {
    throw new TesseraError("image_url_invalid", { message: `The ${noun}'s URL must not hold credentials.`, param });
  }
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const isLiteral = parseV4(host) !== null || parseV6(host) !== null;
  if (isLiteral && !allowPrivate && !isPublicAddress(host)) throw forbidden(options);
  return url;
}

/** One request, no redirects. The address that was checked is the one connected to: a second look-up never happens. */
function request(url: URL, options: FetchOptions): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const settings: RequestOptions = {
      // A connection of its own: a shared one would be used again without a look-up.
      agent: false,
      signal: options.signal,
      headers: { accept: options.kind.accept, "accept-encoding": "identity", "user-agent": "tessera" },
      lookup: (hostname, wanted, callback) => {
        checkedLookup(hostname, options).then((addresses) => {
          const first = addresses[0]!;
          if (wanted.all === true) callback(null, [...addresses]);
          else callback(null, first.address, first.family);
        }, (error) => {
          reject(error);
          callback(error, "", 4);
        });
      },
    };
    const client = url.protocol === "https:" ? https : http;
    const outgoing = client.get(url, settings, resolve);
    outgoing.on("error", reject);
  });
}

async function checkedLookup(hostname: string, options: FetchOptions): Promise<readonly LookupAddress[]> {
  const addresses = await (options.resolve ?? resolveBySystem)(hostname);
  if (addresses.length === 0) throw failed(`The ${options.kind.noun}'s host name has no address.`, options.param);
  if (!options.allowPrivate && addresses.some(({ address }) => !isPublicAddress(address))) {
    throw forbidden(options);
  }
  return addresses;
}

async function readAll(response: IncomingMessage, options: FetchOptions): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  const announced = response.headers["content-length"];
  const total = announced === undefined ? undefined : Number(announced);
  let numBytes = 0;
  let nextLook = FIRST_LOOK_BYTES;
  try {
    if ((total ?? 0) > options.kind.maxBytes) throw tooLarge(options.kind, options.param);
    for await (const chunk of response as AsyncIterable<Uint8Array>) {
      numBytes += chunk.length;
      if (numBytes > options.kind.maxBytes) throw tooLarge(options.kind, options.param);
      options.onBytes(chunk.length);
      chunks.push(chunk);
      if (options.isEnough === undefined || numBytes < nextLook) continue;
      const beginning = concat(chunks);
      if (await options.isEnough(beginning, total)) return beginning;
      nextLook = numBytes * 2;
    }
  } finally {
    response.destroy();
  }
  if (!response.complete) {
    throw failed(`The ${options.kind.noun}'s server closed the connection too early.`, options.param);
  }
  return concat(chunks);
}

function failed(message: string, param: string): TesseraError {
  return new TesseraError("image_fetch_failed", { message, param });
}

function forbidden({ kind, param }: FetchOptions): TesseraError {
  const message = `The ${kind.noun}'s URL may not be fetched from this server.`;
  return new TesseraError("image_url_forbidden", { message, param });
}
