/** The HTTP server streams, and notices a client that leaves at any moment. */
import assert from "node:assert/strict";
import { type FetchHandler, type HttpServer, listen } from "./http_server.ts";

async function withServer(
  handler: FetchHandler,
  body: (base: string, port: number) => Promise<void>,
  limits: { headMs?: number; maxConnections?: number; onFull?: (max: number) => void } = {},
): Promise<void> {
  const server: HttpServer = await listen(handler, { host: "127.0.0.1", port: 0, onFault: () => {}, ...limits });
  try {
    await body(`http://127.0.0.1:${server.port}`, server.port);
  } finally {
    server.destroy();
    await server.close();
  }
}

/** What a raw connection answers until it ends or `enough` came. */
async function raw(port: number, text: string, enough: RegExp): Promise<string> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await connection.write(new TextEncoder().encode(text));
  let answer = "";
  const buffer = new Uint8Array(65_536);
  while (!enough.test(answer)) {
    const numRead = await connection.read(buffer);
    if (numRead === null) break;
    answer += new TextDecoder().decode(buffer.subarray(0, numRead));
  }
  connection.close();
  return answer;
}

Deno.test("http server: method, path, headers and body go in, status, headers and body come out", async () => {
  await withServer(async (request) => {
    const { pathname, search } = new URL(request.url);
    const text = request.body === null ? "" : await request.text();
    return new Response(`${request.method} ${pathname}${search} ${request.headers.get("x-a")} ${text.length}`, {
      status: 201,
      headers: { "x-b": "2" },
    });
  }, async (base, port) => {
    const init = { method: "POST", headers: { "x-a": "1" }, body: "b".repeat(300_000) };
    const response = await fetch(`${base}/p/a%2Fb?q=1`, init);
    assert.equal(response.status, 201);
    assert.equal(response.headers.get("x-b"), "2");
    assert.equal(await response.text(), "POST /p/a%2Fb?q=1 1 300000");
    assert.equal(await (await fetch(base)).text(), "GET / null 0");
    assert.match(await raw(port, "GET //h/p HTTP/1.1\r\nhost: a/b?\r\n\r\n", /\d$/), /\r\nGET \/\/h\/p null 0$/);
    const head = await raw(port, "HEAD /p HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", /never/);
    assert.match(head, /^HTTP\/1\.1 201 /);
    assert.doesNotMatch(head, /content-length/i);
  });
});

Deno.test("http server: a client that leaves before the answer is noticed, whatever the size of its body", async () => {
  for (const size of [10, 10_000, 1_000_000]) {
    const left = Promise.withResolvers<number>();
    await withServer(async (request) => {
      await request.arrayBuffer();
      const began = performance.now();
      request.signal.addEventListener("abort", () => left.resolve(performance.now() - began));
      await left.promise;
      return new Response("too late");
    }, async (base) => {
      const stop = new AbortController();
      const asked = fetch(base, { method: "POST", body: "x".repeat(size), signal: stop.signal });
      setTimeout(() => stop.abort(), 100);
      await assert.rejects(asked);
      assert.ok(await left.promise < 1_000);
    });
  }
});

Deno.test("http server: the signal of an answered request never aborts", async () => {
  let signal: AbortSignal | undefined;
  await withServer((request) => {
    signal = request.signal;
    return new Response("x");
  }, async (base) => {
    assert.equal(await (await fetch(base)).text(), "x");
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(signal?.aborted, false);
});

Deno.test("http server: a stream is pulled as the client reads, and cancelled when it leaves", async () => {
  const cancelled = Promise.withResolvers<void>();
  let numChunks = 0;
  const chunk = new Uint8Array(65_536);
  const body = () =>
    new ReadableStream({
      pull(controller) {
        numChunks++;
        controller.enqueue(chunk);
      },
      cancel: () => cancelled.resolve(),
    }, { highWaterMark: 0 });
  await withServer(
    () => new Response(body(), { headers: { "content-type": "text/event-stream" } }),
    async (_, port) => {
      const connection = await Deno.connect({ hostname: "127.0.0.1", port });
      await connection.write(new TextEncoder().encode("GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
      await new Promise((resolve) => setTimeout(resolve, 500));
      const numAtRest = numChunks;
      await new Promise((resolve) => setTimeout(resolve, 200));
      // Sockets hold some megabytes; more is not produced for a client that reads nothing.
      assert.ok(numAtRest > 0 && numAtRest < 1_000);
      assert.equal(numChunks, numAtRest);
      connection.close();
      await cancelled.promise;
    },
  );
});

Deno.test("http server: an answer to a body that was not read is heard, and the connection ends", async () => {
  await withServer(() => new Response("no", { status: 413 }), async (base, port) => {
    const response = await fetch(base, { method: "POST", body: new Uint8Array(5_000_000) });
    assert.equal(response.status, 413);
    assert.equal(await response.text(), "no");
    const text = await raw(port, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc", /no$/);
    assert.match(text, /connection: close/i);
  });
});

Deno.test("http server: what is no request is a 400, a handler that throws ends the connection alone", async () => {
  await withServer((request) => {
    if (request.url.endsWith("/throw")) throw new Error("x");
    return new Response("ok");
  }, async (base, port) => {
    assert.match(await raw(port, "GET / HTTP/1.1\r\nhost: a b:c\r\n\r\n", /\r\n\r\n/), / 400 /);
    assert.match(await raw(port, "nonsense\r\n\r\n", /\r\n\r\n/), /^$| 400 /);
    await assert.rejects(fetch(`${base}/throw`).then((response) => response.text()));
    assert.equal(await (await fetch(base)).text(), "ok");
  });
});

Deno.test("http server: a head that is not sent, or not to its end, is given up, a body may take longer", async () => {
  await withServer(async (request) => new Response(await request.text()), async (_base, port) => {
    assert.match(await raw(port, "GET / HTTP/1.1\r\nhost: x\r\nx-slow: ", /never/), /^HTTP\/1\.1 408 /);
    assert.equal(await raw(port, "", /never/), "");
    assert.match(await raw(port, "GET / HTTP/1.1\r\nhost: x\r\n\r\n", /\r\n\r\n/), /keep-alive: timeout=75/i);
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    await connection.write(new TextEncoder().encode("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab"));
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    await connection.write(new TextEncoder().encode("cd"));
    const buffer = new Uint8Array(65_536);
    const numRead = await connection.read(buffer);
    assert.match(new TextDecoder().decode(buffer.subarray(0, numRead ?? 0)), /^HTTP\/1\.1 200 /);
    connection.close();
  }, { headMs: 500 });
});

Deno.test("http server: above its connections it closes those that come, and takes new ones when others end", async () => {
  const told: number[] = [];
  await withServer(() => new Response("ok"), async (_base, port) => {
    const held = await Promise.all([1, 2].map(() => Deno.connect({ hostname: "127.0.0.1", port })));
    for (const connection of held) await connection.write(new TextEncoder().encode("GET / HTTP/1.1\r\nhost: x\r\n"));
    const ask = () => raw(port, "GET / HTTP/1.1\r\nhost: x\r\n\r\n", /ok$/).catch(() => "");
    for (let i = 0; i < 10; i++) assert.equal(await ask(), "");
    assert.deepEqual(told, [2]);
    for (const connection of held) connection.close();
    while (await ask() === "") await new Promise((resolve) => setTimeout(resolve, 10));
  }, { maxConnections: 2, onFull: (max) => told.push(max) });
});
