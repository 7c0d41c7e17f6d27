/** One HTTP request to where a user pointed: no redirects, nothing of ours sent along, the checked address connected to. */
import { lookup as systemLookup, type LookupAddress } from "node:dns";
import http, { type IncomingMessage, type RequestOptions } from "node:http";
import https from "node:https";
import { rootCertificates } from "node:tls";
import { MAX_ADDRESSES, MAX_RESPONSE_HEADER_BYTES } from "@tessera/shared";
import type { OutboundRules, Refusal } from "./rules.ts";

/** All addresses of a host name. */
export type Resolve = (hostname: string) => Promise<readonly LookupAddress[]>;

/** How one connects to where users point. */
export interface OutboundSettings {
  readonly rules: OutboundRules;
  /** The system's resolver when absent. */
  readonly resolve?: Resolve;
  /** Certificates of authorities in PEM, trusted beside the public ones. */
  readonly ca?: string;
}

export interface OutboundRequest {
  readonly method?: "GET" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal: AbortSignal;
}

/** The URL, or what its name resolves to, breaks a rule. Nothing was sent. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(`Cannot connect: the URL is ${refusal === "forbidden" ? "forbidden" : "not valid"}`);
    this.refusal = refusal;
  }
}

const resolveBySystem: Resolve = (hostname) =>
  new Promise((resolve, reject) => {
    systemLookup(hostname, { all: true }, (error, addresses) => error === null ? resolve(addresses) : reject(error));
  });

/**
 * The head of the answer; the caller reads or destroys it. The name is looked up once, for this connection alone, and
 * the addresses that were checked are the only ones tried: a second look-up, with another answer, never happens.
 * @throws RefusedError, or what the connection broke with
 */
export function sendOutbound(
  url: URL,
  { rules, resolve = resolveBySystem, ca = "" }: OutboundSettings,
  { method = "GET", headers, body, signal }: OutboundRequest,
): Promise<IncomingMessage> {
  return new Promise((fulfil, reject) => {
    const refusal = rules.checkUrl(url);
    if (refusal !== null) return reject(new RefusedError(refusal));
    const checkedLookup = async (hostname: string) => {
      const addresses = (await resolve(hostname)).slice(0, MAX_ADDRESSES);
      if (addresses.length === 0) throw new Error("Cannot resolve: the name has no address");
      const refusal = rules.checkAddresses(url, addresses.map(({ address }) => address));
      if (refusal !== null) throw new RefusedError(refusal);
      return addresses;
    };
    const settings: RequestOptions & { ca?: string[] } = {
      method,
      // A connection of its own: a shared one would be used again without a look-up.
      agent: false,
      signal,
      maxHeaderSize: MAX_RESPONSE_HEADER_BYTES,
      headers: { ...headers, ...(body === undefined ? {} : { "content-length": String(body.length) }) },
      lookup: (hostname, wanted, callback) => {
        checkedLookup(hostname).then((addresses) => {
          const first = addresses[0]!;
          if (wanted.all === true) callback(null, [...addresses]);
          else callback(null, first.address, first.family);
        }, (error) => {
          reject(error);
          callback(error, "", 4);
        });
      },
      ...(ca === "" || url.protocol === "http:" ? {} : { ca: [...rootCertificates, ca] }),
    };
    const outgoing = (url.protocol === "https:" ? https : http).request(url, settings, fulfil);
    // Whoever was connected to by any other way than the look-up above, an address in the URL included, is checked too.
    outgoing.on("socket", (socket) => {
      socket.on("connect", () => {
        const address = socket.remoteAddress;
        const refusal = address === undefined ? null : rules.checkAddresses(url, [address]);
        if (refusal !== null) outgoing.destroy(new RefusedError(refusal));
      });
    });
    outgoing.on("error", reject);
    outgoing.on("upgrade", (_response, socket) => {
      socket.destroy();
      reject(new Error("Cannot read the answer: the server changed the protocol"));
    });
    // A look-up or a connection that hears of no abort ends nobody's wait otherwise.
    const giveUp = () => {
      outgoing.destroy();
      reject(signal.reason);
    };
    if (signal.aborted) giveUp();
    else signal.addEventListener("abort", giveUp, { once: true });
    outgoing.on("close", () => signal.removeEventListener("abort", giveUp));
    outgoing.end(body);
  });
}
