/** Real pictures through the real tile pool: from data: and http: URLs to tiles at the worker, mistakes named. */
import { sha256Hex } from "@tessera/shared";
import assert from "node:assert/strict";
import { createTilePool } from "../../edge/tile/mod.ts";
import { dataUrl } from "./fake_tile_pool.ts";
import { about, errorOf, withEdge } from "./harness.ts";

const TILE = 448;

/** An uncompressed BMP of two halves: red on the left, blue on the right. */
function twoHalves(width: number, height: number): Uint8Array {
  const stride = Math.ceil((width * 3) / 4) * 4;
  const bytes = new Uint8Array(54 + stride * height);
  const view = new DataView(bytes.buffer);
  bytes.set([0x42, 0x4d]);
  view.setUint32(2, bytes.length, true);
  view.setUint32(10, 54, true);
  view.setUint32(14, 40, true);
  view.setInt32(18, width, true);
  view.setInt32(22, height, true);
  view.setUint16(26, 1, true);
  view.setUint16(28, 24, true);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) bytes[54 + y * stride + x * 3 + (x < width / 2 ? 2 : 0)] = 255;
  }
  return bytes;
}

/** A tile of one colour. */
function plain(r: number, g: number, b: number): Uint8Array {
  return new Uint8Array(TILE * TILE * 3).map((_, i) => [r, g, b][i % 3]!);
}

Deno.test("pictures: cut by the model's numbers, sent to the worker, told in the answer", async (t) => {
  const tilePool = createTilePool({ workers: 1 });
  const picture = twoHalves(2 * TILE, TILE);
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/moved") return Response.redirect(new URL("/picture", request.url), 301);
    if (pathname === "/picture") return new Response(picture as Uint8Array<ArrayBuffer>);
    return new Response("<html>", { status: 404 });
  });
  const base = `http://127.0.0.1:${server.addr.port}`;
  const announcement = { tile_size: TILE, max_tiles: 6, context_length: 32_768, tokens_per_tile: 256 };
  try {
    await tilePool.ready;
    await withEdge(
      { tilePool, worker: { announcement }, config: { allowPrivateUrls: true } },
      async ({ ask, worker }) => {
        const red = await sha256Hex(plain(255, 0, 0));
        const blue = await sha256Hex(plain(0, 0, 255));
        for (const url of [dataUrl(picture), `${base}/moved`]) {
          await t.step(url.slice(0, 5), async () => {
            const asked = ask({ messages: [about([url, url])], mm_processor_kwargs: { use_thumbnail: false } });
            const job = await worker.pull();
            assert.deepEqual(job.job.images.map(({ tiles }) => tiles), [[red, blue], [red, blue]]);
            await job.take();
            assert.deepEqual(job.tiles.map(({ hash }) => hash), [red, blue]);
            for (const { hash, pixels } of job.tiles) assert.equal(await sha256Hex(pixels), hash);
            job.done(0, "ok");
            await job.ack();
            const { tessera } = await (await asked).json();
            const facts = { width: 2 * TILE, height: TILE, cols: 2, rows: 1, tiles: 2 };
            for (const { fetch_ms, decode_ms, resize_ms, wait_ms, cut_ms, hash_ms, ...image } of tessera.images) {
              assert.deepEqual(image, facts);
              assert.equal(fetch_ms > 0, url.startsWith("http"));
              assert.ok(decode_ms > 0 && resize_ms > 0 && wait_ms >= 0 && cut_ms >= 0 && hash_ms >= 0);
            }
            assert.equal(tessera.images.length, 2);
            assert.ok(tessera.timings.decode_ms > 0 && tessera.timings.tile_ms > 0);
            if (url.startsWith("http")) assert.ok(tessera.timings.fetch_ms > 0);
          });
        }
        await t.step("thumbnail and detail: low", async () => {
          const low = { type: "image_url", image_url: { url: dataUrl(picture), detail: "low" } };
          const high = { type: "image_url", image_url: { url: dataUrl(picture), detail: "high" } };
          const asked = ask({ messages: [{ role: "user", content: [low, high] }] });
          const job = await worker.pull();
          const [one, many] = job.job.images;
          assert.equal(one!.tiles.length, 1);
          assert.equal(many!.tiles.length, 3);
          // The whole picture as one tile is the thumbnail of the other.
          assert.equal(one!.tiles[0], many!.tiles[2]);
          await job.take();
          job.done(0, "ok");
          await job.ack();
          await (await asked).body?.cancel();
        });
        await t.step("tiles of one picture and of all", async () => {
          const url = dataUrl(picture);
          const one = { type: "image_url", image_url: { url, max_dynamic_patch: 1 } };
          const general = { type: "image_url", image_url: { url } };
          const four = { type: "image_url", image_url: { url, min_dynamic_patch: 4, max_dynamic_patch: 5 } };
          const kwargs = { use_thumbnail: false, min_dynamic_patch: 2, max_dynamic_patch: 2 };
          const asked = ask({
            messages: [{ role: "user", content: [one, general, four] }],
            mm_processor_kwargs: kwargs,
          });
          const job = await worker.pull();
          assert.deepEqual(job.job.images.map(({ tiles }) => tiles.length), [1, 2, 4]);
          await job.take();
          job.done(0, "ok");
          await job.ack();
          const { tessera } = await (await asked).json();
          const grids = tessera.images.map(({ cols, rows }: { cols: number; rows: number }) => [cols, rows]);
          assert.deepEqual(grids, [[1, 1], [2, 1], [2, 2]]);
        });
        await t.step("pictures that are none", async () => {
          const huge = twoHalves(1, 1);
          new DataView(huge.buffer).setInt32(18, 60_000, true);
          const cases = [
            [dataUrl(new TextEncoder().encode("<html>")), "image_unsupported_format"],
            [dataUrl(new Uint8Array()), "image_corrupt"],
            [dataUrl(picture.subarray(0, 60_000)), "image_corrupt"],
            [dataUrl(huge), "image_too_large"],
            [`${base}/none`, "image_fetch_failed"],
            ["http://127.0.0.1:1/", "image_fetch_failed"],
          ] as const;
          for (const [url, code] of cases) {
            const error = await errorOf(await ask({ messages: [about([dataUrl(picture), url])] }), 400);
            assert.deepEqual([error.code, error.param], [code, "messages[0].content[1]"], `${code}: ${error.message}`);
          }
        });
      },
    );
  } finally {
    await server.shutdown();
    await tilePool.close();
  }
});
