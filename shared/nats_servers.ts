/** Reads the list of NATS servers: which transport it asks for, and the credentials in it. */

/** What `connect` needs to know. */
export interface BusServers {
  readonly transport: "tcp" | "websocket";
  readonly encrypted: boolean;
  /** Without credentials. */
  readonly urls: readonly string[];
  readonly credentials: { readonly user: string; readonly pass: string } | { readonly token: string } | null;
}

const SCHEMES: Record<string, { transport: BusServers["transport"]; encrypted: boolean }> = {
  "nats:": { transport: "tcp", encrypted: false },
  "tls:": { transport: "tcp", encrypted: true },
  "ws:": { transport: "websocket", encrypted: false },
  "wss:": { transport: "websocket", encrypted: true },
};

/**
 * Parses `nats://host:4222,nats://user:pass@other:4222`; a name without scheme is nats://.
 * @throws Error saying what is wrong, without the credentials
 */
export function parseServers(list: string): BusServers {
  const entries = list.split(",").map((entry) => entry.trim()).filter((entry) => entry !== "");
  if (entries.length === 0) throw new Error("expected nats://, tls://, ws:// or wss:// and a host");
  let scheme: string | null = null;
  let credentials: BusServers["credentials"] = null;
  const urls: string[] = [];
  for (const entry of entries) {
    const url = URL.parse(entry.includes("://") ? entry : `nats://${entry}`);
    if (url === null || url.hostname === "") {
      throw new Error("expected a URL with a host, such as nats://127.0.0.1:4222");
    }
    if (SCHEMES[url.protocol] === undefined) {
      throw new Error(`scheme ${url.protocol}// is none of nats://, tls://, ws://, wss://`);
    }
    if (scheme !== null && scheme !== url.protocol) throw new Error("expected one scheme for all servers");
    scheme = url.protocol;
    if (url.username !== "") {
      const user = decodeURIComponent(url.username);
      credentials ??= url.password === "" ? { token: user } : { user, pass: decodeURIComponent(url.password) };
    }
    const path = url.pathname === "/" ? "" : url.pathname;
    urls.push(`${url.protocol}//${url.host}${path}`);
  }
  return { ...SCHEMES[scheme ?? "nats:"]!, urls, credentials };
}
