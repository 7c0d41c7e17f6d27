/** What Prometheus and Server-Timing are told, over HTTP, after answers, refusals and streams. */
import assert from "node:assert/strict";
import { until, withEdge } from "./harness.ts";

/** The value of one series; undefined where there is none. */
function valueOf(text: string, series: string): number | undefined {
  const line = text.split("\n").find((line) => line.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

Deno.test("metrics: requests, refusals, stages, tokens and what the edge holds", async () => {
  await withEdge({}, async ({ edge, ask, worker }) => {
    worker.serve(["Hello"]);
    const read = async () => await (await fetch(`${edge.url}/metrics`)).text();
    const answer = await ask();
    assert.match(answer.headers.get("server-timing")!, /\bprefill;dur=[\d.]+.*\btotal;dur=[\d.]+/);
    const { usage } = await answer.json();
    const streamed = await ask({ stream: true });
    assert.match(streamed.headers.get("server-timing")!, /\bqueue;dur=[\d.]+.*\bfirst_token;dur=[\d.]+/);
    await streamed.text();
    await (await ask({ n: 1_000 })).body?.cancel();
    await (await fetch(`${edge.url}/v1/files/file-nothing`)).body?.cancel();
    await (await fetch(`${edge.url}/nowhere/at/all`)).body?.cancel();
    await until(async () =>
      valueOf(await read(), 'tessera_answers_total{model="fake/vl-1b",finish_reason="stop"}') === 2
    );
    const text = await read();
    const requests = (route: string, method: string, status: number) =>
      valueOf(text, `tessera_requests_total{route="${route}",method="${method}",status="${status}"}`);
    assert.equal(requests("/v1/chat/completions", "POST", 200), 2);
    assert.equal(requests("/v1/chat/completions", "POST", 400), 1);
    assert.equal(requests("/v1/files/:id", "GET", 404), 1, "ids make no series");
    assert.equal(requests("other", "GET", 404), 1);
    assert.equal(valueOf(text, 'tessera_refusals_total{code="invalid_request"}'), 1);
    assert.equal(valueOf(text, 'tessera_tokens_total{model="fake/vl-1b",kind="output"}'), 2 * usage.completion_tokens);
    assert.equal(valueOf(text, 'tessera_stage_seconds_count{stage="prefill"}'), 2);
    assert.equal(valueOf(text, 'tessera_request_seconds_count{route="/v1/chat/completions"}'), 3);
    assert.equal(valueOf(text, "tessera_requests_inflight"), 0);
    assert.equal(valueOf(text, "tessera_bus_connected"), 1);
    assert.equal(valueOf(text, 'tessera_workers{model="fake/vl-1b"}'), 1);
    for (const line of text.split("\n")) assert.match(line, /^(#.*|[a-z_]+(\{.*\})? [-+\d.eNaInf]+|)$/);
  });
});

Deno.test("metrics: a model without a worker is missed while it is asked for, and no name that was never announced is", () =>
  withEdge({}, async ({ edge, ask, worker }) => {
    const workers = async () => {
      const text = await (await fetch(`${edge.url}/metrics`)).text();
      return text.split("\n").filter((line) => line.startsWith("tessera_workers{"));
    };
    assert.deepEqual(await workers(), ['tessera_workers{model="fake/vl-1b"} 1']);
    await worker.stop();
    await until(() => !edge.deps.directory.isAlive("fake/vl-1b"));
    assert.deepEqual(await workers(), [], "nobody has asked for it");
    for (const model of ["fake/vl-1b", "never/heard-of"]) {
      const refused = await ask({ model });
      await refused.body?.cancel();
      assert.ok(refused.status === 503 || refused.status === 404);
    }
    assert.deepEqual(await workers(), ['tessera_workers{model="fake/vl-1b"} 0']);
  }));

Deno.test("metrics: where keys are needed, not for everybody", async () => {
  await withEdge({ config: { auth: "keys" } }, async ({ edge }) => {
    const response = await fetch(`${edge.url}/metrics`);
    await response.body?.cancel();
    assert.equal(response.status, 401);
  });
});

Deno.test("metrics: told inside a fleet on an address of its own, without a key", () =>
  withEdge(
    { worker: false, config: { auth: "keys", metricsAddress: "127.0.0.1:0" } },
    async ({ edge, lines, addWorker }) => {
      const outside = await fetch(`${edge.url}/metrics`);
      await outside.body?.cancel();
      assert.equal(outside.status, 401);
      const { url } = lines.find(({ event }) => event === "metrics_listening") as { url: string };
      await until(() => edge.deps.bus.isConnected);
      assert.match(await (await fetch(url)).text(), /^tessera_bus_connected 1$/m);
      const ready = async () => {
        const response = await fetch(new URL("/readyz", url));
        await response.body?.cancel();
        return response.status;
      };
      assert.equal(await ready(), 503);
      await addWorker();
      await until(async () => await ready() === 200);
    },
  ));
