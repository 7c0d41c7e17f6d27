/** Webhooks over the edge's own routes: asked for with a caption, looked at, sent again, given up, tried out. */
import { silentLogger } from "@tessera/shared";
import assert from "node:assert/strict";
import { Bus } from "../../edge/dispatch/bus.ts";
import { OutboundRules } from "../../edge/outbound/rules.ts";
import { startDeliveryService } from "../../edge/webhooks/delivery_service.ts";
import { DeliveryAnswer, DeliveryListAnswer } from "../../edge/webhooks/delivery_body.ts";
import { parseSecrets } from "../../edge/webhooks/signature.ts";
import { fakePicture } from "../edge/fake_tile_pool.ts";
import { errorOf, type Harness, until, withEdge } from "../edge/harness.ts";
import { startReceiver } from "./receiver.ts";
import { SECRET } from "./support.ts";
import { verifyByPython } from "./verify.ts";

const webhookSecrets = parseSecrets(SECRET);

/** A deliverer beside the edge. */
function startDeliverer(natsUrl: string, waitsMs: readonly number[]): () => Promise<void> {
  const bus = new Bus({ url: natsUrl, name: "deliverer", log: silentLogger });
  const service = startDeliveryService(bus, {
    secrets: webhookSecrets,
    outbound: { rules: new OutboundRules({ allowPrivate: true }) },
    log: silentLogger,
    schedule: { waitsMs, random: () => 0.5 },
  });
  bus.start();
  return async () => {
    await service.close(1_000);
    await bus.close();
  };
}

const call = ({ edge }: Harness, method: string, path: string, body?: unknown, key?: string) =>
  fetch(`${edge.url}/v1${path}`, {
    method,
    headers: {
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });

Deno.test("webhook routes: deliveries with each attempt, again by hand, dead letters; each key sees its own", () =>
  withEdge({ config: { webhookSecrets, allowPrivateUrls: true } }, async (harness) => {
    let status = 500;
    const receiver = startReceiver(() => new Response("a secret of the receiver", { status }));
    const stop = startDeliverer(harness.natsUrl, [30]);
    const [mine, other] = ["key-of-mine", "key-of-another"];
    const list = async (path: string, key = mine) =>
      DeliveryListAnswer.parse(await (await call(harness, "GET", path, undefined, key)).json());
    const asked = { image: fakePicture(1, 1), webhook: receiver.url };
    const { id } = await (await call(harness, "POST", "/captions", asked, mine)).json();
    const deliveries = `/captions/${id}/deliveries`;
    assert.deepEqual((await list(deliveries)).data, []);
    await call(harness, "POST", `/captions/${id}/cancel`, undefined, mine);
    await until(async () => (await list(deliveries)).data[0]?.state === "failed");
    const [delivery] = (await list(deliveries)).data;
    assert.equal(delivery!.num_attempts, 2);
    assert.deepEqual(delivery!.attempts.map(({ error, status }) => [error, status]), [["bad_status", 500], [
      "bad_status",
      500,
    ]]);
    assert.ok(!JSON.stringify(delivery).includes("secret of the receiver"));

    const dead = await list("/webhooks/dead_letters?limit=5");
    assert.deepEqual(dead.data, [delivery]);
    assert.deepEqual((await list("/webhooks/dead_letters", other)).data, []);
    await errorOf(await call(harness, "GET", deliveries, undefined, other), 404);
    const again = `${deliveries}/${delivery!.id}/redeliver`;
    await errorOf(await call(harness, "POST", again, undefined, other), 404);
    await errorOf(await call(harness, "POST", `${deliveries}/msg_none/redeliver`, undefined, mine), 404);
    await errorOf(await call(harness, "GET", "/webhooks/dead_letters?limit=0", undefined, mine), 400);

    status = 202;
    const response = await call(harness, "POST", again, undefined, mine);
    assert.equal(response.status, 202);
    assert.equal(DeliveryAnswer.parse(await response.json()).state, "pending");
    await until(async () => (await list(deliveries)).data[0]?.state === "delivered");
    assert.deepEqual((await list("/webhooks/dead_letters")).data, []);
    assert.deepEqual(new Set(receiver.received.map((one) => one.id)), new Set([delivery!.id]));
    const { headers, body } = receiver.received.at(-1)!;
    assert.deepEqual(await verifyByPython([{ secret: SECRET, headers, body }]), ["ok"]);
    assert.equal(JSON.parse(body).data.id, id);

    // With the caption goes all that is known of its webhooks.
    await call(harness, "DELETE", `/captions/${id}`, undefined, mine);
    await errorOf(await call(harness, "GET", deliveries, undefined, mine), 404);
    assert.deepEqual(await harness.edge.deps.webhooks.list(delivery!.id, id), []);
    await stop();
    await receiver.close();
  }));

Deno.test("webhook routes: a receiver is tried out; without a secret there are no webhooks", async () => {
  await withEdge({ config: { webhookSecrets, allowPrivateUrls: true }, worker: false }, async (harness) => {
    const receiver = startReceiver(({ path }) => new Response("", { status: path === "/no" ? 400 : 200 }));
    const stop = startDeliverer(harness.natsUrl, [30, 30]);
    await until(() => harness.edge.deps.bus.isConnected);
    const tried = async (body: unknown) =>
      DeliveryAnswer.parse(await (await call(harness, "POST", "/webhooks/test", body)).json());
    const well = await tried({ url: `${receiver.url}/yes` });
    assert.deepEqual([well.state, well.type, well.caption_id], ["delivered", "webhook.test", null]);
    const { headers, body } = receiver.to("/yes")[0]!;
    assert.deepEqual(await verifyByPython([{ secret: SECRET, headers, body }]), ["ok"]);
    assert.equal(JSON.parse(body).type, "webhook.test");
    // Tried once, and kept nowhere.
    const ill = await tried({ url: `${receiver.url}/no` });
    assert.deepEqual([ill.state, ill.num_attempts, ill.attempts[0]!.status], ["failed", 1, 400]);
    const list = await (await call(harness, "GET", "/webhooks/dead_letters")).json();
    assert.deepEqual(list.data, []);
    assert.equal((await errorOf(await call(harness, "POST", "/webhooks/test", { url: "nowhere" }), 400)).param, "url");
    assert.equal((await errorOf(await call(harness, "POST", "/webhooks/test", {}), 400)).param, "url");
    await errorOf(await call(harness, "GET", "/webhooks/test"), 405);
    await stop();
    await receiver.close();
  });
  await withEdge({ worker: false }, async (harness) => {
    const error = await errorOf(await call(harness, "POST", "/webhooks/test", { url: "https://a.test/" }), 400);
    assert.equal(error.code, "webhooks_unavailable");
  });
});
