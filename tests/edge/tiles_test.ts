/** Many tiles of many jobs at once: each worker gets exactly what it asked for, in its order, the bus never flooded. */
import { sha256Hex } from "@tessera/shared";
import assert from "node:assert/strict";
import { fakePicture } from "./fake_tile_pool.ts";
import { about, withEdge } from "./harness.ts";

Deno.test("tiles: twelve jobs with twenty-five tiles of 588 KiB each, pulled by two workers", async () => {
  const announcement = { tile_size: 448, tokens_per_tile: 256, context_length: 32_768 };
  await withEdge({
    worker: { announcement, ackWaitMs: 20_000 },
    config: { maxHeldBytes: 256 * 1024 * 1024 },
  }, async ({ ask, worker, addWorker }) => {
    const workers = [worker, await addWorker({ announcement, ackWaitMs: 20_000 })];
    await Promise.all(Array.from({ length: 12 }, async (_, i) => {
      const pictures = [fakePicture(4, 3, i), fakePicture(3, 4, i + 100)];
      const asked = ask({ messages: [about(pictures)] });
      const job = await workers[i % 2]!.pull();
      const want = job.allTiles.reverse();
      await job.take(want);
      assert.deepEqual(job.tiles.map(({ hash }) => hash), want);
      for (const { hash, pixels } of job.tiles.slice(0, 2)) assert.equal(await sha256Hex(pixels), hash);
      job.done(0, "ok");
      await job.ack();
      assert.equal((await asked).status, 200);
      await (await asked).body?.cancel();
    }));
  });
});

Deno.test("tiles: a job cancelled while its tiles are sent gets no more of them", async () => {
  await withEdge({}, async ({ ask, worker }) => {
    const stop = new AbortController();
    const pictures = Array.from({ length: 6 }, (_, i) => fakePicture(4, 3, i));
    const asked = ask({ messages: [about(pictures)] }, { signal: stop.signal });
    const job = await worker.pull();
    assert.ok((await job.claim()).granted);
    stop.abort();
    await assert.rejects(asked);
    await job.cancelled;
    assert.ok(job.tiles.length <= job.allTiles.length);
    await job.ack();
  });
});
