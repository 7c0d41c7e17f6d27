/** infra/nats/fleet.conf: the whole path works with the least rights, and nobody can do what is another's. */
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { ensureNatsServer } from "../../infra/nats/binary.ts";
import { run } from "@tessera/infra/process";
import { DURABLE_STREAM, edgeEvents, Job, LIVE_STREAM, newId, silentLogger, WORKERS_BUCKET } from "@tessera/shared";
import assert from "node:assert/strict";
import { Bus } from "../../edge/dispatch/bus.ts";
import { DurableJobs } from "../../edge/jobs/durable_jobs.ts";
import { questions } from "../support/fleet_client.ts";
import { askAll, assertSame, Fleet, pause, until } from "../support/fleet.ts";

const CONF = new URL("../../infra/nats/fleet.conf", import.meta.url).pathname;
const PASSWORDS = { EDGE_A_PASSWORD: "a", EDGE_B_PASSWORD: "b", WORKER_PASSWORD: "w", OPERATOR_PASSWORD: "o" };

function urlOf(base: string, user: string, password: string): string {
  return base.replace("nats://", `nats://${user}:${password}@`);
}

/** Whether the server lets a user listen to a subject. */
async function maySubscribe(nc: NatsConnection, subject: string): Promise<boolean> {
  let isDenied = false;
  const subscription = nc.subscribe(subject, { callback: (error) => void (isDenied ||= error !== null) });
  await nc.flush();
  await pause(50);
  if (!isDenied) subscription.unsubscribe();
  return !isDenied;
}

/** Whether what a user publishes there gets to `operator`, or to JetStream. */
async function mayPublish(nc: NatsConnection, operator: NatsConnection, subject: string): Promise<boolean> {
  let hasCome = false;
  const subscription = operator.subscribe(subject, { callback: () => void (hasCome = true) });
  await operator.flush();
  nc.publish(subject, "{}");
  await nc.flush();
  await pause(50);
  subscription.unsubscribe();
  return hasCome;
}

Deno.test("rights: nats-server takes the configuration", async () => {
  const binary = await ensureNatsServer();
  await run(binary, ["-t", "-c", CONF], { env: PASSWORDS });
});

Deno.test("rights: two edges, a worker and durable jobs work, and keep to what is theirs", () =>
  Fleet.run(async (fleet) => {
    const base = fleet.nats.url;
    const user = (name: string, password: string) => ({
      TESSERA_NATS_URL: urlOf(base, name, password),
      TESSERA_NATS_NAME: name,
    });
    const worker = await fleet.worker({ latencyMs: 2 }, base, user("worker", "w"));
    const edges = await Promise.all([fleet.edge(user("edge_a", "a")), fleet.edge(user("edge_b", "b"))]);
    const asked = questions(6, 20);
    const [first, second] = await Promise.all(edges.map(({ url }) => Promise.all(askAll(url, asked))));
    assertSame("two edges with rights of their own", second!, first!);

    const access = { name: "edge_b", creds: "", ca: "", cert: "", key: "" };
    const bus = new Bus({ url: urlOf(base, "edge_b", "b"), access, name: "b", log: silentLogger });
    bus.start();
    await until(() => bus.isConnected, "the bus");
    const jobs = new DurableJobs(bus);
    const job = Job.parse({
      v: 1,
      id: newId("job"),
      model: "fake",
      edge_id: "none",
      created_ms: 0,
      messages: [{ role: "user", parts: [{ type: "text", text: "x" }] }],
      images: [],
      sampling: { temperature: 0, top_p: 1, top_k: 0, seed: 1, max_tokens: 4, stop: [] },
    });
    await jobs.submit(job, []);
    const record = await jobs.wait(job.id, AbortSignal.timeout(10_000));
    assert.equal(record?.status, "succeeded", JSON.stringify(record));
    assert.equal(await jobs.remove(job.id), true);
    for (const part of [worker, ...edges]) {
      const denied = part.lines.filter((line) => /permissions? violation/i.test(JSON.stringify(line)));
      assert.deepEqual(denied, []);
    }

    const open = (name: string, password: string) =>
      connect({ servers: base, user: name, pass: password, inboxPrefix: `_INBOX.${name}`, reconnect: false });
    const [a, w, o] = await Promise.all([open("edge_a", "a"), open("worker", "w"), open("operator", "o")]);
    const jobId = newId("job");
    // What is another's cannot be heard.
    assert.equal(await maySubscribe(a, edgeEvents("edge_a.edge-1")), true);
    for (const subject of [edgeEvents("edge_b.edge-1"), "tessera.edge.>", "_INBOX.edge_b.>", "_INBOX.>", "tessera.>"]) {
      assert.equal(await maySubscribe(a, subject), false, subject);
    }
    for (const subject of ["tessera.jobs.>", "tessera.edge.>", "tessera.tiles.>", "_INBOX.edge_a.>", ">"]) {
      assert.equal(await maySubscribe(w, subject), false, subject);
    }
    // Nor said.
    assert.equal(await mayPublish(a, o, `tessera.cancel.${jobId}`), true);
    for (const subject of [`tessera.edge.edge_b.edge-1.events.${jobId}`, `$KV.${WORKERS_BUCKET}.worker.x`]) {
      assert.equal(await mayPublish(a, o, subject), false, subject);
    }
    assert.equal(await mayPublish(w, o, `tessera.edge.edge_b.edge-1.events.${jobId}`), true);
    for (
      const subject of ["tessera.jobs.live.fake", `tessera.jobs.durable.fake.${jobId}`, `tessera.cancel.${jobId}`]
    ) {
      assert.equal(await mayPublish(w, o, subject), false, subject);
    }
    // Jobs in the streams are nobody's to read, and nobody's to drop.
    for (const [nc, stream] of [[a, LIVE_STREAM], [a, DURABLE_STREAM], [w, LIVE_STREAM]] as const) {
      const manager = await jetstreamManager(nc, { checkAPI: false, timeout: 500 });
      await assert.rejects(manager.streams.getMessage(stream, { seq: 1 }));
      await assert.rejects(manager.streams.delete(stream));
    }
    const managerOfA = await jetstreamManager(a, { checkAPI: false, timeout: 500 });
    await assert.rejects(managerOfA.consumers.add(LIVE_STREAM, { durable_name: "thief", ack_policy: "explicit" }));
    await Promise.all([a.close(), w.close(), o.close(), bus.close()]);
  }, { args: ["--config", CONF], env: PASSWORDS }));
