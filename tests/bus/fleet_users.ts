/** The users of infra/nats/fleet.conf as tests connect as them. */
import type { NatsConnection } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import type { NatsServerOptions } from "@tessera/infra/nats";

const CONF = new URL("../../infra/nats/fleet.conf", import.meta.url).pathname;
/** By user. */
const PASSWORDS = { edge_a: "a", edge_b: "b", worker: "w", deliverer: "d", operator: "o" };
export type User = keyof typeof PASSWORDS;
export const PASSWORD_VARIABLES = Object.fromEntries(
  Object.entries(PASSWORDS).map(([user, password]) => [`${user.toUpperCase()}_PASSWORD`, password]),
);

/** What a server of a fleet is started with. */
export const FLEET_SERVER: NatsServerOptions = { args: ["--config", CONF], env: PASSWORD_VARIABLES };

export function urlOf(base: string, user: User): string {
  return base.replace("nats://", `nats://${user}:${PASSWORDS[user]}@`);
}

/** Environment of a process that is that user. */
export function environmentOf(base: string, user: User): Record<string, string> {
  return { TESSERA_NATS_URL: urlOf(base, user), TESSERA_NATS_NAME: user };
}

export function connectAs(base: string, user: User): Promise<NatsConnection> {
  const pass = PASSWORDS[user];
  return connect({ servers: base, user, pass, inboxPrefix: `_INBOX.${user}`, reconnect: false });
}
