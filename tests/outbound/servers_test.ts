/** Servers that attack whoever fetches from them: by redirects, by names that change, by what they send and how slowly. */
import { MAX_IMAGE_BYTES, TesseraError } from "@tessera/shared";
import assert from "node:assert/strict";
import { type FetchOptions, fetchPicture } from "../../edge/media/fetch_picture.ts";
import { PICTURE } from "../../edge/media/kind.ts";
import { HostList } from "../../edge/outbound/host_list.ts";
import { OutboundRules } from "../../edge/outbound/rules.ts";
import { makeCertificates } from "../support/certificates.ts";
import { startDnsServer } from "./dns_server.ts";

/** Stands for a host of the public internet: on loopback, but the rules of these tests trust its network. */
const PUBLIC = "127.1.0.1";
const RULES = new OutboundRules({ allowPrivate: false, trust: HostList.parse("127.1.0.0/16") });
const encoder = new TextEncoder();
const BMP = encoder.encode(`BM${"x".repeat(98)}`);

function options(change: Partial<FetchOptions>): FetchOptions {
  const signal = new AbortController().signal;
  return { kind: PICTURE, rules: RULES, timeoutMs: 5_000, signal, param: "p", onBytes: () => {}, ...change };
}

async function codeOf(work: Promise<unknown>, what: string): Promise<string> {
  const error = await work.then(() => null, (error: unknown) => error);
  assert.ok(error instanceof TesseraError, `${what}: ${error}`);
  assert.doesNotMatch(error.message, /127\.|10\.0|ECONN|\.test|cert/i, what);
  return error.code;
}

/** Counts whoever connects to 127.0.0.1 at that port: nobody may. */
function canary(port: number): { numConnections: number; close(): void } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port });
  const counted = { numConnections: 0, close: () => listener.close() };
  void (async () => {
    for await (const connection of listener) {
      counted.numConnections++;
      connection.close();
    }
  })();
  return counted;
}

Deno.test("outbound: over TLS with the name's certificate; redirects to private places, downgrades and changed names", async () => {
  const { ca, cert, key } = await makeCertificates(["DNS:public.test", "DNS:rebinding.test"]);
  const asked: Headers[] = [];
  const serve = (request: Request) => {
    asked.push(new Headers(request.headers));
    const to = new URL(request.url).searchParams.get("to");
    if (to === null) return new Response(BMP);
    const left = Number(new URL(request.url).searchParams.get("left"));
    const next = left > 1 ? `/?left=${left - 1}&to=${encodeURIComponent(to)}` : to;
    return new Response(null, { status: 302, headers: { location: next, "set-cookie": "session=1" } });
  };
  const server = Deno.serve({ hostname: PUBLIC, port: 0, cert, key, onListen: () => {} }, serve);
  const { port } = server.addr;
  const inside = canary(port);
  let numRebindings = 0;
  const dns = await startDnsServer((name) => {
    // The second answer, and all after it, lead inside.
    if (name === "rebinding.test") return [numRebindings++ === 0 ? PUBLIC : "127.0.0.1"];
    if (["public.test", "other.test"].includes(name)) return [PUBLIC];
    return name === "outside.test" ? ["8.8.8.8"] : ["127.0.0.1"];
  });
  const fetched = (url: string) => fetchPicture(url, options({ ca, resolve: dns.resolve }));
  const base = `https://public.test:${port}`;
  try {
    assert.deepEqual(await fetched(`${base}/`), BMP);
    const [first] = asked.splice(0);
    assert.equal(first!.get("host"), `public.test:${port}`);
    assert.deepEqual([...first!.keys()].sort(), [
      "accept",
      "accept-encoding",
      "connection",
      "host",
      "user-agent",
    ]);

    // Three redirects are followed, with nothing that the server set; four are not.
    assert.deepEqual(await fetched(`${base}/?left=3&to=/`), BMP);
    for (const headers of asked.splice(0)) {
      for (const name of ["cookie", "authorization", "referer"]) assert.equal(headers.get(name), null, name);
    }
    assert.equal(await codeOf(fetched(`${base}/?left=4&to=/`), "four redirects"), "image_fetch_failed");

    const targets: readonly (readonly [string, string])[] = [
      [`https://127.0.0.1:${port}/`, "image_url_forbidden"],
      [`//127.0.0.1:${port}/`, "image_url_forbidden"],
      [`\\\\127.0.0.1:${port}\\`, "image_url_forbidden"],
      [`https://0x7f.1:${port}/`, "image_url_forbidden"],
      [`https://[::ffff:7f00:1]:${port}/`, "image_url_forbidden"],
      [`https://inside.test:${port}/`, "image_url_forbidden"],
      ["https://169.254.169.254/latest/meta-data/", "image_url_forbidden"],
      ["https://metadata.google.internal/", "image_url_forbidden"],
      ["http://outside.test/", "image_url_invalid"],
      [`https://user:password@public.test:${port}/`, "image_url_invalid"],
      ["file:///etc/passwd", "image_url_invalid"],
      ["data:image/bmp;base64,Qk0=", "image_url_invalid"],
      ["gopher://127.0.0.1:6379/_", "image_url_invalid"],
      ["https://", "image_url_invalid"],
    ];
    for (const [to, code] of targets) {
      for (const left of [1, 3]) {
        const url = `${base}/?left=${left}&to=${encodeURIComponent(to)}`;
        assert.equal(await codeOf(fetched(url), to), code, to);
      }
    }

    // A name that changes: what was checked is what is connected to, and the next connection is checked again.
    assert.deepEqual(await fetched(`https://rebinding.test:${port}/`), BMP);
    assert.equal(dns.asked.filter((name) => name === "rebinding.test").length, 1);
    assert.equal(await codeOf(fetched(`https://rebinding.test:${port}/`), "again"), "image_url_forbidden");
    numRebindings = 0;
    const onward = `https://rebinding.test:${port}/?left=1&to=/`;
    assert.equal(await codeOf(fetched(onward), "a redirect to itself"), "image_url_forbidden");

    // Another name than the certificate's, and an authority that nobody trusts.
    assert.equal(await codeOf(fetched(`https://other.test:${port}/`), "the wrong certificate"), "image_fetch_failed");
    const untrusting = fetchPicture(`${base}/`, options({ resolve: dns.resolve }));
    assert.equal(await codeOf(untrusting, "an unknown authority"), "image_fetch_failed");
    assert.equal(inside.numConnections, 0);
  } finally {
    await server.shutdown();
    inside.close();
    dns.close();
  }
});

type Talk = (connection: Deno.TcpConn) => Promise<void>;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function write(connection: Deno.TcpConn, text: string): Promise<void> {
  for (let left = encoder.encode(text); left.length > 0;) left = left.subarray(await connection.write(left));
}

const says = (text: string): Talk => (connection) => write(connection, text);

/** Says the same until the other side has had enough. */
function forEver(beginning: string, text: string, everyMs = 0): Talk {
  return async (connection) => {
    await write(connection, beginning);
    while (true) {
      await write(connection, text);
      if (everyMs > 0) await pause(everyMs);
    }
  };
}

const OK = "HTTP/1.1 200 OK\r\n";
const CHUNKED = `${OK}transfer-encoding: chunked\r\n\r\n`;
const piece = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;

/** What a server does to whoever asks it for a picture, and what is made of it. */
const TALKS: readonly (readonly [string, string, Talk])[] = [
  ["says nothing", "image_fetch_failed", () => new Promise(() => {})],
  ["hangs up at once", "image_fetch_failed", () => Promise.resolve()],
  ["is no HTTP server", "image_fetch_failed", says("-ERR unknown command 'GET'\r\n")],
  ["speaks HTTP/0.9", "image_fetch_failed", says("BM not even a head")],
  ["never ends its head", "image_fetch_failed", forEver(OK, `x: ${"y".repeat(1_000)}\r\n`)],
  ["drips its head", "image_fetch_failed", forEver(OK, "x: y\r\n", 20)],
  ["drips one header's value", "image_fetch_failed", forEver(`${OK}x: `, "y", 20)],
  ["says 100 for ever", "image_fetch_failed", forEver("", "HTTP/1.1 100 Continue\r\n\r\n", 1)],
  ["announces too much", "image_too_large", says(`${OK}content-length: ${MAX_IMAGE_BYTES + 1}\r\n\r\nBM`)],
  ["announces a negative length", "image_fetch_failed", says(`${OK}content-length: -1\r\n\r\nBM`)],
  ["announces two lengths", "image_fetch_failed", says(`${OK}content-length: 2\r\ncontent-length: 3\r\n\r\nBMx`)],
  ["sends an endless body", "image_too_large", forEver(`${OK}\r\nBM`, "x".repeat(64 * 1024))],
  ["sends endless chunks", "image_too_large", forEver(CHUNKED + piece("BM"), piece("x".repeat(64 * 1024)))],
  ["sends an endless page", "image_unsupported_format", forEver(`${OK}\r\n<html>`, "<p>".repeat(1_000))],
  ["drips its body", "image_fetch_failed", forEver(`${OK}content-length: 1000000\r\n\r\nBM`, "x", 20)],
  ["drips chunks", "image_fetch_failed", forEver(CHUNKED + piece("BM"), piece("x"), 20)],
  ["drips before the type is clear", "image_fetch_failed", forEver(CHUNKED, piece("B"), 300)],
  ["ends too early", "image_fetch_failed", says(`${OK}content-length: 1000\r\n\r\nBM`)],
  ["ends within a chunk", "image_fetch_failed", says(`${CHUNKED}ff\r\nBM`)],
  [
    "calls a page a picture",
    "image_unsupported_format",
    says(`${OK}content-type: image/png\r\n\r\n<html><body></body>`),
  ],
  [
    "sends what a cache holds",
    "image_unsupported_format",
    says(`${OK}content-type: image/jpeg\r\n\r\n$11\r\nSECRET VALUE\r\n`),
  ],
  [
    "packs its body, unasked",
    "image_unsupported_format",
    says(`${OK}content-encoding: gzip\r\n\r\n\x1f\x0b${"\0".repeat(99)}`),
  ],
  [
    "wants a password",
    "image_fetch_failed",
    says("HTTP/1.1 401 No\r\nwww-authenticate: Basic\r\ncontent-length: 0\r\n\r\n"),
  ],
  ["sends a part", "image_fetch_failed", says("HTTP/1.1 206 Partial\r\ncontent-length: 2\r\n\r\nBM")],
  ["redirects to nowhere", "image_fetch_failed", says("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n")],
  [
    "redirects twice at once",
    "image_url_invalid",
    says("HTTP/1.1 302 Found\r\nlocation: file:///a\r\nlocation: /\r\n\r\n"),
  ],
  [
    "changes the protocol",
    "image_fetch_failed",
    says("HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
  ],
];

Deno.test(`outbound: ${TALKS.length} servers that send too much, too little, too slowly or something else`, async () => {
  await Promise.all(TALKS.map(async ([what, code, talk]) => {
    const listener = Deno.listen({ hostname: PUBLIC, port: 0 });
    const open: Deno.TcpConn[] = [];
    const serving = (async () => {
      for await (const connection of listener) {
        open.push(connection);
        await connection.read(new Uint8Array(4_096)).catch(() => {});
        void talk(connection).then(() => connection.close()).catch(() => {});
      }
    })();
    let numHeld = 0;
    const resolve = () => Promise.resolve([{ address: PUBLIC, family: 4 }]);
    const url = `http://public.test:${listener.addr.port}/`;
    // Where the size decides, time must not.
    const timeoutMs = code === "image_too_large" ? 60_000 : 1_000;
    const asked = fetchPicture(url, options({ resolve, timeoutMs, onBytes: (numBytes) => numHeld += numBytes }));
    assert.equal(await codeOf(asked, what), code, what);
    assert.ok(numHeld <= MAX_IMAGE_BYTES, what);
    if (code === "image_unsupported_format") assert.ok(numHeld <= 256 * 1024, `${what}: ${numHeld} bytes were read`);
    listener.close();
    for (const connection of open) {
      try {
        connection.close();
      } catch {
        // It has ended by itself.
      }
    }
    await serving;
  }));
});

Deno.test("outbound: a resolver that does not answer, answers nothing, or far too much", async () => {
  const silent = () => new Promise<never>(() => {});
  const asked = fetchPicture("https://a.test/", options({ resolve: silent, timeoutMs: 200 }));
  assert.equal(await codeOf(asked, "no answer"), "image_fetch_failed");
  const nothing = () => Promise.resolve([]);
  assert.equal(
    await codeOf(fetchPicture("https://a.test/", options({ resolve: nothing })), "none"),
    "image_fetch_failed",
  );
  const many = () => Promise.resolve(Array.from({ length: 5_000 }, () => ({ address: "10.0.0.1", family: 4 })));
  assert.equal(
    await codeOf(fetchPicture("https://a.test/", options({ resolve: many })), "many"),
    "image_url_forbidden",
  );
});
