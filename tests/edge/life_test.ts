/** The edge's life: ready only when all of it is, draining without cutting answers, a bus that goes and comes back. */
import { startNatsServer } from "@tessera/infra/nats";
import { silentLogger } from "@tessera/shared";
import assert from "node:assert/strict";
import { startEdge } from "../../edge/mod.ts";
import { FakeTilePool } from "./fake_tile_pool.ts";
import { FAKE_MODEL, FakeWorker } from "./fake_worker.ts";
import { errorOf, testConfig, until, withEdge } from "./harness.ts";

async function readiness(url: string): Promise<{ status: number; reasons: string[] }> {
  const response = await fetch(`${url}/readyz`);
  const { reasons } = await response.json() as { reasons?: string[] };
  return { status: response.status, reasons: reasons ?? [] };
}

/** A port nobody listens to now. */
function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  listener.close();
  return listener.addr.port;
}

Deno.test("readyz: no bus, no tile workers, no model worker, ready, and back", async () => {
  const port = freePort();
  const poolReady = Promise.withResolvers<void>();
  const config = testConfig(`nats://127.0.0.1:${port}`);
  const edge = await startEdge({ config, log: silentLogger, tilePool: new FakeTilePool(poolReady.promise) });
  try {
    assert.deepEqual((await readiness(edge.url)).reasons.length, 3);
    assert.equal((await fetch(`${edge.url}/healthz`)).status, 200);
    assert.match(await (await fetch(edge.url)).text(), /chat\/completions/);
    poolReady.resolve();
    await until(async () => (await readiness(edge.url)).reasons.length === 2);
    const nats = await startNatsServer({ port });
    await until(async () => (await readiness(edge.url)).reasons.length === 1);
    const worker = await FakeWorker.start({ natsUrl: nats.url });
    await until(async () => (await readiness(edge.url)).status === 200);
    await worker.announce({ draining: true });
    await until(async () => (await readiness(edge.url)).status === 503);
    await worker.announce({ draining: false });
    await until(async () => (await readiness(edge.url)).status === 200);
    await worker.stop();
    await until(async () => (await readiness(edge.url)).status === 503);

    // The server restarts and has forgotten everything: stream, bucket, subscriptions.
    await nats.stop();
    await until(() => !edge.deps.bus.isConnected);
    const again = await startNatsServer({ port });
    await until(() => edge.deps.bus.isConnected);
    const other = await FakeWorker.start({ natsUrl: again.url });
    await until(async () => (await readiness(edge.url)).status === 200);
    other.serve(["ok"]);
    const response = await fetch(`${edge.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: FAKE_MODEL, messages: [{ role: "user", content: "x" }] }),
    });
    assert.equal(response.status, 200);
    await response.body?.cancel();
    await other.stop();
    await again.stop();
  } finally {
    await edge.close();
  }
});

Deno.test("drain: new requests are refused, a running stream ends whole, then nobody listens", async () => {
  await withEdge({}, async ({ ask, worker, edge }) => {
    const asked = ask({ stream: true });
    const job = await worker.pull();
    await job.take();
    job.tokens(0, [1], "a");
    const response = await asked;
    const drained = edge.drain();
    const refused = await ask();
    assert.equal(refused.headers.get("retry-after"), "5");
    assert.equal((await errorOf(refused, 503)).code, "shutting_down");
    assert.equal((await readiness(edge.url)).status, 503);
    job.tokens(1, [2], "b");
    job.done(2);
    await job.ack();
    assert.match(await response.text(), /\[DONE\]/);
    await drained;
    await assert.rejects(fetch(`${edge.url}/healthz`));
  });
});

Deno.test("drain: what does not end in time is cancelled and told so", async () => {
  await withEdge({ config: { drainMs: 200 } }, async ({ ask, worker, edge }) => {
    const streamed = ask({ stream: true });
    const job = await worker.pull();
    await job.take();
    job.tokens(0, [1], "a");
    const response = await streamed;
    const whole = ask();
    await worker.pull();
    const drained = edge.drain();
    await job.cancelled;
    assert.match(await response.text(), /"code":"shutting_down"/);
    assert.equal((await errorOf(await whole, 503)).code, "shutting_down");
    await drained;
    await job.ack();
  });
});

Deno.test("close: twice, with requests running", async () => {
  await withEdge({}, async ({ ask, worker, edge }) => {
    const asked = ask();
    await worker.pull();
    await Promise.all([edge.close(), edge.close()]);
    assert.equal((await errorOf(await asked, 503)).code, "shutting_down");
  });
});

Deno.test("over a web socket, as where plain TCP cannot leave", async () => {
  const port = freePort();
  const conf = await Deno.makeTempFile({ suffix: ".conf" });
  await Deno.writeTextFile(conf, `websocket { host: "127.0.0.1", port: ${port}, no_tls: true }`);
  const config = { natsUrl: `ws://127.0.0.1:${port}` };
  await withEdge({ config, natsArgs: ["--config", conf] }, async ({ ask, worker }) => {
    worker.serve(["over ", "ws"]);
    assert.equal((await (await ask()).json()).choices[0].message.content, "over ws");
  });
  await Deno.remove(conf);
});
