/** Webhooks outlive who delivers them and the server that keeps them; from a worker's first token to a verified signature. */
import { ROOT } from "@tessera/infra/paths";
import { supervise } from "@tessera/infra/process";
import assert from "node:assert/strict";
import { environmentOf, FLEET_SERVER, urlOf } from "../bus/fleet_users.ts";
import { Fleet, until } from "../support/fleet.ts";
import type { DelivererSettings } from "./deliverer_main.ts";
import { startReceiver } from "./receiver.ts";
import { assertStories, OLD_SECRET, openCaptions, SECRET } from "./support.ts";
import { verifyByPython } from "./verify.ts";

/** A deliverer as a process; killed as by a crash. */
function startDeliverer(natsUrl: string) {
  const settings: DelivererSettings = { natsUrl, secrets: SECRET, waitsMs: [200, 200, 200], ackWaitMs: 1_500 };
  const entry = `${ROOT}/tests/webhooks/deliverer_main.ts`;
  const process = supervise(Deno.execPath(), ["run", "--allow-all", "--no-check", entry], {
    env: { DELIVERER: JSON.stringify(settings) },
  });
  return { kill: () => Deno.kill(process.pid, "SIGKILL"), stop: () => process.stop(5_000), ended: process.ended };
}

Deno.test("webhooks: a caption's start and end, over a real worker, signed by both secrets", () =>
  Fleet.run(async (fleet) => {
    const receiver = startReceiver();
    const captions = await openCaptions(fleet.nats.url, {});
    await fleet.worker({ latencyMs: 2 });
    const id = await captions.submit(receiver.url, { events: ["start", "completed"] });
    await until(async () => (await captions.deliveries(id)).length === 2, "both events");
    assertStories(await captions.settled(id), ["delivered", 200], ["delivered", 200]);
    assert.deepEqual(receiver.received.map((one) => one.id), [`msg_${id}_start`, `msg_${id}_completed`]);
    const [start, end] = receiver.received.map(({ body }) => JSON.parse(body));
    assert.deepEqual([start.type, start.data.status, start.data.output], ["caption.started", "processing", null]);
    assert.deepEqual([end.type, end.data.status], ["caption.completed", "succeeded"]);
    assert.match(end.data.output.text, /^[a-z]{12}$/);
    const checks = receiver.received.flatMap(({ headers, body }) =>
      [SECRET, OLD_SECRET].map((secret) => ({ secret, headers, body }))
    );
    assert.deepEqual(await verifyByPython(checks), ["ok", "ok", "ok", "ok"]);
    await captions.close();
    await receiver.close();
  }));

Deno.test("webhooks: how far a caption has come, in order, and nothing of it after the end", () =>
  Fleet.run(async (fleet) => {
    const receiver = startReceiver();
    const captions = await openCaptions(fleet.nats.url, {});
    await fleet.worker({ latencyMs: 40 });
    const id = await captions.submit(receiver.url, { events: ["start", "output", "completed"] }, "a caption", 60);
    await until(() => receiver.received.some((one) => one.id.endsWith("completed")), "the end");
    await captions.settled(id);
    const bodies = receiver.received.map(({ body }) => JSON.parse(body));
    assert.deepEqual([bodies[0].type, bodies.at(-1).type], ["caption.started", "caption.completed"]);
    const between = bodies.slice(1, -1);
    assert.ok(between.length > 0, "nothing was told in between");
    const end: string = bodies.at(-1).data.output.text;
    let numChars = 0;
    for (const { type, data } of between) {
      assert.deepEqual([type, data.status], ["caption.output", "processing"]);
      assert.ok(end.startsWith(data.output.text) && data.output.text.length >= numChars);
      numChars = data.output.text.length;
    }
    assert.equal(new Set(receiver.received.map((one) => one.id)).size, receiver.received.length);
    await captions.close();
    await receiver.close();
  }));

Deno.test("webhooks: with the least rights of fleet.conf, each as its own user", () =>
  Fleet.run(async (fleet) => {
    const base = fleet.nats.url;
    const receiver = startReceiver(({ headers }) =>
      new Response("", { status: headers["webhook-id"]!.endsWith("start") ? 503 : 200 })
    );
    const access = (name: string) => ({ name, creds: "", ca: "", cert: "", key: "" });
    const users = { edge: "edge_b", deliverer: "deliverer", operator: "operator" } as const;
    const captions = await openCaptions(base, { waitsMs: [100] }, (part) => {
      const user = users[part];
      return { url: urlOf(base, user), access: access(user) };
    });
    await fleet.worker({ latencyMs: 2 }, base, environmentOf(base, "worker"));
    const id = await captions.submit(receiver.url, { events: ["start", "completed"] });
    await until(async () => (await captions.deliveries(id)).length === 2, "both events");
    assertStories(await captions.settled(id), ["failed", "bad_status", "bad_status"], ["delivered", 200]);
    const refused = captions.lines.filter((line) => /permissions? violation/i.test(JSON.stringify(line)));
    assert.deepEqual(refused, []);
    await captions.close();
    await receiver.close();
  }, FLEET_SERVER));

Deno.test("webhooks: a deliverer killed between sending and writing it down: sent again with the same id", () =>
  Fleet.run(async (fleet) => {
    const captions = await openCaptions(fleet.nats.url, null);
    const first = startDeliverer(fleet.nats.url);
    const receiver = startReceiver(async () => {
      if (receiver.received.length > 1) return new Response();
      // It has been sent, and nobody will know.
      first.kill();
      await first.ended;
      return new Response();
    });
    const id = await captions.finish(receiver.url);
    await until(() => receiver.received.length === 1, "the first attempt", 40_000);
    await first.stop();
    assert.deepEqual((await captions.deliveries(id)).map(({ num_attempts }) => num_attempts), [0]);
    const second = startDeliverer(fleet.nats.url);
    assertStories(await captions.settled(id), ["delivered", 200]);
    assert.deepEqual(receiver.received.map((one) => one.id), [`msg_${id}_completed`, `msg_${id}_completed`]);
    assert.equal(receiver.received[0]!.body, receiver.received[1]!.body);
    await second.stop();
    await captions.close();
    await receiver.close();
  }));

Deno.test("webhooks: nats-server dies while some wait for their next attempt and others come", () =>
  Fleet.run(async (fleet) => {
    let isDown = true;
    const receiver = startReceiver(() => new Response("", { status: isDown ? 503 : 200 }));
    const captions = await openCaptions(fleet.nats.url, {
      waitsMs: new Array<number>(20).fill(1_000),
      ackWaitMs: 3_000,
    });
    const before = await Promise.all(Array.from({ length: 5 }, () => captions.finish(receiver.url)));
    await until(() => receiver.received.length >= 5, "the first attempts");
    await fleet.restartNats();
    isDown = false;
    const after: string[] = [];
    await until(async () => {
      after.push(await captions.finish(receiver.url));
      return true;
    }, "a caption after the restart");
    for (const id of [...before, ...after]) {
      const [record] = await captions.settled(id);
      assert.equal(record!.state, "delivered");
      assert.ok(receiver.received.filter((one) => one.id === record!.dispatch.id).length >= 1);
    }
    await captions.close();
    await receiver.close();
  }));
