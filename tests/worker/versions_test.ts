/** Jobs of edges of other releases, as a worker meets them: answered in their version, or refused by name. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import {
  DURABLE_STREAM,
  durableJobSubject,
  edgeEvents,
  JobEvent,
  liveJobsSubject,
  newId,
  Sampling,
} from "@tessera/shared";
import assert from "node:assert/strict";
import { connectNats } from "../../gpu-worker/intake/connect.ts";
import { makeJob, MODEL } from "./fake_edge.ts";
import { Stage, waitUntil } from "./stage.ts";

Deno.test("versions: events go as the job's version has them, and claims are in it", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker();
    const subjects: string[] = [];
    edge.nc.subscribe(edgeEvents(edge.id), { callback: (_error, { subject }) => void subjects.push(subject) });
    const first = await edge.ask("hello", [], { v: 1 });
    await first.done();
    assert.ok(subjects.length > 8 && subjects.every((subject) => subject.endsWith(first.job.id)), subjects.join());
    const numSingly = subjects.splice(0).length;
    // Four answers in step: as many events, a fourth of the messages.
    const sampling = { n: 4, temperature: 1 };
    const second = await edge.ask("hello", [], { v: 2, sampling });
    await second.done();
    assert.ok(subjects.every((subject) => subject.endsWith(".batch")), subjects.join());
    const numTokens = second.events.filter(({ type }) => type === "tokens").length;
    assert.equal(numTokens, 4 * 8);
    assert.ok(subjects.length <= 2 * numSingly, `${subjects.length} messages for ${numTokens} events`);
    assert.deepEqual([first, second].map(({ claims }) => claims[0]!.v), [1, 2]);
    await stage.settle(worker);
  }));

Deno.test("versions: a job of a version to come is refused by name after all have seen it", () =>
  Stage.run(async (stage) => {
    const worker = await stage.worker();
    const nc = await connectNats(stage.url, "edge of a release to come");
    const events = nc.subscribe(edgeEvents("edge-then"), { max: 1 });
    const core = { v: 9, id: newId("job"), edge_id: "edge-then", attempt_base: 200 };
    const envelope = { ...core, model: { name: MODEL }, prompt: "in other words" };
    await jetstream(nc).publish(liveJobsSubject(MODEL), JSON.stringify(envelope));
    for await (const { subject, data } of events) {
      const { code, message, ...rest } = JSON.parse(new TextDecoder().decode(data));
      assert.ok(subject.endsWith(core.id));
      assert.deepEqual(rest, { v: 9, attempt: 203, type: "error", param: null });
      assert.equal(code, "incompatible_version");
      assert.match(
        message,
        new RegExp(`^Worker ${worker.workerId} cannot read the job: .* version 9, expected 1 and 2`),
      );
    }
    await waitUntil(async () => await stage.numQueued() === 0, "the job to leave the queue");
    await nc.close();
    await stage.settle(worker);
  }));

Deno.test("versions: a job that is damaged is refused at once; its edge waits for nothing", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker();
    const heard = Promise.withResolvers<JobEvent>();
    const nc = await connectNats(stage.url, "listener");
    nc.subscribe(edgeEvents(edge.id), { callback: (_error, msg) => heard.resolve(JobEvent.parse(msg.json())) });
    await nc.flush();
    const job = makeJob(edge.id, "hello");
    const damaged = { ...job, sampling: { ...Sampling.parse(job.sampling), temperature: "warm" } };
    await jetstream(nc).publish(liveJobsSubject(MODEL), JSON.stringify(damaged));
    const event = await heard.promise;
    assert.deepEqual([event.type, event.type === "error" && event.code], ["error", "internal_error"]);
    await waitUntil(async () => await stage.numQueued() === 0, "the job to leave the queue");
    await nc.close();
    await stage.settle(worker);
  }));

Deno.test("versions: a stored job of a version to come waits for a worker that reads it", () =>
  Stage.run(async (stage) => {
    const worker = await stage.worker();
    const nc = await connectNats(stage.url, "edge of a release to come");
    const core = { v: 9, id: newId("job"), edge_id: "edge-then" };
    const { streams } = await jetstreamManager(nc);
    await waitUntil(() => streams.info(DURABLE_STREAM).then(() => true, () => false), "the durable queue");
    await jetstream(nc).publish(durableJobSubject(MODEL, "anyone", core.id), JSON.stringify(core));
    await waitUntil(() => stage.lines.some((line) => line.includes("job_unreadable")), "the worker to see it");
    const { state } = await streams.info(DURABLE_STREAM);
    assert.equal(state.messages, 1);
    await nc.close();
    await stage.settle(worker);
  }));
