/** POST /v1/images/inspect: sizes, grids and costs from headers alone, errors in their places, short downloads. */
import assert from "node:assert/strict";
import { createTilePool } from "../../edge/tile/mod.ts";
import { jpeg } from "../support/jpeg_writer.ts";
import { png } from "../support/png_writer.ts";
import { dataUrl } from "./fake_tile_pool.ts";
import { FAKE_MODEL } from "./fake_worker.ts";
import { errorOf, withEdge } from "./harness.ts";

const announcement = { tile_size: 448, tokens_per_tile: 256, max_tiles: 12, context_length: 32_768 };

Deno.test("inspect: size, type, orientation, grid, tiles and tokens, without decoding", async (t) => {
  const photo = jpeg(3000, 1000, { orientation: 6, detail: 15 });
  const shot = await png(896, 448, (x, y) => x ^ y);
  let numSent = 0;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    if (new URL(request.url).pathname !== "/photo") return new Response(null, { status: 404 });
    const pieces = Array.from({ length: Math.ceil(photo.length / 16_384) }, (_, i) => i * 16_384);
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        const at = pieces.shift();
        if (at === undefined) return controller.close();
        await new Promise((resolve) => setTimeout(resolve, 5));
        numSent = Math.min(at + 16_384, photo.length);
        controller.enqueue(photo.subarray(at, at + 16_384));
      },
    });
    return new Response(body, { headers: { "content-length": String(photo.length) } });
  });
  const base = `http://127.0.0.1:${server.addr.port}`;
  const tilePool = createTilePool({ workers: 1 });
  const options = { tilePool, worker: { announcement }, config: { allowPrivateUrls: true } };
  await tilePool.ready;
  try {
    await withEdge(options, async ({ edge }) => {
      const inspect = (body: unknown) =>
        fetch(`${edge.url}/v1/images/inspect`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(body),
        });

      await t.step("one picture, its model the only one there is", async () => {
        const response = await inspect({ url: dataUrl(photo) });
        const { memory_bytes, ...facts } = await response.json();
        assert.deepEqual(facts, {
          object: "image.inspection",
          model: FAKE_MODEL,
          width: 1000,
          height: 3000,
          type: "jpeg",
          orientation: 6,
          cols: 2,
          rows: 6,
          tiles: 13,
          tokens: 3328,
        });
        assert.ok(memory_bytes > 9_000_000);
      });

      await t.step("a list, each with its own wishes, errors in their places", async () => {
        const response = await inspect({
          model: FAKE_MODEL,
          images: [
            { url: dataUrl(photo), detail: "low" },
            { url: dataUrl(shot), max_dynamic_patch: 1 },
            { url: dataUrl(new TextEncoder().encode("hello")) },
            { url: `${base}/none` },
            { url: dataUrl(shot), max_dynamic_patch: 13 },
            { url: dataUrl(shot) },
          ],
          mm_processor_kwargs: { use_thumbnail: false, exact: true },
        });
        assert.equal(response.status, 200);
        const { data, tiles, tokens, object } = await response.json();
        assert.equal(object, "list");
        assert.deepEqual(data.map((entry: { index: number }) => entry.index), [0, 1, 2, 3, 4, 5]);
        // With `exact` the orientation is told, and not applied.
        assert.deepEqual([data[0].width, data[0].orientation, data[0].tiles], [3000, 6, 1]);
        assert.deepEqual([data[1].type, data[1].tiles], ["png", 1]);
        const errors = data.slice(2, 5).map(({ error }: { error: { code: string; param: string } }) => error);
        assert.deepEqual(errors.map(({ code, param }: { code: string; param: string }) => [code, param]), [
          ["image_unsupported_format", "images[2]"],
          ["image_fetch_failed", "images[3]"],
          ["invalid_request", "images[4].max_dynamic_patch"],
        ]);
        assert.deepEqual([data[5].cols, data[5].rows, data[5].tiles, data[5].tokens], [2, 1, 2, 512]);
        assert.deepEqual([tiles, tokens], [4, 1024]);
      });

      await t.step("of a URL only the beginning is fetched", async () => {
        assert.ok(photo.length > 500_000, `${photo.length}`);
        const { width, height } = await (await inspect({ url: `${base}/photo` })).json();
        assert.deepEqual([width, height], [1000, 3000]);
        assert.ok(numSent < photo.length / 2, `${numSent} of ${photo.length} bytes`);
      });

      await t.step("what is wrong with the request", async () => {
        const cases: [unknown, number, string, string | null][] = [
          [{}, 400, "invalid_request", "url"],
          [{ images: [] }, 400, "invalid_request", "images"],
          [{ images: [{ url: "x" }], url: "x" }, 400, "invalid_request", "url"],
          [{ url: dataUrl(shot), model: "gpt-5" }, 404, "model_not_found", "model"],
          [{ url: dataUrl(shot), detail: "huge" }, 400, "invalid_request", "detail"],
          [{ url: dataUrl(shot), min_dynamic_patch: 13 }, 400, "invalid_request", "min_dynamic_patch"],
          [{ url: "file:///etc/passwd" }, 400, "image_url_invalid", "url"],
          [{ url: dataUrl(photo.subarray(0, 20)) }, 400, "image_corrupt", "url"],
          [{ images: new Array(65).fill({ url: "x" }) }, 400, "too_many_images", "images[64]"],
          [
            { url: dataUrl(shot), mm_processor_kwargs: { max_dynamic_patch: 99 } },
            400,
            "invalid_request",
            "mm_processor_kwargs.max_dynamic_patch",
          ],
        ];
        for (const [body, status, code, param] of cases) {
          const error = await errorOf(await inspect(body), status);
          assert.deepEqual([error.code, error.param], [code, param], error.message);
        }
        const get = await fetch(`${edge.url}/v1/images/inspect`);
        assert.equal(get.headers.get("allow"), "POST");
        await errorOf(get, 405);
        const { routes } = await (await fetch(edge.url)).json();
        assert.ok(routes.includes("POST /v1/images/inspect"));
      });
      assert.equal(tilePool.stats.running, 0);
    });
  } finally {
    await server.shutdown();
    await tilePool.close();
  }
});

Deno.test("inspect: without a worker, and with several models, the model must be named", async () => {
  await withEdge({ worker: false }, async ({ edge, addWorker }) => {
    const inspect = () =>
      fetch(`${edge.url}/v1/images/inspect`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ url: dataUrl(Uint8Array.of(0x54, 2, 1, 0, 0)) }),
      });
    assert.equal((await errorOf(await inspect(), 503)).code, "no_worker");
    await addWorker();
    await addWorker({ announcement: { model: "other" } });
    while (edge.deps.directory.models().length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal((await errorOf(await inspect(), 400)).param, "model");
  });
});
