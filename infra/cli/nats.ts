/** One connection to the bus for a command: tried once, so that a wrong address is told at once. */
import { credsAuthenticator, type NatsConnection, wsconnect } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { connectByScheme, type NatsAccess, openSocket } from "@tessera/shared";
import { UsageError } from "./usage.ts";

const CONNECT_TIMEOUT_MS = 5_000;

/** @throws UsageError when nobody answers there, or does not let us in */
export async function connectToNats(url: string, access: NatsAccess): Promise<NatsConnection> {
  try {
    return await connectByScheme({ connect, wsconnect, credsAuthenticator, openSocket }, url, access, {
      name: "tessera-cli",
      timeout: CONNECT_TIMEOUT_MS,
      reconnect: false,
    });
  } catch (error) {
    throw new UsageError(`Cannot connect to NATS: ${error instanceof Error ? error.message : error}.`);
  }
}
