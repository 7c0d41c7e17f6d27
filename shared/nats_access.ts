/** What lets a process onto the bus: credentials, certificates, and the name of its NATS user. Opens no connection itself. */
import type { Authenticator, ConnectionOptions, NatsConnection, WsConnectionOptions } from "@nats-io/nats-core";
import type { VariableName } from "./env.ts";
import { newId } from "./ids.ts";
import { tolerateLateResets } from "./late_resets.ts";
import { parseServers } from "./nats_servers.ts";

/** Contents, not paths; empty: none. */
export interface NatsAccess {
  /** NATS user; where each has rights of its own, its subjects begin with its name. */
  readonly name: string;
  readonly creds: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export const NO_NATS_ACCESS: NatsAccess = { name: "", creds: "", ca: "", cert: "", key: "" };

export const NATS_ACCESS_VARIABLES = [
  "TESSERA_NATS_NAME",
  "TESSERA_NATS_CREDS",
  "TESSERA_NATS_CA",
  "TESSERA_NATS_CERT",
  "TESSERA_NATS_KEY",
] as const satisfies readonly VariableName[];

/**
 * Takes what the variables hold, or the files they name.
 * @throws Error naming the variable whose file cannot be read
 */
export function readNatsAccess(
  env: Readonly<Record<(typeof NATS_ACCESS_VARIABLES)[number], string>>,
  readFile: (path: string) => string,
): NatsAccess {
  const content = (name: (typeof NATS_ACCESS_VARIABLES)[number]) => {
    const value = env[name];
    if (value === "" || value.includes("-----BEGIN")) return value;
    try {
      return readFile(value);
    } catch (cause) {
      throw new Error(`${name}="${value}": ${cause instanceof Error ? cause.message : cause}`, { cause });
    }
  };
  return {
    name: env.TESSERA_NATS_NAME,
    creds: content("TESSERA_NATS_CREDS"),
    ca: content("TESSERA_NATS_CA"),
    cert: content("TESSERA_NATS_CERT"),
    key: content("TESSERA_NATS_KEY"),
  };
}

/** Id of an edge or worker: below the name of its NATS user, where it has one, so that rights can be told by subject. */
export function busId(kind: "edge" | "worker" | "deliverer", { name }: NatsAccess): string {
  const id = newId(kind);
  return name === "" ? id : `${name}.${id}`;
}

/** Where answers to whoever has that id are to go; a prefix for inboxes. */
export function inboxPrefix(id: string): string {
  const dot = id.indexOf(".");
  return dot === -1 ? "_INBOX" : `_INBOX.${id.slice(0, dot)}`;
}

/** The client library's ways to connect, given because this file opens nothing. */
export interface NatsConnectors {
  readonly connect: (options: ConnectionOptions) => Promise<NatsConnection>;
  readonly wsconnect: (options: WsConnectionOptions) => Promise<NatsConnection>;
  readonly credsAuthenticator: (creds: Uint8Array) => Authenticator;
  /** A web socket that trusts `ca` and shows `cert`. */
  readonly openSocket: (url: string, tls: Pick<NatsAccess, "ca" | "cert" | "key">) => WebSocket;
}

/** Connects by the transport that the servers' scheme asks for. */
export function connectByScheme(
  connectors: NatsConnectors,
  list: string,
  access: NatsAccess,
  more: ConnectionOptions,
): Promise<NatsConnection> {
  const { transport, encrypted, urls, credentials } = parseServers(list);
  const { name, creds, ca, cert, key } = access;
  const options: ConnectionOptions = {
    servers: [...urls],
    ...credentials,
    ...(creds === "" ? {} : { authenticator: connectors.credsAuthenticator(new TextEncoder().encode(creds)) }),
    ...(name === "" ? {} : { inboxPrefix: `_INBOX.${name}` }),
    ...more,
  };
  const hasTls = ca !== "" || cert !== "";
  if (transport === "websocket") {
    if (!hasTls) return connectors.wsconnect(options);
    const wsFactory = (url: string) => Promise.resolve({ socket: connectors.openSocket(url, access), encrypted });
    return connectors.wsconnect({ ...options, wsFactory });
  }
  if (!encrypted && !hasTls) return connectors.connect(options);
  tolerateLateResets();
  const tls = {
    ...(ca === "" ? {} : { ca }),
    ...(cert === "" ? {} : { cert, key }),
  };
  return connectors.connect({ ...options, tls });
}

/** For Deno: its web sockets take certificates by way of an HTTP client. */
export function openSocket(url: string, { ca, cert, key }: Pick<NatsAccess, "ca" | "cert" | "key">): WebSocket {
  const client = Deno.createHttpClient({
    ...(ca === "" ? {} : { caCerts: [ca] }),
    ...(cert === "" ? {} : { cert, key }),
    // A web socket begins as HTTP/1.1.
    http1: true,
    http2: false,
  });
  return new WebSocket(url, { client } as unknown as string[]);
}
