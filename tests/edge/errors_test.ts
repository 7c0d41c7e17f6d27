/** Every error a client can cause or meet: status, code, place, and nothing of the inside. */
import { JetStreamApiError, jetstreamManager } from "@nats-io/jetstream";
import { errors } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { ERROR_CODES, type ErrorCode, LIVE_STREAM, MAX_BODY_BYTES, TesseraError } from "@tessera/shared";
import assert from "node:assert/strict";
import { toEdgeError } from "../../edge/dispatch/bus_faults.ts";
import { BAD_REQUESTS } from "./bad_requests.ts";
import { fakePicture } from "./fake_tile_pool.ts";
import { FAKE_MODEL } from "./fake_worker.ts";
import { about, errorOf, until, withEdge } from "./harness.ts";

const seen = new Set<string>();

function gzipped(bytes: BlobPart): Promise<ArrayBuffer> {
  return new Response(new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer();
}

Deno.test("a compressed body is read as the plain one", () =>
  withEdge({}, async ({ ask, worker }) => {
    worker.serve(["Hello"]);
    const text = JSON.stringify({ model: FAKE_MODEL, messages: [{ role: "user", content: "x".repeat(9_000) }] });
    const headers = { "content-type": "application/json", "content-encoding": "gzip" };
    const response = await ask({}, { headers, body: await gzipped(text) });
    assert.equal(response.status, 200);
    assert.equal((await response.json()).choices[0].message.content, "Hello");
  }));

Deno.test("bad requests: status, code and place, streaming or not", async (t) => {
  await withEdge({}, async ({ ask, edge }) => {
    for (const [name, body, status, code, param] of BAD_REQUESTS) {
      await t.step(name, async () => {
        for (const stream of [false, true]) {
          const response = await ask(body["stream"] === undefined ? { ...body, stream } : body);
          const error = await errorOf(response, status);
          assert.equal(error.code, code, error.message);
          assert.equal(error.param, param, error.message);
          assert.ok(error.message.length > 15);
          assert.equal(response.headers.get("retry-after"), status === 429 ? "1" : null);
          assert.ok(response.headers.get("x-request-id"));
          seen.add(code);
        }
      });
    }
    assert.equal(edge.deps.admission.heldBytes, 0);
  });
});

Deno.test("bad HTTP: body, content type, route, method, size", async () => {
  await withEdge({}, async ({ ask, edge }) => {
    const expect = async (response: Response, status: number, code: ErrorCode) => {
      assert.equal((await errorOf(response, status)).code, code);
      seen.add(code);
    };
    await expect(await ask({}, { body: "{" }), 400, "invalid_json");
    await expect(await ask({}, { body: "" }), 400, "invalid_json");
    await expect(await ask({}, { body: Uint8Array.of(0x22, 0xff, 0x22) }), 400, "invalid_json");
    await expect(await ask({}, { body: "[]" }), 400, "invalid_request");
    await expect(await ask({}, { body: "null" }), 400, "invalid_request");
    await expect(await ask({}, { headers: { "content-type": "text/plain" } }), 415, "unsupported_media_type");
    const coded = async (coding: string, body: BodyInit) =>
      await ask({}, { headers: { "content-type": "application/json", "content-encoding": coding }, body });
    await expect(await coded("gzip", "{}"), 400, "invalid_request");
    const bomb = await gzipped(new Uint8Array(MAX_BODY_BYTES + 1).fill(0x20));
    await expect(await coded("gzip", bomb), 413, "request_too_large");
    const brotli = await coded("br", "{}");
    assert.equal(brotli.headers.get("accept-encoding"), "gzip, deflate");
    await expect(brotli, 415, "unsupported_media_type");
    await expect(await fetch(`${edge.url}/v1/nothing`), 404, "not_found");
    const get = await fetch(`${edge.url}/v1/chat/completions`);
    assert.equal(get.headers.get("allow"), "POST");
    await expect(get, 405, "method_not_allowed");
    for (const name of ["none", "%", "a%2Fb"]) {
      await expect(await fetch(`${edge.url}/v1/models/${name}`), 404, "model_not_found");
    }
    assert.equal((await (await fetch(`${edge.url}/v1/models/fake/vl-1b`)).json()).id, FAKE_MODEL);

    const large = new Uint8Array(MAX_BODY_BYTES + 1).fill(0x20);
    await expect(await ask({}, { body: large }), 413, "request_too_large");
    const id = (await ask({}, { headers: { "x-request-id": "mine-1" } })).headers.get("x-request-id");
    assert.equal(id, "mine-1");
    const forged = await ask({}, { headers: { "x-request-id": "a b<c>" }, body: "{" });
    assert.match(forged.headers.get("x-request-id") ?? "", /^req-/);
    await forged.body?.cancel();
  });
});

Deno.test("what the bus fails at may be asked for again, what fails here may not", () => {
  for (
    const fault of [new errors.TimeoutError(), new JetStreamApiError({ code: 503, err_code: 10077, description: "" })]
  ) {
    assert.deepEqual([toEdgeError(fault).status, toEdgeError(fault).code], [503, "no_worker"]);
  }
  assert.equal(toEdgeError(new TypeError("x")).status, 500);
  assert.equal(toEdgeError(new TesseraError("invalid_json")).code, "invalid_json");
});

Deno.test("a body that trickles in is refused in time", async () => {
  await withEdge({ waits: { bodyMs: 200 } }, async ({ edge }) => {
    let timer: ReturnType<typeof setInterval> | undefined;
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(new TextEncoder().encode("{"));
        timer = setInterval(() => controller.enqueue(new TextEncoder().encode(" ")), 50);
      },
      cancel: () => clearInterval(timer),
    });
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${edge.url}/v1/chat/completions`, { method: "POST", headers, body });
    assert.equal((await errorOf(response, 408)).code, "request_timeout");
    clearInterval(timer);
    seen.add("request_timeout");
  });
});

Deno.test("what a worker answers with: its errors keep code, text and place; inner ones lose their text", async () => {
  await withEdge({}, async ({ ask, worker }) => {
    for (const stream of [false, true]) {
      const asked = ask({ stream });
      const job = await worker.pull();
      await job.take();
      const message = "The prompt has 40000 tokens, the context 32768. Shorten it.";
      job.emit({ type: "error", code: "context_length_exceeded", message, param: "messages" });
      await job.ack();
      const error = await errorOf(await asked, 400);
      assert.deepEqual([error.code, error.message, error.param], ["context_length_exceeded", message, "messages"]);
    }
    const asked = ask({ stream: true });
    const job = await worker.pull();
    await job.take();
    job.emit({ type: "error", code: "internal_error", message: "CUDA error at /src/x.cu:17", param: null });
    await job.ack();
    const error = await errorOf(await asked, 500);
    assert.equal(error.message, "Something went wrong inside the server.");
    seen.add("internal_error");
  });
});

Deno.test("an error after the first token comes as an event, then the stream ends", async () => {
  await withEdge({}, async ({ ask, worker }) => {
    const asked = ask({ stream: true });
    const job = await worker.pull();
    await job.take();
    job.tokens(0, [1], "a");
    const response = await asked;
    job.emit({ type: "error", code: "internal_error", message: "secret", param: null });
    await job.ack();
    const text = await response.text();
    const last = text.trimEnd().split("\n\n").at(-1)!;
    assert.equal(JSON.parse(last.slice("data: ".length)).error.code, "internal_error");
    assert.ok(!text.includes("secret") && !text.includes("[DONE]"));
  });
});

Deno.test("a fault inside is told as internal_error, its text only in the log", async () => {
  await withEdge({}, async ({ ask, pool, lines }) => {
    pool.fault = new Error("password=hunter2 at /srv/secret.ts");
    const response = await ask({ messages: [about([fakePicture(1, 1)])] });
    const headers = JSON.stringify([...response.headers]);
    const text = await response.text();
    assert.equal(response.status, 500);
    assert.deepEqual(JSON.parse(text), {
      error: {
        message: "Something went wrong inside the server.",
        type: "server_error",
        param: null,
        code: "internal_error",
      },
    });
    assert.ok(!headers.includes("hunter2"));
    assert.ok(JSON.stringify(lines).includes("hunter2"));
  });
});

Deno.test("no worker: at once when none is announced, after a while when the last one leaves", async () => {
  await withEdge({ worker: false, waits: { noWorkerMs: 300 } }, async ({ ask, edge, addWorker }) => {
    await until(() => edge.deps.bus.isConnected);
    const none = await ask({ model: "anything" });
    assert.equal(none.headers.get("retry-after"), "5");
    assert.equal((await errorOf(none, 503)).code, "no_worker");
    seen.add("no_worker");

    const worker = await addWorker();
    await until(() => edge.deps.directory.isServed());
    const asked = ask();
    await until(async () => await worker.numQueued() === 1);
    await worker.announce({ draining: true });
    assert.equal((await errorOf(await asked, 503)).code, "no_worker");
    await until(async () => await worker.numQueued() === 0);

    await addWorker({ announcement: { model: "other" } });
    await until(() => edge.deps.directory.isServed("other"));
    const known = await errorOf(await ask({ model: FAKE_MODEL }), 503);
    assert.equal(known.code, "no_worker");
    assert.equal((await errorOf(await ask({ model: "never" }), 404)).code, "model_not_found");
  });
});

Deno.test("too many requests, too many bytes", async () => {
  const config = { maxInflight: 2, maxHeldBytes: 100_000 };
  await withEdge({ config }, async ({ ask, worker }) => {
    const running = [ask(), ask()];
    const jobs = [await worker.pull(), await worker.pull()];
    const refused = await ask();
    assert.equal(refused.headers.get("retry-after"), "1");
    assert.equal((await errorOf(refused, 429)).code, "rate_limited");
    for (const job of jobs) {
      await job.take();
      job.done(0, "ok");
      await job.ack();
    }
    for (const response of await Promise.all(running)) assert.equal((await response.json()).choices.length, 1);

    // 9 + 1 tiles of 2,352 bytes fit four times, but not five times.
    const messages = (n: number) => [about(Array.from({ length: n }, (_, i) => fakePicture(3, 3, i)))];
    const first = ask({ messages: messages(3) });
    const job = await worker.pull();
    assert.equal((await errorOf(await ask({ messages: messages(3) }), 429)).code, "rate_limited");
    await job.take();
    job.done(0, "ok");
    await job.ack();
    assert.equal((await first).status, 200);
    await (await first).body?.cancel();
    assert.equal((await errorOf(await ask({ messages: messages(5) }), 413)).code, "request_too_large");
  });
});

Deno.test("a stream that vanished is made again", async () => {
  await withEdge({}, async ({ ask, worker, natsUrl }) => {
    const nc = await connect({ servers: natsUrl });
    await (await jetstreamManager(nc)).streams.delete(LIVE_STREAM);
    const stop = new AbortController();
    const asked = ask({}, { signal: stop.signal });
    await until(async () => await worker.numQueued().catch(() => 0) === 1);
    stop.abort();
    await assert.rejects(asked);
    await nc.close();
  });
});

Deno.test("a full queue answers 429", async () => {
  await withEdge({}, async ({ ask, worker, natsUrl, addWorker, edge }) => {
    const nc = await connect({ servers: natsUrl });
    const manager = await jetstreamManager(nc);
    const { config } = await manager.streams.info(LIVE_STREAM);
    await manager.streams.update(LIVE_STREAM, { ...config, max_msgs: 1 });
    const waiting = ask();
    await until(async () => await worker.numQueued() === 1);
    // 30 wait, and two workers do four a second together.
    await worker.announce({ queued: 30, jobs_per_s: 2.5 });
    const other = await addWorker({ announcement: { queued: 29, jobs_per_s: 1.5 } });
    await until(() => edge.deps.directory.workersOf(FAKE_MODEL).filter(({ queued = 0 }) => queued > 0).length === 2);
    const refused = await ask();
    assert.equal(refused.headers.get("retry-after"), "8");
    assert.equal((await errorOf(refused, 429)).code, "rate_limited");
    await other.stop();
    worker.serve(["ok"]);
    assert.equal((await (await waiting).json()).choices.length, 1);
    await nc.close();
  });
});

Deno.test("every code a client can meet was met", () => {
  const elsewhere: ErrorCode[] = [
    "client_closed",
    "shutting_down",
    "worker_lost",
    "worker_crashed",
    "request_in_progress",
    "idempotency_mismatch",
    "deadline_exceeded",
    "image_fetch_failed",
    "video_unsupported_format",
    "video_corrupt",
    "video_too_large",
    "video_unavailable",
    "webhook_url_invalid",
    "webhook_url_forbidden",
    "webhooks_unavailable",
    "invalid_api_key",
    "insufficient_scope",
    "insufficient_quota",
    "batch_ended",
    "signature_invalid",
    "origin_not_allowed",
    "incompatible_version",
  ];
  const missing = ERROR_CODES.filter((code) => !seen.has(code) && !elsewhere.includes(code));
  assert.deepEqual(missing, []);
});
