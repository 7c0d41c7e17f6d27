/** `tessera keys`: makes, lists and revokes API keys, in the bus's bucket itself, so that the first needs no key. */
import { type KV, Kvm } from "@nats-io/kv";
import {
  ApiKey,
  apiKeyHash,
  decodeMessage,
  encodeMessage,
  KEYS_BUCKET_CONFIG,
  NATS_ACCESS_VARIABLES,
  newApiKeySecret,
  newId,
  readEnv,
  readNatsAccess,
  type Scope,
  SCOPES,
} from "@tessera/shared";
import { parseArgs } from "node:util";
import { localNatsUrl } from "../nats/local.ts";
import { connectToNats } from "./nats.ts";
import { UsageError, wholeNumber } from "./usage.ts";

const HELP = `Usage: deno task tessera keys <command>

  create <name>          make a key and print it, once
  list                   every key: id, name, scopes, limits, state
  revoke <id>            no request with it is taken any more, within a second
  delete <id>            forget a revoked key

Options of create:
  --scopes <a,b>         of ${SCOPES.join(", ")} (default: all but admin)
  --tenant <name>        share jobs, files and cached prefixes with this tenant's keys (default: a tenant of its own)
  --requests <n>         requests a minute
  --tokens <n>           tokens a minute
  --concurrency <n>      requests under way at once
  --monthly-tokens <n>   tokens a calendar month
  --expires <days>       days until it ends by itself
  --json                 as JSON

The bus is TESSERA_NATS_URL, or that of the running \`deno task start\`.
`;

const DAY_MS = 24 * 3_600_000;
const MAX = 1_000_000_000_000;

/** Runs the command; returns the exit code. @throws UsageError */
export async function keysCommand(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      scopes: { type: "string" },
      tenant: { type: "string" },
      requests: { type: "string" },
      tokens: { type: "string" },
      concurrency: { type: "string" },
      "monthly-tokens": { type: "string" },
      expires: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const [command, subject, ...more] = positionals;
  const isKnown = command === "list" ? subject === undefined : ["create", "revoke", "delete"].includes(command ?? "");
  if (values.help || !isKnown || more.length > 0 || (command !== "list" && subject === undefined)) {
    console.log(HELP);
    return values.help ? 0 : 2;
  }
  const limit = (option: "requests" | "tokens" | "concurrency" | "monthly-tokens") =>
    values[option] === undefined ? null : wholeNumber(option, values[option], 1, MAX);
  const days = values.expires === undefined ? null : wholeNumber("expires", values.expires, 1, 36_500);
  const wish: Wish = {
    scopes: scopesOf(values.scopes),
    tenant: values.tenant,
    expiresMs: days === null ? null : Date.now() + days * DAY_MS,
    limits: {
      requests_per_minute: limit("requests"),
      tokens_per_minute: limit("tokens"),
      concurrency: limit("concurrency"),
      tokens_per_month: limit("monthly-tokens"),
    },
  };
  return await withBucket(async (bucket) => {
    if (command === "create") return await create(bucket, subject!, wish, values.json);
    if (command === "list") return await list(bucket, values.json);
    return command === "revoke" ? await revoke(bucket, subject!) : await forget(bucket, subject!);
  });
}

interface Wish {
  readonly scopes: Scope[];
  readonly tenant: string | undefined;
  readonly expiresMs: number | null;
  readonly limits: ApiKey["limits"];
}

async function create(bucket: KV, name: string, wish: Wish, isJson: boolean): Promise<number> {
  const secret = newApiKeySecret();
  const id = newId("key");
  const made = ApiKey.safeParse({
    v: 1,
    id,
    name,
    tenant: wish.tenant ?? id,
    scopes: wish.scopes,
    limits: wish.limits,
    created_ms: Date.now(),
    expires_ms: wish.expiresMs,
    revoked_ms: null,
  });
  if (!made.success) throw new UsageError(`Cannot make the key: ${made.error.issues[0]?.path.join(".")} is not valid.`);
  await bucket.create(await apiKeyHash(secret), encodeMessage(made.data, 1024 * 1024));
  if (isJson) console.log(JSON.stringify({ ...made.data, key: secret }));
  else console.log(`${secret}\n\nThe key ${id} ("${name}"). It is not shown again: only its hash is kept.`);
  return 0;
}

async function list(bucket: KV, isJson: boolean): Promise<number> {
  const keys = (await entries(bucket)).map(({ key }) => key).sort((a, b) => a.created_ms - b.created_ms);
  if (isJson) {
    for (const key of keys) console.log(JSON.stringify(key));
    return 0;
  }
  if (keys.length === 0) console.log("No keys. Make one: deno task tessera keys create <name>");
  for (const key of keys) {
    const limits = Object.entries(key.limits).flatMap(([name, value]) => value === null ? [] : [`${name} ${value}`]);
    console.log(
      `${key.id}  ${stateOf(key).padEnd(8)} ${key.name}\n    ${key.scopes.join(", ")}; tenant ${key.tenant}` +
        `${limits.length === 0 ? "" : `; ${limits.join(", ")}`}`,
    );
  }
  return 0;
}

function stateOf({ revoked_ms, expires_ms }: ApiKey): string {
  if (revoked_ms !== null) return "revoked";
  return expires_ms !== null && expires_ms <= Date.now() ? "expired" : "active";
}

async function revoke(bucket: KV, id: string): Promise<number> {
  const { hash, key, revision } = await find(bucket, id);
  if (key.revoked_ms === null) {
    await bucket.update(hash, encodeMessage({ ...key, revoked_ms: Date.now() }, 1024 * 1024), revision);
  }
  console.log(`${id} is revoked.`);
  return 0;
}

async function forget(bucket: KV, id: string): Promise<number> {
  const { hash, key } = await find(bucket, id);
  if (key.revoked_ms === null) throw new UsageError(`${id} is in use. Revoke it first: tessera keys revoke ${id}`);
  await bucket.purge(hash);
  console.log(`${id} is deleted.`);
  return 0;
}

async function find(bucket: KV, id: string) {
  const found = (await entries(bucket)).find(({ key }) => key.id === id);
  if (found === undefined) throw new UsageError(`No key ${id}. \`tessera keys list\` shows those there are.`);
  return found;
}

async function entries(bucket: KV): Promise<{ hash: string; key: ApiKey; revision: number }[]> {
  const found = [];
  for (const hash of await Array.fromAsync(await bucket.keys())) {
    const entry = await bucket.get(hash);
    if (entry?.operation === "PUT") {
      found.push({ hash, key: decodeMessage(ApiKey, entry.value), revision: entry.revision });
    }
  }
  return found;
}

function scopesOf(text: string | undefined): Scope[] {
  if (text === undefined) return SCOPES.filter((scope) => scope !== "admin");
  return text.split(",").map((name) => {
    const scope = SCOPES.find((known) => known === name.trim());
    if (scope === undefined) throw new UsageError(`Unknown scope "${name}". There are: ${SCOPES.join(", ")}.`);
    return scope;
  });
}

async function withBucket(run: (bucket: KV) => Promise<number>): Promise<number> {
  const get = (name: string) => Deno.env.get(name);
  const url = readEnv(["TESSERA_NATS_URL"], get).TESSERA_NATS_URL || await localNatsUrl();
  if (url === null) {
    throw new UsageError("No bus. Set TESSERA_NATS_URL, or run `deno task start` on this machine meanwhile.");
  }
  const nc = await connectToNats(url, readNatsAccess(readEnv(NATS_ACCESS_VARIABLES, get), Deno.readTextFileSync));
  try {
    return await run(await new Kvm(nc).create(KEYS_BUCKET_CONFIG.name, { ...KEYS_BUCKET_CONFIG.options }));
  } finally {
    await nc.close();
  }
}
