/** How jobs end that do not end well: cancelled, refused, late, damaged, failed; over a real server and the fake engine. */
import assert from "node:assert/strict";
import { jetstream } from "@nats-io/jetstream";
import { liveJobsSubject } from "@tessera/shared";
import { makeJob, makeTile, MODEL } from "./fake_edge.ts";
import { Stage, waitUntil } from "./stage.ts";

Deno.test("worker: cancelled mid-way, it stops and forgets", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker({ latency_ms: 5 });
    const sampling = { temperature: 0, top_p: 1, top_k: 0, seed: 0, max_tokens: 90, stop: [] };
    const job = await edge.ask("x", [await makeTile(1)], { sampling });
    await job.until(({ ids }) => ids.length >= 5);
    edge.cancel(job);
    await stage.settle(worker);
    assert.ok(job.ids.length < 60, `${job.ids.length} tokens were made`);
    assert.equal(await stage.numQueued(), 0);
  }));

Deno.test("worker: a job cancelled before it is pulled is never claimed", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker({ latency_ms: 5 }, { maxSequences: 1 });
    const first = await edge.ask("x", [], {
      sampling: { temperature: 0, top_p: 1, top_k: 0, seed: 0, max_tokens: 30, stop: [] },
    });
    const second = await edge.ask("y");
    edge.cancel(second);
    await first.done();
    await waitUntil(async () => await stage.numQueued() === 0, "both jobs to leave the queue");
    assert.equal(second.claims.length, 0);
    await stage.settle(worker);
  }));

Deno.test("worker: a refused claim drops the job", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge({ refuse: () => ({ v: 1, granted: false, reason: "gone" }) });
    const worker = await stage.worker();
    const job = await edge.ask("x");
    await job.until(({ claims }) => claims.length === 1);
    await waitUntil(async () => await stage.numQueued() === 0, "the acknowledgement");
    assert.deepEqual(job.events, []);
    await stage.settle(worker);
  }));

Deno.test("worker: what is no job is thrown out, and the next one runs", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker();
    await jetstream(edge.nc).publish(liveJobsSubject(MODEL), "{ no job");
    await jetstream(edge.nc).publish(liveJobsSubject(MODEL), JSON.stringify({ v: 1, id: "x" }));
    await (await edge.ask("x")).done();
    await waitUntil(async () => await stage.numQueued() === 0, "the queue to be empty");
    assert.equal(stage.lines.filter((line) => line.includes("job_unreadable")).length, 2);
    await stage.settle(worker);
  }));

Deno.test("worker: a tile that never comes, or is not what it says, ends the job with an error", () =>
  Stage.run(async (stage) => {
    const [missing, damaged] = [await makeTile(1), await makeTile(2)];
    const edge = await stage.edge({
      withhold: new Set([missing.hash]),
      pixelsOf: ({ hash, pixels }) => hash === damaged.hash ? pixels.map((byte) => byte ^ 1) : pixels,
    });
    const worker = await stage.worker({}, { waits: { tileMs: 200 } });
    for (const tile of [missing, damaged]) {
      const job = await edge.ask("x", [await makeTile(3), tile]);
      const end = await job.ended.promise;
      assert.equal(end.type === "error" && end.code, "internal_error");
      assert.equal(end.type === "error" && end.message, "Something went wrong inside the server.");
    }
    await waitUntil(async () => await stage.numQueued() === 0, "the acknowledgements");
    await stage.settle(worker);
  }));

Deno.test("worker: the deadline ends a job that runs", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge({ remainingMs: 150 });
    const worker = await stage.worker({ latency_ms: 20 });
    const sampling = { temperature: 0, top_p: 1, top_k: 0, seed: 0, max_tokens: 90, stop: [] };
    const job = await edge.ask("x", [], { sampling });
    const end = await job.ended.promise;
    assert.equal(end.type === "error" && end.code, "deadline_exceeded");
    await stage.settle(worker);
  }));

Deno.test("worker: a failed step is taken again; who fails twice is told, the others go on", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    // A batch with an exclamation mark fails.
    const isPoisoned: boolean[] = [];
    const worker = await stage.worker({
      latency_ms: 2,
      onStep: (batch) => isPoisoned.push(batch.tokenIds.includes(33)),
      fail: ({ kind, index }) => kind === "step" && isPoisoned[index] ? new Error("out of order") : undefined,
    });
    const sampling = { temperature: 0, top_p: 1, top_k: 0, seed: 0, max_tokens: 40, stop: [] };
    const good = await edge.ask("x", [], { sampling });
    await good.until(({ ids }) => ids.length >= 1);
    const bad = await edge.ask("x!");
    const end = await bad.ended.promise;
    assert.equal(end.type === "error" && end.code, "internal_error");
    await good.done();
    assert.deepEqual(good.ids, stage.expectedIds(good.job));
    await stage.settle(worker);
  }));

Deno.test("worker: an engine that only fails ends the worker, and what it has goes to another", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    let isBroken = false;
    const broken = await stage.worker({
      latency_ms: 2,
      fail: () => isBroken ? new Error("device lost") : undefined,
    }, { maxSequences: 8, waits: { ackMs: 60_000 } });
    const sampling = { temperature: 0, top_p: 1, top_k: 0, seed: 0, max_tokens: 60, stop: [] };
    const jobs = await Promise.all(Array.from({ length: 8 }, (_, i) => edge.ask(`x${i}`, [], { sampling })));
    for (const job of jobs) await job.until(({ ids }) => ids.length >= 1);
    isBroken = true;
    await assert.rejects(broken.ended, /4 engine calls failed/);
    await broken.close();
    const healthy = await stage.worker({}, { maxSequences: 8 });
    const ends = await Promise.all(jobs.map((job) => job.ended.promise));
    // Two were told before it was clear that it was not them.
    assert.equal(ends.filter(({ type }) => type === "done").length, 6);
    for (const job of jobs) assert.deepEqual(job.ids, stage.expectedIds(job.job).slice(0, job.ids.length));
    await stage.settle(healthy);
  }));

Deno.test("worker: a job that may end it has its turn at once, however late its class, so that others of the kind get theirs", () =>
  Stage.run(async (stage) => {
    const [suspects, withhold] = [new Set<string>(), new Set<string>()];
    const edge = await stage.edge({ isSuspect: (id) => suspects.has(id), withhold });
    const worker = await stage.worker({ latency_ms: 10 }, { maxSequences: 2 });
    const tile = await makeTile(1);
    const job = makeJob(edge.id, "suspect", [tile], { priority: 100, sampling: { max_tokens: 3 } });
    suspects.add(job.id);
    withhold.add(tile.hash);
    const suspect = await edge.send(job, [tile]);
    await suspect.until(({ claims }) => claims.length === 2);
    // Both places are taken, by jobs that go before it and last, when it could begin.
    const busy = await Promise.all([1, 2].map((i) => edge.ask(`busy ${i}`, [], { sampling: { max_tokens: 90 } })));
    await Promise.all(busy.map((each) => each.until(({ ids }) => ids.length > 0)));
    withhold.clear();
    edge.sendTiles(suspect, suspect.claims[1]!);
    await suspect.until(({ ids }) => ids.length > 0);
    assert.deepEqual(suspect.claims.map(({ trial }) => trial), [false, true]);
    assert.ok(busy.every(({ events }) => events.every(({ type }) => type !== "done")), "those were not done before");
    await Promise.all([...busy, suspect].map((each) => each.done()));
    assert.deepEqual(suspect.ids, stage.expectedIds(job, [tile]));
    await stage.settle(worker);
  }));
