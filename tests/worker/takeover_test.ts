/** Workers that die, lose their connection or drain: another goes on behind the last token, and none is lost or doubled. */
import assert from "node:assert/strict";
import { startNatsServer } from "../../infra/nats/server.ts";
import { makeTile } from "./fake_edge.ts";
import { Stage, waitUntil } from "./stage.ts";

const LONG = { temperature: 1, top_p: 0.9, top_k: 0, seed: 5, max_tokens: 40, stop: [] };
const WAITS = { ackMs: 1_000, progressMs: 200 };

Deno.test("takeover: a worker dies mid-answer, the next goes on with the same ids", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const first = await stage.worker({ latency_ms: 10 }, { waits: WAITS });
    const tiles = [await makeTile(1)];
    const job = await edge.ask("x", tiles, { sampling: LONG });
    await job.until(({ ids }) => ids.length >= 5);
    await first.crash();
    assert.ok(job.ids.length < 40);

    const second = await stage.worker({}, { waits: WAITS });
    const done = await job.done();
    assert.equal(job.attempt, 2);
    assert.deepEqual(job.claims.map(({ want }) => want.length), [1, 1]);
    assert.deepEqual(job.ids, stage.expectedIds(job.job, tiles));
    assert.equal(job.text, String.fromCharCode(...job.ids));
    assert.equal(done.seq, 40);
    assert.equal(done.usage.completion_tokens, 40);
    const tokens = job.events.filter((event) => event.type === "tokens");
    const sentBefore = tokens.flatMap(({ attempt, ids }) => attempt === 1 ? ids : []).length;
    assert.equal(tokens.find(({ attempt }) => attempt === 2)?.seq, sentBefore);
    await stage.settle(second);
    await waitUntil(async () => await stage.numQueued() === 0, "the acknowledgement");
  }));

Deno.test("takeover: a worker dies after the last token, the next only says done", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker({}, { waits: WAITS });
    const job = await edge.ask("x", [], { sampling: { ...LONG, max_tokens: 3 } });
    // As if the first attempt's tokens had come and its end had not.
    const ids = stage.expectedIds(job.job);
    job.ids.push(...ids);
    const done = await job.done();
    assert.equal(done.seq, 3);
    assert.equal(done.finish_reason, "length");
    assert.equal(worker.engine.numCalls.step, 0);
    await stage.settle(worker);
  }));

Deno.test("takeover: draining, a worker finishes what it has and takes nothing new", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const first = await stage.worker({ latency_ms: 10 }, { waits: WAITS });
    const running = await edge.ask("x", [], { sampling: LONG });
    await running.until(({ ids }) => ids.length >= 2);
    const closing = first.close(20_000);
    const next = await edge.ask("y", [], { sampling: LONG });
    await running.done();
    await closing;
    assert.equal(next.claims.length, 0);
    const second = await stage.worker({}, { waits: WAITS });
    await next.done();
    assert.deepEqual(next.ids, stage.expectedIds(next.job));
    await stage.settle(second);
  }));

Deno.test("takeover: a worker that has no time to finish hands over at once", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const waits = { ackMs: 60_000 };
    const first = await stage.worker({ latency_ms: 10 }, { waits });
    const second = await stage.worker({ latency_ms: 10 }, { waits });
    const jobs = await Promise.all(Array.from({ length: 6 }, (_, i) =>
      edge.ask(`x${i}`, [], {
        sampling: { ...LONG, seed: i },
      })));
    for (const job of jobs) await job.until(({ ids }) => ids.length >= 1);
    await first.close(0);
    for (const job of jobs) {
      await job.done();
      assert.deepEqual(job.ids, stage.expectedIds(job.job));
    }
    assert.ok(jobs.some((job) => job.attempt === 2));
    await stage.settle(second);
  }));

Deno.test("takeover: the connection breaks and comes back, no token is lost or doubled", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker({ latency_ms: 10 }, { waits: { ackMs: 30_000 } });
    const job = await edge.ask("x", [await makeTile(1)], { sampling: { ...LONG, max_tokens: 80 } });
    await job.until(({ ids }) => ids.length >= 5);
    await worker.nc.reconnect();
    await job.done();
    assert.deepEqual(job.ids, stage.expectedIds(job.job, job.tiles));
    assert.equal(job.attempt, 1);
    await stage.settle(worker);
    await waitUntil(async () => await stage.numQueued() === 0, "the acknowledgement");
    // And it still pulls.
    await (await edge.ask("y")).done();
  }));

Deno.test("takeover: an edge that is away is asked again, and then forgotten", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const lost = await stage.edge();
    const worker = await stage.worker({}, { waits: { ...WAITS, claimMs: 500 } });
    const job = await lost.ask("x");
    await lost.close();
    await waitUntil(() => stage.lines.filter((line) => line.includes("claim_refused")).length >= 2, "a second try");
    assert.deepEqual(job.events.filter(({ type }) => type === "done").length <= 1, true);
    await (await edge.ask("y")).done();
    await stage.settle(worker);
  }));

Deno.test("takeover: a server that forgot everything is set up anew", () =>
  Stage.run(async (stage) => {
    const server = await startNatsServer();
    const port = Number(new URL(server.url).port);
    const worker = await stage.worker({}, { waits: WAITS }, server.url);
    await server.stop();
    const again = await startNatsServer({ port });
    try {
      await waitUntil(() => stage.lines.some((line) => line.includes("nats_reconnected")), "the reconnection");
      const edge = await stage.edge({}, again.url);
      await waitUntil(
        async () => await edge.ask("x").then(() => true, () => false),
        "the stream to be there again",
      );
      const [job] = [...edge.jobs.values()].slice(-1);
      await job!.done();
      await worker.close();
      await edge.close();
    } finally {
      await again.stop();
    }
  }));
