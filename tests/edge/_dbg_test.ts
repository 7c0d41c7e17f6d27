import assert from "node:assert/strict";
import { fakePicture } from "./fake_tile_pool.ts";
import { about, withEdge } from "./harness.ts";
for (const n of [1, 6, 6, 6]) for (const claim of [true]) Deno.test(`dbg ${n} ${claim} ${Math.random()}`, async () => {
  await withEdge({config: {deadlineMs: 4000}}, async ({ ask, worker, lines }) => {
    const stop = new AbortController();
    const pictures = Array.from({ length: n }, (_, i) => fakePicture(4, 3, i));
    const asked = ask({ messages: [about(pictures)] }, { signal: stop.signal });
    const job = await worker.pull();
    if (claim) assert.ok((await job.claim()).granted);
    const t = performance.now();
    stop.abort();
    await assert.rejects(asked);
    await job.cancelled;
    console.log(n, claim, "cancelled after", performance.now() - t, job.tiles.length);
    await job.ack();
    console.log(lines.slice(-4).map((l) => JSON.stringify(l)).join("\n"));
  });
});
