/** Webhooks reach who asked for them: signed, in order, tried again by the schedule, given up in the end. */
import { startNatsServer } from "@tessera/infra/nats";
import assert from "node:assert/strict";
import { OutboundRules } from "../../edge/outbound/rules.ts";
import { until } from "../support/fleet.ts";
import { startReceiver } from "./receiver.ts";
import { assertStories, type Captions, openCaptions, storyOf } from "./support.ts";

async function withCaptions(
  options: Parameters<typeof openCaptions>[1],
  body: (captions: Captions) => Promise<void>,
): Promise<void> {
  const nats = await startNatsServer();
  const captions = await openCaptions(nats.url, options);
  try {
    await body(captions);
  } finally {
    await captions.close();
    await nats.stop();
  }
}

Deno.test("webhooks: full or thin, told what became of each, nothing to those who did not ask", () =>
  withCaptions({}, async ({ finish, settled, submit, jobs, deliveries }) => {
    const receiver = startReceiver();
    const full = await finish(`${receiver.url}/full`);
    assertStories(await settled(full), ["delivered", 200]);
    const [one] = receiver.to("/full");
    assert.equal(one!.id, `msg_${full}_completed`);
    assert.equal(one!.headers["content-type"], "application/json");
    assert.equal(one!.headers["authorization"], undefined);
    const { type, timestamp, data } = JSON.parse(one!.body);
    assert.equal(type, "caption.completed");
    assert.ok(Math.abs(Date.parse(timestamp) - Date.now()) < 60_000);
    const { id, object, status, metadata } = data;
    assert.deepEqual([id, object, status, metadata], [full, "caption", "canceled", { order: "7" }]);

    const thin = await finish(`${receiver.url}/thin`, { body: "thin" });
    await settled(thin);
    assert.deepEqual(JSON.parse(receiver.to("/thin")[0]!.body).data, {
      id: thin,
      object: "caption",
      status: "canceled",
    });

    // Wants to hear of the start alone, and there is none.
    const silent = await submit(`${receiver.url}/silent`, { events: ["start"] });
    await jobs.cancel(silent);
    const last = await finish(`${receiver.url}/last`);
    await settled(last);
    assert.equal(receiver.to("/silent").length, 0);
    assert.deepEqual(await deliveries(silent), []);
    await receiver.close();
  }));

Deno.test("webhooks: tried again by the schedule, then a dead letter; Retry-After, 410, redirects, endless answers", () =>
  withCaptions({ timeoutMs: 500 }, async (captions) => {
    const { finish, settled, store } = captions;
    const numbers = new Map<string, number>();
    const receiver = startReceiver(({ path }) => {
      const number = (numbers.get(path) ?? 0) + 1;
      numbers.set(path, number);
      if (path === "/down") return new Response("no", { status: 500 });
      if (path === "/later" && number === 1) return new Response("", { status: 503, headers: { "retry-after": "1" } });
      if (path === "/gone") return new Response("", { status: 410 });
      if (path === "/moved") {
        return new Response(null, { status: 307, headers: { location: `${receiver.url}/elsewhere` } });
      }
      if (path === "/slow") return new Promise((resolve) => setTimeout(() => resolve(new Response()), 2_000));
      if (path === "/endless") {
        const chunk = new Uint8Array(64 * 1024);
        return new Response(
          new ReadableStream({ pull: (controller) => controller.enqueue(chunk) }, { highWaterMark: 0 }),
        );
      }
      return new Response(new ReadableStream());
    });
    const to = (path: string) => finish(`${receiver.url}${path}`);
    const [down, later, gone, moved, slow, endless, hanging, refused] = await Promise.all([
      to("/down"),
      to("/later"),
      to("/gone"),
      to("/moved"),
      to("/slow"),
      to("/endless"),
      to("/hanging"),
      finish("http://127.0.0.1:1/"),
    ]);
    assertStories(await settled(down), ["failed", "bad_status", "bad_status", "bad_status"]);
    assert.equal(new Set(receiver.to("/down").map(({ id }) => id)).size, 1);
    assert.equal(new Set(receiver.to("/down").map(({ body }) => body)).size, 1);
    const waited = await settled(later);
    assertStories(waited, ["delivered", "bad_status", 200]);
    const [first, second] = waited[0]!.attempts;
    assert.ok(second!.at_ms - first!.at_ms >= 1_000, "came before the receiver asked for it");
    assertStories(await settled(gone), ["failed", "gone"]);
    assertStories(await settled(moved), ["failed", "redirect_refused", "redirect_refused", "redirect_refused"]);
    assert.equal(receiver.to("/elsewhere").length, 0);
    assertStories(await settled(slow), ["failed", "timeout", "timeout", "timeout"]);
    assertStories(await settled(endless), ["delivered", 200]);
    assertStories(await settled(refused), ["failed", "connection_failed", "connection_failed", "connection_failed"]);
    // The status came; that the body does not is the receiver's own affair.
    assertStories(await settled(hanging), ["delivered", 200]);

    const dead = (await store.dead("somebody", 100)).data;
    assert.deepEqual(
      new Set(dead.map(({ dispatch }) => dispatch.subject_id)),
      new Set([down, gone, moved, slow, refused]),
    );
    assert.deepEqual(await store.dead("somebody else", 100), { data: [], hasMore: false });
    const first3 = await store.dead("somebody", 3);
    const rest = await store.dead("somebody", 3, first3.data.at(-1)!.dispatch.id);
    assert.deepEqual([first3.hasMore, rest.hasMore], [true, false]);
    assert.deepEqual([...first3.data, ...rest.data], dead);
    assert.equal(captions.lines.filter(({ event }) => event === "webhook_given_up").length, 5);
    // Nothing of the secret, and nothing of where it went but the host.
    assert.doesNotMatch(JSON.stringify(captions.lines), /whsec_|MfKQ9r8G|\/down/);
    await receiver.close();
  }));

Deno.test("webhooks: URLs that may not be called are not, whatever was promised when the caption came", () =>
  withCaptions({ outbound: { rules: new OutboundRules({ allowPrivate: false }) } }, async ({ finish, settled }) => {
    const receiver = startReceiver();
    for (const url of [receiver.url, receiver.url.replace("http", "https"), "https://169.254.169.254/"]) {
      assertStories(await settled(await finish(url)), ["failed", "url_forbidden"]);
    }
    assert.equal(receiver.received.length, 0);
    await receiver.close();
  }));

Deno.test("webhooks: one caption's come in order, the later ones wait for the first", () =>
  withCaptions({ waitsMs: [300, 300, 300] }, async ({ store, settled, submit }) => {
    let numRefused = 0;
    const receiver = startReceiver(({ body }) =>
      body.includes("started") && numRefused++ < 2 ? new Response("", { status: 500 }) : new Response()
    );
    const id = await submit(receiver.url);
    const dispatch = {
      v: 1,
      owner: "somebody",
      subject_id: id,
      job_id: id,
      url: receiver.url,
      body: "thin",
      round: 0,
    } as const;
    await store.send({ ...dispatch, id: "msg_1", type: "caption.started", at_ms: 1 });
    await store.send({ ...dispatch, id: "msg_2", type: "caption.completed", at_ms: 2 });
    await store.send({ ...dispatch, id: "msg_3", type: "caption.completed", at_ms: 3 });
    const records = await settled(id);
    assertStories(records, ["delivered", "bad_status", "bad_status", 200], ["delivered", 200], ["delivered", 200]);
    assert.deepEqual(receiver.received.map((one) => one.id), ["msg_1", "msg_1", "msg_1", "msg_2", "msg_3"]);
    await receiver.close();
  }));

Deno.test("webhooks: a host that hangs holds up itself alone", () =>
  withCaptions({ timeoutMs: 4_000, concurrency: 8, hostConcurrency: 2, waitsMs: [] }, async ({ finish, settled }) => {
    let numAtOnce = 0;
    let mostAtOnce = 0;
    const ends: (() => void)[] = [];
    const hanging = startReceiver(async () => {
      mostAtOnce = Math.max(mostAtOnce, ++numAtOnce);
      await new Promise<void>((resolve) => ends.push(resolve));
      numAtOnce--;
      return new Response();
    });
    const well = startReceiver();
    const stuck = await Promise.all(Array.from({ length: 6 }, () => finish(hanging.url)));
    await until(() => hanging.received.length === 2, "the host to be full");
    const fine = await Promise.all(Array.from({ length: 10 }, () => finish(well.url)));
    for (const id of fine) assertStories(await settled(id), ["delivered", 200]);
    assert.equal(mostAtOnce, 2);
    assert.ok(hanging.received.length <= 4, "the others did not wait for the host that hangs");
    const freeing = setInterval(() => ends.splice(0).forEach((end) => end()), 20);
    const stories = (await Promise.all(stuck.map(settled))).map((records) => storyOf(records[0]!)[0]);
    assert.ok(stories.filter((state) => state === "delivered").length >= 4, String(stories));
    assert.equal(mostAtOnce, 2);
    clearInterval(freeing);
    await hanging.close();
    await well.close();
  }));

Deno.test("webhooks: asked for again, they come again with the same id; what was removed does not", () =>
  withCaptions({ waitsMs: [] }, async ({ finish, settled, store, jobs }) => {
    let isDown = true;
    const receiver = startReceiver(() => new Response("", { status: isDown ? 500 : 200 }));
    const id = await finish(receiver.url);
    const [record] = await settled(id);
    assert.equal((await store.dead("somebody", 10)).data.length, 1);
    isDown = false;
    await store.redeliver("somebody", id, record!.dispatch.id);
    assertStories(await settled(id), ["delivered", "bad_status", 200]);
    assert.equal((await store.dead("somebody", 10)).data.length, 0);
    await store.redeliver("somebody", id, record!.dispatch.id);
    await until(() => receiver.received.length === 3, "the third");
    assert.equal(new Set(receiver.received.map((one) => one.id)).size, 1);
    assert.equal(await store.redeliver("somebody else", id, record!.dispatch.id), null);
    assert.equal(await store.redeliver("somebody", id, "msg_none"), null);

    await jobs.remove(id);
    await store.redeliver("somebody", id, record!.dispatch.id);
    assert.equal((await settled(id))[0]!.state, "dropped");
    await store.forget(id);
    assert.deepEqual(await store.list(id), []);
    assert.equal(receiver.received.length, 3);
    await receiver.close();
  }));
