// Owns the proof that a broken worker costs one picture: time limit, trap, uncaught error, a worker that cannot start.
import assert from "node:assert/strict";
import { TileError, type TilePoolOptions, type TileReason } from "../../edge/tile/mod.ts";
import { checkPoolOptions } from "../../edge/tile/options.ts";
import { Pool } from "../../edge/tile/pool.ts";
import { loadTilerModule } from "../../edge/tile/tiler.ts";
import { Fault, faultyFile } from "./faults.ts";
import { picture, SMALL } from "./support.ts";

function worker(file: string): Worker {
  return new Worker(new URL(file, import.meta.url), { type: "module" });
}

function faultyPool(options: TilePoolOptions): Pool {
  const parts = { spawn: () => worker("./faulty_worker.ts"), loadModule: loadTilerModule };
  return new Pool(checkPoolOptions({ workers: 1, ...options }), parts);
}

function reasonOf(promise: Promise<unknown>): Promise<TileReason | "fine"> {
  return promise.then(() => "fine", (error) => error instanceof TileError ? error.reason : Promise.reject(error));
}

const BREAKS: readonly (readonly [Fault, TileReason])[] = [
  [Fault.Trap, "decoder_failed"],
  [Fault.Uncaught, "decoder_failed"],
  [Fault.Loop, "timeout"],
];

for (const [fault, reason] of BREAKS) {
  Deno.test(`after ${Fault[fault]} only that picture fails and the worker is replaced`, async () => {
    await using pool = faultyPool({ timeoutMs: fault === Fault.Loop ? 1000 : 20_000 });
    await pool.ready;
    const files = [picture("420.jpg"), faultyFile(picture("420.jpg"), fault), picture("rgb8.png")];
    const reasons = await Promise.all(files.map((file) => reasonOf(pool.tileImage(file, SMALL))));
    assert.deepEqual(reasons, ["fine", reason, "fine"]);
    assert.equal(pool.stats.replaced, 1);
  });
}

Deno.test("an aborted picture that goes on and on loses its worker, and its place and memory come free", async () => {
  await using pool = faultyPool({ abortGraceMs: 50, timeoutMs: 60_000 });
  await pool.ready;
  const stop = new AbortController();
  const looping = reasonOf(pool.tileImage(faultyFile(picture("420.jpg"), Fault.Loop), SMALL, stop.signal));
  const next = reasonOf(pool.tileImage(picture("420.jpg"), SMALL));
  assert.deepEqual([pool.stats.running, pool.stats.queued], [1, 1]);
  const aborted = performance.now();
  stop.abort();
  assert.equal(await looping, "aborted");
  assert.ok(performance.now() - aborted < 50, "the caller need not wait for that");
  assert.equal(await next, "fine");
  assert.deepEqual([pool.stats.running, pool.stats.replaced], [0, 1]);
});

Deno.test("a refusal is no reason to replace a worker", async () => {
  await using pool = faultyPool({});
  assert.equal(await reasonOf(pool.tileImage(new TextEncoder().encode("hello, world"), SMALL)), "unsupported_format");
  assert.equal(await reasonOf(pool.tileImage(picture("420.jpg").slice(0, 900), SMALL)), "truncated");
  assert.equal(pool.stats.replaced, 0);
});

Deno.test("when no worker can start, pictures fail instead of waiting", async () => {
  const parts = { spawn: () => worker("data:text/javascript,throw 1"), loadModule: loadTilerModule };
  await using pool = new Pool(checkPoolOptions({ workers: 2 }), parts);
  const waiting = reasonOf(pool.tileImage(picture("420.jpg"), SMALL));
  assert.equal(await reasonOf(pool.ready), "decoder_failed");
  assert.equal(await waiting, "decoder_failed");
});

Deno.test("a worker that could not start is tried again", async () => {
  let tries = 0;
  const parts = {
    spawn: () => worker(++tries === 1 ? "data:text/javascript,throw 1" : "../../edge/tile/worker.ts"),
    loadModule: loadTilerModule,
  };
  await using pool = new Pool(checkPoolOptions({ workers: 1 }), parts);
  assert.equal(await reasonOf(pool.ready), "decoder_failed");
  assert.equal(await reasonOf(pool.tileImage(picture("420.jpg"), SMALL)), "fine");
  assert.equal(tries, 2);
});

Deno.test("without the WASM every picture fails and says why only in the log", async () => {
  const parts = {
    spawn: () => worker("./faulty_worker.ts"),
    loadModule: () => Promise.reject(new Error("/secret/path")),
  };
  await using pool = new Pool(checkPoolOptions({ workers: 1 }), parts);
  assert.equal(await reasonOf(pool.ready), "decoder_failed");
  await assert.rejects(pool.tileImage(picture("420.jpg"), SMALL), (error) => {
    assert.ok(error instanceof TileError);
    assert.doesNotMatch(error.publicMessage, /secret/);
    return true;
  });
});
