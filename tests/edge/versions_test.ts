/** Workers of other releases, as an edge meets them: whom it talks to in which version, and what it says of the others. */
import { Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";
import { eventBatchSubject, eventsSubject, WORKERS_BUCKET_CONFIG } from "@tessera/shared";
import assert from "node:assert/strict";
import { errorOf, type Harness, until, withEdge } from "./harness.ts";
import { FAKE_MODEL } from "./fake_worker.ts";

const versionOf = ({ edge }: Harness) => edge.deps.directory.versionFor(FAKE_MODEL);

/** Announces a worker of a release to come, of which nobody here knows more than its name. */
async function announceStranger(natsUrl: string, versions: number[]) {
  const nc = await connect({ servers: natsUrl });
  const bucket = await new Kvm(nc).create(WORKERS_BUCKET_CONFIG.name, { ...WORKERS_BUCKET_CONFIG.options });
  const core = { worker_id: "worker-of-then", model: FAKE_MODEL, wire_versions: versions };
  await bucket.put(core.worker_id, JSON.stringify({ v: 7, ...core, tile: { width: 448 }, draining: "no" }));
  return nc;
}

Deno.test("versions: workers that speak none of the edge's are refused by name, and told of everywhere", () =>
  withEdge({ worker: false }, async (harness) => {
    const { edge, natsUrl, ask, addWorker } = harness;
    const nc = await announceStranger(natsUrl, [3, 4]);
    await until(() => edge.deps.directory.incompatible().length === 1);
    const refused = await ask();
    assert.equal(refused.headers.get("retry-after"), "30");
    const { code, message } = await errorOf(refused, 503);
    assert.equal(code, "incompatible_version");
    assert.match(message, /speak version 3 and 4 of the wire, this server 1 and 2\./);
    const ready = await fetch(`${edge.url}/readyz`);
    assert.deepEqual((await ready.json()).reasons, ["All model workers are of another version."]);
    const tokenized = await fetch(`${edge.url}/v1/tokenize`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt: "x" }),
    });
    assert.equal((await errorOf(tokenized, 503)).code, "incompatible_version");
    const fleet = await (await fetch(`${edge.url}/v1/fleet`)).json();
    assert.deepEqual([fleet.edge.wire_versions, fleet.workers], [[1, 2], []]);
    assert.deepEqual(fleet.incompatible, [{ id: "worker-of-then", model: FAKE_MODEL, wire_versions: [3, 4] }]);
    assert.match((await edge.deps.metrics.text()).text, /^tessera_workers_incompatible 1$/m);

    // One that it can talk to is enough.
    const worker = await addWorker();
    worker.serve(["fine"]);
    await until(() => edge.deps.directory.isServed());
    assert.equal((await (await ask()).json()).choices[0].message.content, "fine");
    await nc.close();
  }));

Deno.test("versions: the newest that every worker speaks, and one of a release to come is talked to in an old one", () =>
  withEdge({ worker: false }, async (harness) => {
    const { addWorker, edge, ask } = harness;
    const oldest = await addWorker({ announcement: { wire_versions: [1] } });
    await until(() => edge.deps.directory.isServed());
    assert.equal(versionOf(harness), 1);
    oldest.serve(["as of old"]);
    assert.equal((await (await ask()).json()).choices[0].message.content, "as of old");
    const newest = await addWorker({ announcement: { wire_versions: [2, 3] } });
    await until(() => edge.deps.directory.workersOf(FAKE_MODEL).length === 2);
    // None that both speak: the newest that one does.
    assert.equal(versionOf(harness), 2);
    await oldest.stop();
    await until(() => edge.deps.directory.workersOf(FAKE_MODEL).length === 1);
    const asked = ask();
    const job = await newest.pull();
    assert.equal(job.job.v, 2);
    await job.take();
    job.done(0, "as of now");
    await job.ack();
    assert.equal((await (await asked).json()).choices[0].message.content, "as of now");
  }));

Deno.test("versions: a job that waits is published anew for a worker of before that has come", () =>
  withEdge({}, async (harness) => {
    const { ask, worker, edge, addWorker } = harness;
    const asked = ask();
    await until(async () => await worker.numQueued() === 1);
    const first = await worker.firstQueued();
    const old = await addWorker({ announcement: { wire_versions: [1] } });
    await until(() => edge.deps.directory.workersOf(FAKE_MODEL).length === 2);
    await until(() => harness.lines.some(({ event }) => event === "job_published_again"));
    // The one it replaces may be taken until it is withdrawn.
    await until(async () => await worker.firstQueued() > first);
    const job = await old.pull();
    assert.deepEqual([job.job.v, job.job.attempt_base], [1, 100]);
    await job.take();
    job.tokens(0, [1], "a");
    job.done(1);
    await job.ack();
    assert.equal((await (await asked).json()).choices[0].message.content, "a");
    assert.equal(await worker.numQueued(), 0);
  }));

Deno.test("versions: whatever cannot be read ends its request, and nobody else's", () =>
  withEdge({}, async ({ ask, worker, natsUrl }) => {
    const nc = await connect({ servers: natsUrl });
    const start = async () => {
      const asked = ask();
      const job = await worker.pull();
      return { asked, job };
    };
    const { asked: other, job: otherJob } = await start();
    await otherJob.take();

    // Refused before it was claimed, in words of a version to come.
    const refused = await start();
    const refusal = { attempt: 1, type: "error", code: "incompatible_version", message: "Too old.", param: null };
    const said = (v: number) => JSON.stringify({ v, ...refusal });
    nc.publish(eventsSubject(refused.job.job.edge_id, refused.job.job.id), said(2));
    const { code, message } = await errorOf(await refused.asked, 503);
    assert.deepEqual([code, message], ["incompatible_version", "Too old."]);
    await refused.job.ack();
    const later = await start();
    nc.publish(eventsSubject(later.job.job.edge_id, later.job.job.id), said(9));
    assert.match((await errorOf(await later.asked, 503)).message, /of version 9; this build reads 1 and 2/);
    await later.job.ack();

    // An error code that a newer build has.
    const unknown = await start();
    await unknown.job.take();
    const { id: job_id, edge_id } = unknown.job.job;
    const newer = { ...refusal, job_id, attempt: unknown.job.attempt, code: "too_purple", message: "Inside." };
    nc.publish(eventBatchSubject(edge_id), JSON.stringify({ v: 2, events: [newer] }));
    const body = await errorOf(await unknown.asked, 500);
    assert.deepEqual([body.code, body.message.includes("Inside")], ["internal_error", false]);
    await unknown.job.ack();

    // One bad event among others.
    const broken = await start();
    await broken.job.take();
    const events = [{ job_id: broken.job.job.id, attempt: 1, type: "tokens", seq: "one" }, "no event", {
      job_id: otherJob.job.id,
      attempt: otherJob.attempt,
      type: "tokens",
      seq: 0,
      ids: [5],
      text: "unharmed",
      since_a_later_release: true,
    }];
    nc.publish(eventBatchSubject(broken.job.job.edge_id), JSON.stringify({ v: 2, events }));
    await errorOf(await broken.asked, 500);
    await broken.job.ack();
    otherJob.done(1);
    await otherJob.ack();
    assert.equal((await (await other).json()).choices[0].message.content, "unharmed");
    await nc.close();
  }));
