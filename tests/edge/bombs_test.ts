/** Bad pictures over HTTP: each is a 4xx that names the picture, the reason and the limit, and costs no worker. */
import assert from "node:assert/strict";
import { createTilePool } from "../../edge/tile/mod.ts";
import { badPictures, metadataBombs } from "../support/bombs.ts";
import { jpeg } from "../support/jpeg_writer.ts";
import { pngChunk, pngFile, pngHeader } from "../support/png_writer.ts";
import { dataUrl } from "./fake_tile_pool.ts";
import { errorOf, withEdge } from "./harness.ts";

const MIB = 1024 * 1024;
const image = (bytes: Uint8Array) => ({ type: "image_url", image_url: { url: dataUrl(bytes) } });
/** The picture is part 2 of message 1, behind a good one. */
const asked = (bytes: Uint8Array) => [
  { role: "system", content: "Be brief." },
  { role: "user", content: [{ type: "text", text: "x" }, image(jpeg(60, 40)), image(bytes)] },
];

Deno.test("bad pictures: named by place, reason and limit; nothing breaks and nothing grows", async (t) => {
  const tilePool = createTilePool({ workers: 1, maxMemoryBytes: 256 * MIB, abortGraceMs: 10_000 });
  await tilePool.ready;
  try {
    await withEdge({ tilePool }, async ({ ask, worker }) => {
      for (const { name, bytes, code, says } of await badPictures()) {
        await t.step(name, async () => {
          const error = await errorOf(await ask({ messages: asked(bytes) }), 400);
          assert.deepEqual([error.code, error.param], [code, "messages[1].content[2]"], error.message);
          assert.match(error.message, says);
        });
      }
      await t.step("a picture that needs more memory than there is names the limit", async () => {
        // Interlaced: it would be decoded as a whole.
        const huge = pngFile([pngHeader(7000, 7000, 6, true), pngChunk("IDAT", new Uint8Array(100))]);
        const error = await errorOf(await ask({ messages: asked(huge) }), 400);
        assert.deepEqual([error.code, error.param], ["image_too_large", "messages[1].content[2]"]);
        assert.match(error.message, /takes 3\d\d MiB of memory, more than the 256 MiB/);
      });
      for (const { name, bytes } of await metadataBombs()) {
        await t.step(`${name} is not unpacked`, async () => {
          const answer = ask({ messages: asked(bytes) });
          const job = await worker.pull();
          await job.take();
          job.done(0, "ok");
          await job.ack();
          assert.equal((await answer).status, 200);
          await (await answer).body?.cancel();
        });
      }
      assert.equal(tilePool.stats.replaced, 0);
      assert.ok(tilePool.stats.memoryBytes < 40 * MIB, `${tilePool.stats.memoryBytes} bytes`);
    });
  } finally {
    await tilePool.close();
  }
});
