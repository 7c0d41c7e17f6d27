/** From a store to a signed callback, with MinIO's event as it sends it; with MinIO itself: `deno task test:minio`. */
import assert from "node:assert/strict";
import { minioEvent } from "./events.ts";
import { fromStoreToCallback, WORD } from "./store_to_callback.ts";

Deno.test("hooks: upload, event, caption by the embedded model, signed callback", async () => {
  const objects = new Map<string, Uint8Array<ArrayBuffer>>();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const found = objects.get(decodeURIComponent(new URL(request.url).pathname));
    return found === undefined ? new Response("", { status: 404 }) : new Response(found);
  });
  let hook = "";
  await fromStoreToCallback({
    url: `http://127.0.0.1:${server.addr.port}`,
    bucket: "photos",
    keys: null,
    notify: (hookUrl) => Promise.resolve(void (hook = hookUrl)),
    put: async (key, bytes) => {
      objects.set(`/photos/${key}`, bytes);
      const headers = { "content-type": "application/json", authorization: `Bearer ${WORD}` };
      const response = await fetch(hook, { method: "POST", headers, body: JSON.stringify(minioEvent("photos", key)) });
      assert.equal(response.status, 200, await response.text());
    },
  });
  await server.shutdown();
});
