/** One trace from a client through the edge, the bus and the worker, as an OpenTelemetry collector sees it. */
import assert from "node:assert/strict";
import { type EdgePart, Fleet, until } from "../support/fleet.ts";
import { OtlpReceiver, type ReceivedSpan } from "../support/otlp_receiver.ts";
import { png } from "../support/png_writer.ts";

const CLIENT_SPAN = "b7ad6b7169203331";

function newTraceId(): string {
  return crypto.randomUUID().replaceAll("-", "");
}

function ask(edge: EdgePart, path: string, traceparent: string, body: unknown): Promise<Response> {
  const headers = { "content-type": "application/json", traceparent };
  return fetch(`${edge.url}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
}

function named(spans: readonly ReceivedSpan[], name: string): ReceivedSpan {
  const found = spans.filter((span) => span.name === name);
  assert.equal(found.length, 1, `${name}: ${JSON.stringify(spans.map((span) => span.name))}`);
  return found[0]!;
}

function assertInside(inner: ReceivedSpan, outer: ReceivedSpan): void {
  // Two processes tell the time by the wall clock, which may be set between.
  const slack = 50_000_000n;
  assert.ok(inner.startedAt >= outer.startedAt - slack, `${inner.name} begins before ${outer.name}`);
  assert.ok(inner.endedAt <= outer.endedAt + slack, `${inner.name} ends after ${outer.name}`);
  assert.ok(inner.startedAt <= inner.endedAt, inner.name);
}

Deno.test("tracing: one trace from the client's span to the worker's stages, answers and durable jobs", () =>
  Fleet.run(async (fleet) => {
    await using receiver = new OtlpReceiver();
    const picture = await png(64, 48, (x) => x % 251);
    const serve = () => new Response(picture);
    await using pictures = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, serve);
    const url = `http://127.0.0.1:${pictures.addr.port}/a.png`;
    const worker = await fleet.worker({}, fleet.nats.url, receiver.env("worker"));
    const edge = await fleet.edge({ ...receiver.env("edge"), TESSERA_ALLOW_PRIVATE_URLS: "true" });
    const content = [{ type: "text", text: "What is it?" }, { type: "image_url", image_url: { url } }];
    const chat = { model: "fake", messages: [{ role: "user", content }], max_completion_tokens: 4 };

    for (const stream of [false, true]) {
      const traceId = newTraceId();
      const response = await ask(edge, "/v1/chat/completions", `00-${traceId}-${CLIENT_SPAN}-01`, { ...chat, stream });
      await response.text();
      assert.equal(response.status, 200);
      // The second finds its tiles on the worker.
      const onWorker = ["claim", "tiles", ...stream ? [] : ["vision"], "wait", "prefill", "generate"];
      const onEdge = ["fetch", "decode", "tile", "queue"];
      const all = ["job", "POST /v1/chat/completions", ...onWorker, ...onEdge];
      await until(() => all.every((name) => receiver.trace(traceId).some((span) => span.name === name)), "the spans");
      const spans = receiver.trace(traceId);
      const request = named(spans, "POST /v1/chat/completions");
      assert.equal(request.parentSpanId, CLIENT_SPAN);
      assert.equal(request.kind, 2);
      assert.equal(request.service, "edge");
      assert.equal(request.attributes["http.route"], "/v1/chat/completions");
      assert.equal(Number(request.attributes["http.response.status_code"]), 200);
      assert.equal(request.attributes["tessera.request_id"], response.headers.get("x-request-id"));
      assert.equal(request.attributes["gen_ai.request.model"], "fake");
      for (const name of onEdge) {
        const stage = named(spans, name);
        assert.equal(stage.service, "edge");
        assert.equal(stage.parentSpanId, request.spanId, name);
        assertInside(stage, request);
      }
      const job = named(spans, "job");
      assert.equal(job.parentSpanId, request.spanId);
      assert.equal(job.kind, 5);
      assert.equal(job.service, "worker");
      assert.equal(job.attributes["tessera.worker_id"], worker.last("worker_ready")!["worker_id"]);
      assert.equal(Number(job.attributes["gen_ai.usage.output_tokens"]), 4);
      for (const name of onWorker) {
        const stage = named(spans, name);
        assert.equal(stage.service, "worker");
        assert.equal(stage.parentSpanId, job.spanId, name);
        assertInside(stage, job);
      }
    }

    const traceId = newTraceId();
    const caption = { model: "fake", image: url, max_tokens: 2 };
    const made = await ask(edge, "/v1/captions", `00-${traceId}-${CLIENT_SPAN}-01`, caption);
    assert.equal(made.status, 202, await made.text());
    await until(
      () => ["job", "POST /v1/captions"].every((name) => receiver.trace(traceId).some((span) => span.name === name)),
      "the caption's spans",
    );
    assert.equal(
      named(receiver.trace(traceId), "job").parentSpanId,
      named(receiver.trace(traceId), "POST /v1/captions").spanId,
    );

    // What is no header begins a trace of its own; a fault is told as one.
    const refused = await ask(edge, "/v1/chat/completions", `00-${"0".repeat(32)}-${CLIENT_SPAN}-01`, { model: 1 });
    await refused.text();
    const requestId = refused.headers.get("x-request-id");
    const ofRefused = () => receiver.spans.find(({ attributes }) => attributes["tessera.request_id"] === requestId);
    await until(() => ofRefused() !== undefined, "the refused request");
    assert.equal(ofRefused()!.parentSpanId, "");
    assert.equal(Number(ofRefused()!.attributes["http.response.status_code"]), 400);
    assert.equal(ofRefused()!.status, 0, "the client's fault is none of the server");
  }));
