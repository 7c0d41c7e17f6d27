/** Which URLs this server may connect to when a user names them: pictures, videos, callbacks. */
import { isPublicAddress, parseV4, parseV6 } from "./address.ts";
import { HostList, hostOf, portOf } from "./host_list.ts";

/** Why a URL is not connected to; `invalid` lies in the URL itself, `forbidden` in where it leads. */
export type Refusal = "invalid" | "credentials" | "forbidden";

export interface RuleOptions {
  /** Any address and port, over http: too; only `deny` holds still. */
  readonly allowPrivate: boolean;
  /** Only these, unless empty. */
  readonly allow?: HostList;
  /** Never these; before all else. */
  readonly deny?: HostList;
  /** May be private, over http: and on any port. */
  readonly trust?: HostList;
  /** Tests name the port of a server of their own beside 80 and 443. */
  readonly ports?: readonly number[];
}

const WEB_PORTS = [80, 443];

export class OutboundRules {
  readonly #allowPrivate: boolean;
  readonly #allow: HostList;
  readonly #deny: HostList;
  readonly #trust: HostList;
  readonly #ports: readonly number[];

  constructor(options: RuleOptions) {
    this.#allowPrivate = options.allowPrivate;
    this.#allow = options.allow ?? HostList.EMPTY;
    this.#deny = options.deny ?? HostList.EMPTY;
    this.#trust = options.trust ?? HostList.EMPTY;
    this.#ports = options.ports ?? WEB_PORTS;
  }

  /** What is wrong with a URL before its name is looked up; null when nothing is. */
  checkUrl(url: URL): Refusal | null {
    if (url.hostname === "" || (url.protocol !== "https:" && url.protocol !== "http:")) return "invalid";
    if (url.username !== "" || url.password !== "") return "credentials";
    const host = hostOf(url);
    if (parseV4(host) !== null || parseV6(host) !== null) return this.checkAddresses(url, [host]);
    if (this.#deny.hasName(url)) return "forbidden";
    if (!this.#allow.isEmpty && !this.#allow.hasNetworks && !this.#allow.hasName(url)) return "forbidden";
    const mayBeTrusted = this.#isTrustedByName(url) || this.#trust.hasNetworks;
    return mayBeTrusted ? null : this.#checkTransport(url);
  }

  /** The same when the addresses are known: every one of them must be allowed, whichever is connected to. */
  checkAddresses(url: URL, addresses: readonly string[]): Refusal | null {
    const every = (holds: (address: string) => boolean) => addresses.every(holds);
    if (this.#deny.hasName(url) || addresses.some((address) => this.#deny.hasAddress(address, url))) return "forbidden";
    const isAllowed = this.#allow.isEmpty || this.#allow.hasName(url) ||
      every((address) => this.#allow.hasAddress(address, url));
    if (!isAllowed) return "forbidden";
    if (this.#isTrustedByName(url) || every((address) => this.#trust.hasAddress(address, url))) return null;
    return every((address) => isPublicAddress(address) || this.#trust.hasAddress(address, url))
      ? this.#checkTransport(url)
      : "forbidden";
  }

  #isTrustedByName(url: URL): boolean {
    return this.#allowPrivate || this.#trust.hasName(url);
  }

  #checkTransport(url: URL): Refusal | null {
    if (url.protocol !== "https:") return "invalid";
    return this.#ports.includes(portOf(url)) ? null : "forbidden";
  }
}
