/** Makes the configuration of a fleet's nats-server: an account for each kind of process, joined by exactly RIGHTS. */
import { RIGHTS, type Rights } from "./rights.ts";

/** Names of the users that processes connect as: one for each edge, so that none hears another's tokens. */
export interface FleetUsers {
  readonly edges: readonly string[];
  readonly workers: readonly string[];
  readonly deliverers: readonly string[];
}

type Kind = keyof typeof RIGHTS;
const ACCOUNTS: Record<Kind, string> = { edge: "EDGES", worker: "WORKERS", deliverer: "DELIVERERS" };
/** Who they talk with beside STORE. */
const OTHER: Partial<Record<Kind, Kind>> = { edge: "worker", worker: "edge" };
const KINDS: readonly Kind[] = ["edge", "worker", "deliverer"];
/** Where JetStream sends what a consumer of an edge hears: into its inbox. */
const INBOXES = "_INBOX.>";

const HEAD =
  `# The bus of a fleet. Made by \`deno task fleet-conf\` from infra/nats/rights.ts, which says who may do what: change that.
#
# Accounts, each a world of its own: EDGES, WORKERS, DELIVERERS (of webhooks), and STORE, which has JetStream. They share the subjects that
# are exported and imported here and no others. In EDGES each edge is a user of its own, which hears its own tokens alone.
#
#   deno task fleet-conf --edges edge_a,edge_b,edge_c --workers worker > fleet.conf     # with users of your own
#   export EDGE_A_PASSWORD=... EDGE_B_PASSWORD=... WORKER_PASSWORD=... DELIVERER_PASSWORD=... OPERATOR_PASSWORD=...
#   nats-server -t -c infra/nats/fleet.conf          # check
#   nats-server -c infra/nats/fleet.conf
#
#   edge:   TESSERA_NATS_URL=nats://edge_a:$EDGE_A_PASSWORD@host:4222  TESSERA_NATS_NAME=edge_a
#   worker: TESSERA_NATS_URL=nats://worker:$WORKER_PASSWORD@host:4222  TESSERA_NATS_NAME=worker
#
# TESSERA_NATS_NAME is the user's name: the subjects a process listens on, and its inbox, begin with it. Streams are made
# by whoever comes first; the operator may make them before, with replicas or other sizes, and they are used as they are.
# For TLS and web sockets see tls.conf.

max_payload: 8MB

# A claim, and the question whether one lives, are answered on the inbox of who asked.
RESPONSES: { max: 1, ttl: "1m" }
`;

/** Text of the configuration. Passwords are variables of the environment: `EDGE_A_PASSWORD` is edge_a's. */
export function fleetConf(users: FleetUsers): string {
  const named = { edge: users.edges, worker: users.workers, deliverer: users.deliverers };
  for (const name of [...users.edges, ...users.workers, ...users.deliverers]) {
    if (!/^[A-Za-z0-9_-]+$/.test(name)) {
      throw new Error(`Cannot make user "${name}": expected letters, digits, - and _, as in a subject`);
    }
  }
  const publish = KINDS.map((kind) => `${publishName(kind)}: ${list(publishes(RIGHTS[kind]), "")}\n`);
  const accounts = [store(), ...KINDS.map((kind) => account(kind, named[kind]))];
  return `${HEAD}\n${publish.join("\n")}\naccounts {\n${accounts.join("\n")}\n` +
    `  SYS { users: [{ user: sys, password: $OPERATOR_PASSWORD }] }\n}\nsystem_account: SYS\n`;
}

const publishName = (kind: Kind) => `${kind.toUpperCase()}_PUBLISH`;

function publishes({ store, asks, tells, asksOwn }: Rights): string[] {
  return [...store, ...asks, ...tells, ...asksOwn];
}

/** The account with JetStream: its API and what is kept, each for those who need it. */
function store(): string {
  const services = new Map<string, string[]>();
  for (const kind of KINDS) {
    for (const subject of RIGHTS[kind].store) {
      services.set(subject, [...services.get(subject) ?? [], ACCOUNTS[kind]]);
    }
  }
  const exports = [...services].map(([subject, accounts]) => {
    // A pull is answered by many messages.
    const type = subject.includes(".MSG.NEXT.") ? ", response_type: stream" : "";
    return `{ service: "${subject}"${type}, accounts: [${accounts.join(", ")}] }`;
  });
  for (const kind of KINDS) {
    const heard = [...RIGHTS[kind].storeTells, ...(listens(kind) ? [INBOXES] : [])];
    for (const subject of heard) exports.push(`{ stream: "${subject}", accounts: [${ACCOUNTS[kind]}] }`);
  }
  return `  STORE {
    jetstream: enabled
    exports: ${block(exports)}
    # For people: looks at streams, reads dead letters. Not for processes.
    users: [{ user: operator, password: $OPERATOR_PASSWORD }]
  }`;
}

/** Whether JetStream sends to it by itself, beyond answers. */
function listens(kind: Kind): boolean {
  return RIGHTS[kind].store.some((subject) => subject.startsWith("$JS.FC."));
}

function account(kind: Kind, users: readonly string[]): string {
  const own = RIGHTS[kind];
  const otherKind = OTHER[kind];
  const other = otherKind === undefined ? { asks: [], tells: [] } : RIGHTS[otherKind];
  const theirs = otherKind === undefined ? "" : ACCOUNTS[otherKind];
  const from = (account: string, what: "service" | "stream") => (subject: string) =>
    `{ ${what}: { account: ${account}, subject: "${subject}" } }`;
  const imports = [
    ...own.store.map(from("STORE", "service")),
    ...own.storeTells.map(from("STORE", "stream")),
    ...(listens(kind) ? [from("STORE", "stream")(INBOXES)] : []),
    ...own.asks.map(from(theirs, "service")),
    ...other.tells.map(from(theirs, "stream")),
  ];
  const exports = [
    ...other.asks.map((subject) => `{ service: "${subject}", accounts: [${theirs}] }`),
    ...own.tells.map((subject) => `{ stream: "${subject}", accounts: [${theirs}] }`),
  ];
  return `  ${ACCOUNTS[kind]} {
    imports: ${block(imports)}
    exports: ${block(exports)}
    users: ${block(users.map((name) => user(kind, name)))}
  }`;
}

function user(kind: Kind, name: string): string {
  const { hears, storeTells } = RIGHTS[kind];
  const subjects = [...hears.map((subject) => subject.replace("{user}", name)), ...storeTells, `_INBOX.${name}.>`];
  return `{
        user: ${name}, password: $${name.replaceAll("-", "_").toUpperCase()}_PASSWORD
        permissions: {
          publish: { allow: $${publishName(kind)} }
          subscribe: { allow: ${list(subjects, "          ")} }
          allow_responses: $RESPONSES
        }
      }`;
}

function list(subjects: readonly string[], indent: string): string {
  return `[\n${subjects.map((subject) => `${indent}  "${subject}"\n`).join("")}${indent}]`;
}

function block(entries: readonly string[]): string {
  return `[\n${entries.map((entry) => `      ${entry}\n`).join("")}    ]`;
}
