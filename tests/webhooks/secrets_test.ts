/** Signing secrets of owners: made, listed, replaced and removed by their API keys, kept sealed, verified by the PyPI package. */
import { type KV, Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";
import { createLogger, REQUESTS_BUCKET, SIGNING_BUCKET, silentLogger } from "@tessera/shared";
import assert from "node:assert/strict";
import { Bus } from "../../edge/dispatch/bus.ts";
import { OutboundRules } from "../../edge/outbound/rules.ts";
import { NewSecretAnswer, SecretListAnswer } from "../../edge/routes/webhook_secrets.ts";
import { startDeliveryService } from "../../edge/webhooks/delivery_service.ts";
import { SecretSeal } from "../../edge/webhooks/secret_seal.ts";
import { newSecret, parseSecret, parseSecrets } from "../../edge/webhooks/signature.ts";
import { errorOf, type Harness, until, withEdge } from "../edge/harness.ts";
import { type Received, startReceiver } from "./receiver.ts";
import { OLD_SECRET, SECRET } from "./support.ts";
import { verifyByPython } from "./verify.ts";

const [ALICE, BOB] = ["key-of-alice", "key-of-bob"];

function startDeliverer(natsUrl: string, secrets: string, lines: Record<string, unknown>[] = []) {
  const log = createLogger({ level: "info", format: "json", sink: (line) => lines.push(JSON.parse(line)) });
  const bus = new Bus({ url: natsUrl, name: "deliverer", log: silentLogger });
  const service = startDeliveryService(bus, {
    secrets: parseSecrets(secrets),
    outbound: { rules: new OutboundRules({ allowPrivate: true }) },
    log,
    schedule: { waitsMs: [30], random: () => 0.5 },
  });
  bus.start();
  return async () => {
    await service.close(1_000);
    await bus.close();
  };
}

const call = ({ edge }: Harness, key: string, method: string, path: string, body?: unknown, more: HeadersInit = {}) =>
  fetch(`${edge.url}/v1/webhooks${path}`, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...more,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });

async function create(harness: Harness, key: string, body?: unknown, more?: HeadersInit) {
  const response = await call(harness, key, "POST", "/secrets", body, more);
  const text = await response.text();
  assert.equal(response.status, 201, text);
  assert.equal(response.headers.get("cache-control"), "no-store");
  return NewSecretAnswer.parse(JSON.parse(text));
}

const list = async (harness: Harness, key: string) =>
  SecretListAnswer.parse(await (await call(harness, key, "GET", "/secrets")).json()).data;

/** Sends one event of the key's, and which of the secrets verify it. */
async function verifiers(
  harness: Harness,
  receiver: { url: string; received: Received[] },
  key: string,
  secrets: readonly string[],
): Promise<boolean[]> {
  const tried = await (await call(harness, key, "POST", "/test", { url: receiver.url })).json();
  assert.equal(tried.state, "delivered", JSON.stringify(tried));
  const { headers, body } = receiver.received.at(-1)!;
  return (await verifyByPython(secrets.map((secret) => ({ secret, headers, body })))).map((told) => told === "ok");
}

async function withBucket<T>(harness: Harness, bucket: string, work: (kv: KV) => Promise<T>): Promise<T> {
  const nc = await connect({ servers: harness.natsUrl });
  try {
    return await work(await new Kvm(nc).open(bucket));
  } finally {
    await nc.close();
  }
}

/** All that a bucket holds, as text. */
const contents = (harness: Harness, bucket: string) =>
  withBucket(harness, bucket, async (kv) => {
    let all = "";
    for (const key of await Array.fromAsync(await kv.keys())) all += (await kv.get(key))?.string() ?? "";
    return all;
  });

Deno.test("signing secrets: each owner's own, two while one replaces the other, the deployment's where there is none", () =>
  withEdge({ config: { webhookSecrets: parseSecrets(SECRET), allowPrivateUrls: true } }, async (harness) => {
    const receiver = startReceiver(() => new Response(""));
    const stop = startDeliverer(harness.natsUrl, SECRET);
    const verified = (key: string, ...secrets: string[]) => verifiers(harness, receiver, key, secrets);
    assert.deepEqual(await list(harness, ALICE), []);
    assert.deepEqual(await verified(ALICE, SECRET), [true]);
    const first = await create(harness, ALICE);
    assert.equal(parseSecret(first.secret).length, 32);
    assert.deepEqual(await verified(ALICE, SECRET, first.secret), [false, true]);
    assert.deepEqual(await verified(BOB, SECRET, first.secret), [true, false]);

    // Replaced: both sign until the old one is removed.
    const own = `whsec_${newSecret().toBase64()}`;
    const second = await create(harness, ALICE, { secret: own });
    assert.equal(second.secret, own);
    assert.deepEqual(await verified(ALICE, SECRET, first.secret, own), [false, true, true]);
    assert.match((await errorOf(await call(harness, ALICE, "POST", "/secrets"), 400)).message, /Remove one/);
    assert.deepEqual((await list(harness, ALICE)).map(({ id }) => id), [second.id, first.id]);
    await errorOf(await call(harness, BOB, "DELETE", `/secrets/${first.id}`), 404);
    const removed = await call(harness, ALICE, "DELETE", `/secrets/${first.id}`);
    assert.deepEqual(await removed.json(), { id: first.id, object: "webhook.secret", deleted: true });
    assert.deepEqual(await verified(ALICE, first.secret, own), [false, true]);

    // Or until its time is over; one that ended leaves its place.
    const third = await create(harness, ALICE, { expire_others_in_s: 0 });
    assert.deepEqual(await verified(ALICE, own, third.secret), [false, true]);
    const fourth = await create(harness, ALICE, { expire_others_in_s: 3_600 });
    assert.deepEqual(await verified(ALICE, third.secret, fourth.secret), [true, true]);
    const told = await list(harness, ALICE);
    assert.deepEqual(told.map(({ expires_at }) => expires_at !== null), [false, true]);

    // With the last one gone it is the deployment's turn again.
    for (const { id } of told) await (await call(harness, ALICE, "DELETE", `/secrets/${id}`)).body?.cancel();
    assert.deepEqual(await verified(ALICE, SECRET, fourth.secret), [true, false]);
    for (const body of [{ secret: "whsec_short" }, { secret: "none" }, { expire_others_in_s: -1 }]) {
      const error = await errorOf(await call(harness, ALICE, "POST", "/secrets", body), 400);
      assert.equal(error.param, Object.keys(body)[0]);
    }
    await stop();
    await receiver.close();
  }));

Deno.test("signing secrets: told once, kept sealed, for their owner alone", () =>
  withEdge({ config: { webhookSecrets: parseSecrets(SECRET) }, worker: false }, async (harness) => {
    await until(() => harness.edge.deps.bus.isConnected);
    const again = { "idempotency-key": "once" };
    const { secret, id } = await create(harness, ALICE, {}, again);
    const second = await errorOf(await call(harness, ALICE, "POST", "/secrets", {}, again), 409);
    assert.equal(second.code, "request_in_progress");
    const listed = await (await call(harness, ALICE, "GET", "/secrets")).text();
    const digits = secret.slice("whsec_".length);
    const places = [listed, await contents(harness, SIGNING_BUCKET), await contents(harness, REQUESTS_BUCKET)];
    for (const text of [...places, JSON.stringify(harness.lines)]) assert.ok(!text.includes(digits), text);
    assert.ok(places[1]!.includes(id));

    const seal = new SecretSeal(parseSecrets(SECRET));
    const sealed = await seal.seal(parseSecret(secret), ["alice", id]);
    assert.deepEqual((await seal.open(sealed, ["alice", id]))?.secret, parseSecret(secret));
    assert.equal(await seal.open(sealed, ["bob", id]), null);
    assert.equal(await new SecretSeal(parseSecrets(OLD_SECRET)).open(sealed, ["alice", id]), null);
  }));

Deno.test("signing secrets: the deployment's own is replaced without a word from owners; a stranger's opens none", () =>
  withEdge({ config: { webhookSecrets: parseSecrets(OLD_SECRET), allowPrivateUrls: true } }, async (harness) => {
    const receiver = startReceiver(() => new Response(""));
    const { secret } = await create(harness, ALICE);
    const lines: Record<string, unknown>[] = [];
    const stopBoth = startDeliverer(harness.natsUrl, `${SECRET}, ${OLD_SECRET}`, lines);
    assert.deepEqual(await verifiers(harness, receiver, ALICE, [secret]), [true]);
    assert.ok(lines.some(({ event, num }) => event === "signing_secrets_resealed" && num === 1));
    await stopBoth();
    const stopNew = startDeliverer(harness.natsUrl, SECRET);
    assert.deepEqual(await verifiers(harness, receiver, ALICE, [secret, SECRET]), [true, false]);
    await stopNew();

    const stopStranger = startDeliverer(harness.natsUrl, `whsec_${newSecret().toBase64()}`, lines);
    const { length } = receiver.received;
    const gone = new AbortController();
    const test = fetch(`${harness.edge.url}/v1/webhooks/test`, {
      method: "POST",
      headers: { authorization: `Bearer ${ALICE}`, "content-type": "application/json" },
      body: JSON.stringify({ url: receiver.url }),
      signal: gone.signal,
    }).catch(() => null);
    await until(() => lines.some(({ event, level }) => event === "webhook_fault" && level === "error"));
    assert.ok(lines.some(({ event, num_lost }) => event === "signing_secrets_sealed" && num_lost === 1));
    assert.equal(receiver.received.length, length, "nothing goes out under another signature");
    gone.abort();
    await test;
    await stopStranger();
    await receiver.close();
  }));

Deno.test("signing secrets: none without a secret of the deployment", () =>
  withEdge({ worker: false }, async (harness) => {
    for (const [method, path] of [["GET", "/secrets"], ["POST", "/secrets"], ["DELETE", "/secrets/whs-1"]] as const) {
      assert.equal((await errorOf(await call(harness, ALICE, method, path), 400)).code, "webhooks_unavailable");
    }
  }));
