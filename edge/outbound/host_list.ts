/** Lists of hosts and networks, as an operator writes them: `example.org, *.example.org, 10.0.0.0/8, minio:9000`. */
import { isWithin, type Network, parseNetwork } from "./address.ts";

interface Entry {
  /** In lower case, without a dot at the end; `*.` before it: every name below it. */
  readonly name: string | null;
  readonly network: Network | null;
  /** Any port where absent. */
  readonly port: number | null;
}

const NAME = /^(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/;

export class HostList {
  readonly #entries: readonly Entry[];

  private constructor(entries: readonly Entry[]) {
    this.#entries = entries;
  }

  static readonly EMPTY: HostList = new HostList([]);

  /** @throws Error naming the entry that is neither a name nor a network */
  static parse(text: string): HostList {
    return new HostList(text.split(/[\s,]+/).filter((entry) => entry !== "").map(parseEntry));
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  get hasNetworks(): boolean {
    return this.#entries.some(({ network }) => network !== null);
  }

  /** Whether a URL's host is listed by its name. */
  hasName(url: URL): boolean {
    const host = hostOf(url);
    return this.#entries.some(({ name, port }) =>
      name !== null && isPort(port, url) && (name.startsWith("*.") ? host.endsWith(name.slice(1)) : host === name)
    );
  }

  /** Whether an address that the URL's host has is listed. */
  hasAddress(address: string, url: URL): boolean {
    return this.#entries.some(({ network, port }) =>
      network !== null && isPort(port, url) && isWithin(address, network)
    );
  }
}

/** The host of a URL as lists have it: a name without a dot at the end, an address without brackets. */
export function hostOf(url: URL): string {
  return url.hostname.toLowerCase().replace(/^\[|\]$/g, "").replace(/\.$/, "");
}

/** The port that is connected to. */
export function portOf(url: URL): number {
  return url.port === "" ? (url.protocol === "http:" ? 80 : 443) : Number(url.port);
}

function isPort(port: number | null, url: URL): boolean {
  return port === null || port === portOf(url);
}

function parseEntry(text: string): Entry {
  const network = parseNetwork(text);
  if (network !== null) return { name: null, network, port: null };
  const [, rest, port] = /^(.*?)(?::(\d{1,5}))?$/.exec(text.toLowerCase())!;
  const literal = parseNetwork(rest!);
  const entry = { network: literal, port: port === undefined ? null : Number(port) };
  if (literal !== null) return { ...entry, name: null };
  const name = rest!.replace(/\.$/, "");
  if (!NAME.test(name)) throw new Error(`"${text}" is neither a host name nor a network`);
  return { ...entry, name };
}
