/** Pictures are fetched within limits of size, time, redirects and addresses. */
import { MAX_IMAGE_BYTES, TesseraError } from "@tessera/shared";
import assert from "node:assert/strict";
import { type FetchOptions, fetchPicture } from "./fetch_picture.ts";
import { OutboundRules } from "../outbound/rules.ts";
import { PICTURE } from "./kind.ts";

type Handler = (request: Request) => Response | Promise<Response>;

async function withServer(handler: Handler, body: (base: string) => Promise<void>): Promise<void> {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, handler);
  try {
    await body(`http://127.0.0.1:${server.addr.port}`);
  } finally {
    await server.shutdown();
  }
}

const ANYWHERE = new OutboundRules({ allowPrivate: true });
const STRICT = new OutboundRules({ allowPrivate: false });

function options(change: Partial<FetchOptions> = {}): FetchOptions {
  const signal = new AbortController().signal;
  return { kind: PICTURE, rules: ANYWHERE, timeoutMs: 5_000, signal, param: "p", onBytes: () => {}, ...change };
}

/** So many bytes that begin as a BMP. */
function bmp(numBytes: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(numBytes).fill(7);
  bytes.set([0x42, 0x4d]);
  return bytes;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(() => null, (error: unknown) => error);
  assert.ok(error instanceof TesseraError, String(error));
  if (error.code !== "client_closed") assert.equal(error.param, "p");
  assert.ok(!/127\.0\.0\.1|ECONN|ENOTFOUND/.test(error.message), error.message);
  return error.code;
}

const loopback = () => Promise.resolve([{ address: "127.0.0.1", family: 4 }]);

Deno.test("fetch: bytes, counted as they come, over redirects", async () => {
  await withServer((request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/a") return new Response(null, { status: 302, headers: { location: "b?x=1" } });
    if (pathname === "/b") return Response.redirect(new URL("/c", request.url), 308);
    return new Response(bmp(100_000));
  }, async (base) => {
    let numBytes = 0;
    const bytes = await fetchPicture(`${base}/a`, options({ onBytes: (n) => numBytes += n }));
    assert.equal(bytes.length, 100_000);
    assert.equal(numBytes, 100_000);
    assert.ok(bytes.subarray(2).every((byte) => byte === 7));
    assert.equal(bytes.byteLength, bytes.buffer.byteLength);
  });
});

Deno.test("fetch: private addresses are refused, as literal, by name, and behind a redirect", async () => {
  const strict = options({ rules: STRICT });
  const literals = ["127.0.0.1", "[::1]", "169.254.169.254", "0x7f000001", "127.1", "2130706433", "[::ffff:10.0.0.1]"];
  for (const host of literals) {
    assert.equal(await codeOf(fetchPicture(`https://${host}/`, strict)), "image_url_forbidden", host);
  }
  const rebound = options({ rules: STRICT, resolve: loopback });
  assert.equal(await codeOf(fetchPicture("https://example.com/", rebound)), "image_url_forbidden");
  const mixed = () => Promise.resolve([{ address: "8.8.8.8", family: 4 }, { address: "10.0.0.1", family: 4 }]);
  const both = options({ rules: STRICT, resolve: mixed });
  assert.equal(await codeOf(fetchPicture("https://example.com/", both)), "image_url_forbidden");
  assert.equal(await codeOf(fetchPicture("http://8.8.8.8/", strict)), "image_url_invalid");
});

Deno.test("fetch: the name is looked up once, and that address is the one connected to", async () => {
  await withServer((request) => new Response(`BM ${new URL(request.url).host}`), async (base) => {
    const asked: string[] = [];
    const resolve = (hostname: string) => {
      asked.push(hostname);
      return loopback();
    };
    const { port } = new URL(base);
    for (let i = 0; i < 2; i++) {
      const bytes = await fetchPicture(`http://pictures.example:${port}/`, options({ resolve }));
      assert.equal(new TextDecoder().decode(bytes), `BM pictures.example:${port}`);
    }
    assert.deepEqual(asked, ["pictures.example", "pictures.example"]);
  });
});

Deno.test("fetch: redirects to other schemes, in circles, to nowhere", async () => {
  await withServer((request) => {
    const to = new URL(request.url).searchParams.get("to") ?? "";
    return new Response(null, { status: 302, headers: { location: to === "self" ? request.url : to } });
  }, async (base) => {
    assert.equal(await codeOf(fetchPicture(`${base}/?to=self`, options())), "image_fetch_failed");
    assert.equal(await codeOf(fetchPicture(`${base}/?to=file:///etc/passwd`, options())), "image_url_invalid");
    assert.equal(await codeOf(fetchPicture(`${base}/?to=http://`, options())), "image_url_invalid");
  });
});

Deno.test("fetch: errors of the other side", async () => {
  await withServer(async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/404") return new Response("no", { status: 404 });
    if (pathname === "/slow") await new Promise((resolve) => setTimeout(resolve, 600));
    if (pathname === "/large") {
      const chunk = bmp(1024 * 1024);
      return new Response(
        new ReadableStream({ pull: (controller) => controller.enqueue(chunk) }, { highWaterMark: 0 }),
      );
    }
    return new Response("x");
  }, async (base) => {
    assert.equal(await codeOf(fetchPicture(`${base}/404`, options())), "image_fetch_failed");
    assert.equal(await codeOf(fetchPicture(`${base}/slow`, options({ timeoutMs: 100 }))), "image_fetch_failed");
    assert.equal(
      await codeOf(fetchPicture(`${base}/slow`, options({ signal: AbortSignal.timeout(100) }))),
      "client_closed",
    );
    let numBytes = 0;
    const count = options({ onBytes: (n) => numBytes += n });
    assert.equal(await codeOf(fetchPicture(`${base}/large`, count)), "image_too_large");
    assert.ok(numBytes <= MAX_IMAGE_BYTES);
    const full = options({
      onBytes: () => {
        throw new TesseraError("rate_limited", { param: "p" });
      },
    });
    assert.equal(await codeOf(fetchPicture(`${base}/large`, full)), "rate_limited");
  });
  assert.equal(await codeOf(fetchPicture("http://127.0.0.1:1/", options())), "image_fetch_failed");
  const nowhere = () => Promise.reject(new Error("getaddrinfo ENOTFOUND 127.0.0.1"));
  assert.equal(
    await codeOf(fetchPicture("http://nowhere.example/", options({ resolve: nowhere }))),
    "image_fetch_failed",
  );
});

Deno.test("fetch: a body cut short is not taken for a picture", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serve = (async () => {
    const connection = await listener.accept();
    await connection.read(new Uint8Array(4_096));
    await connection.write(new TextEncoder().encode("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nshort"));
    connection.close();
  })();
  const url = `http://127.0.0.1:${listener.addr.port}/`;
  assert.equal(await codeOf(fetchPicture(url, options())), "image_fetch_failed");
  await serve;
  listener.close();
});
