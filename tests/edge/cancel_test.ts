/** Clients that leave, at every stage: the work stops at once and nothing is kept. */
import assert from "node:assert/strict";
import { fakePicture } from "./fake_tile_pool.ts";
import { about, until, withEdge } from "./harness.ts";

Deno.test("leaving while tokens stream cancels the job", async () => {
  await withEdge({}, async ({ ask, worker, edge }) => {
    const stop = new AbortController();
    const asked = ask({ stream: true }, { signal: stop.signal });
    const job = await worker.pull();
    await job.take();
    job.tokens(0, [1], "a");
    const reader = (await asked).body!.getReader();
    await reader.read();
    stop.abort();
    await job.cancelled;
    await until(() => edge.deps.dispatcher.numRunning === 0);
    await job.ack();
    await reader.cancel().catch(() => {});
  });
});

Deno.test("leaving before the first token cancels the job, streaming or not", async () => {
  await withEdge({}, async ({ ask, worker }) => {
    // A body of several packets: not every server notices the client's end after one.
    const user = "x".repeat(200_000);
    for (const body of [{ stream: true }, { stream: false }, { stream: true, user }, { stream: false, user }]) {
      const stop = new AbortController();
      const asked = ask(body, { signal: stop.signal });
      const job = await worker.pull();
      await job.take();
      stop.abort();
      await assert.rejects(asked);
      await job.cancelled;
      assert.deepEqual(await job.claim([]), { v: 2, granted: false, reason: "gone" });
      await job.ack();
    }
  });
});

Deno.test("leaving while the job waits takes it out of the queue", async () => {
  await withEdge({}, async ({ ask, worker, edge }) => {
    const stop = new AbortController();
    const asked = ask({}, { signal: stop.signal });
    await until(async () => await worker.numQueued() === 1);
    stop.abort();
    await assert.rejects(asked);
    await until(async () => await worker.numQueued() === 0);
    assert.equal(edge.deps.dispatcher.numRunning, 0);
  });
});

Deno.test("leaving while pictures are tiled aborts the tiling", async () => {
  await withEdge({}, async ({ ask, worker, pool, edge }) => {
    const stop = new AbortController();
    const messages = [about([fakePicture(1, 1, 0, 2_500), fakePicture(1, 1, 1, 2_500)])];
    const asked = ask({ messages }, { signal: stop.signal });
    await until(() => edge.deps.admission.heldBytes > 4_000);
    stop.abort();
    await assert.rejects(asked);
    await until(() => pool.numAborted === 2);
    await until(() => edge.deps.admission.numInflight === 0);
    assert.equal(await worker.numQueued(), 0);
  });
});

Deno.test("clients that leave at any moment leave nothing behind", async () => {
  await withEdge({}, async ({ ask, worker, edge }) => {
    worker.serve(["a", "b", "c", "d"], 5);
    await Promise.all(Array.from({ length: 40 }, async (_, i) => {
      const stop = new AbortController();
      const timer = setTimeout(() => stop.abort(), i * 2);
      const body = { stream: i % 2 === 0, messages: [about([fakePicture(2, 1, i, i % 3 * 10)])] };
      await ask(body, { signal: stop.signal }).then((response) => response.text()).catch(() => {});
      clearTimeout(timer);
    }));
    await until(() => edge.deps.admission.numInflight === 0 && edge.deps.dispatcher.numRunning === 0);
    assert.equal(edge.deps.admission.heldBytes, 0);
    assert.equal((await ask()).status, 200);
  });
});
