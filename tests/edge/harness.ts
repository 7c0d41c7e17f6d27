/** An edge on a real nats-server with a fake tile pool and, mostly, a fake worker; and small ways to ask it. */
import { startNatsServer } from "@tessera/infra/nats";
import { createLogger, type Logger } from "@tessera/shared";
import assert from "node:assert/strict";
import { DEFAULT_WAITS, type Edge, type EdgeConfig, startEdge, type Waits } from "../../edge/mod.ts";
import type { Resolve } from "../../edge/outbound/request.ts";
import type { TilePool } from "../../edge/tile/mod.ts";
import { FakeTilePool } from "./fake_tile_pool.ts";
import { FAKE_MODEL, FakeWorker, type FakeWorkerOptions } from "./fake_worker.ts";

export interface HarnessOptions {
  readonly config?: Partial<EdgeConfig>;
  readonly waits?: Partial<Waits>;
  readonly tilePool?: TilePool;
  readonly resolve?: Resolve;
  /** false: no worker is started. */
  readonly worker?: false | Omit<FakeWorkerOptions, "natsUrl">;
  readonly natsArgs?: readonly string[];
}

export interface Harness {
  readonly edge: Edge;
  readonly natsUrl: string;
  readonly worker: FakeWorker;
  readonly pool: FakeTilePool;
  /** Every line logged, parsed. */
  readonly lines: Record<string, unknown>[];
  addWorker(options?: Omit<FakeWorkerOptions, "natsUrl">): Promise<FakeWorker>;
  /** Asks for a completion; `body` is laid over a plain question. */
  ask(body?: Record<string, unknown>, init?: RequestInit): Promise<Response>;
}

export async function withEdge(options: HarnessOptions, body: (harness: Harness) => Promise<void>): Promise<void> {
  const nats = await startNatsServer(options.natsArgs === undefined ? {} : { args: options.natsArgs });
  const lines: Record<string, unknown>[] = [];
  const log: Logger = createLogger({ level: "debug", format: "json", sink: (line) => lines.push(JSON.parse(line)) });
  const pool = new FakeTilePool();
  const edge = await startEdge({
    config: testConfig(nats.url, options),
    log,
    tilePool: options.tilePool ?? pool,
    ...(options.resolve === undefined ? {} : { resolve: options.resolve }),
  });
  const workers: FakeWorker[] = [];
  const addWorker = async (extra: Omit<FakeWorkerOptions, "natsUrl"> = {}) => {
    const worker = await FakeWorker.start({ natsUrl: options.config?.natsUrl ?? nats.url, ...extra });
    workers.push(worker);
    return worker;
  };
  try {
    if (options.worker !== false) {
      await addWorker(options.worker ?? {});
      await until(() => edge.deps.directory.isServed());
    }
    const ask = (fields: Record<string, unknown> = {}, init: RequestInit = {}) =>
      fetch(`${edge.url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: FAKE_MODEL, messages: [{ role: "user", content: "Hello" }], ...fields }),
        ...init,
      });
    const harness: Harness = {
      edge,
      natsUrl: nats.url,
      get worker() {
        assert.ok(workers[0] !== undefined);
        return workers[0];
      },
      pool,
      lines,
      addWorker,
      ask,
    };
    await body(harness);
    edge.deps.dispatcher.checkIntegrity();
    await until(() => edge.deps.admission.numInflight === 0);
    assert.equal(edge.deps.admission.heldBytes, 0);
    assert.equal(edge.deps.dispatcher.numRunning, 0);
  } finally {
    await edge.close();
    await Promise.all(workers.map((worker) => worker.stop()));
    await nats.stop();
  }
}

export function testConfig(natsUrl: string, options: HarnessOptions = {}): EdgeConfig {
  return {
    host: "127.0.0.1",
    port: 0,
    natsUrl,
    numTileWorkers: 1,
    maxInflight: 64,
    maxHeldBytes: 64 * 1024 * 1024,
    maxTileBytes: 256 * 1024 * 1024,
    deadlineMs: 20_000,
    drainMs: 5_000,
    allowPrivateUrls: false,
    ...options.config,
    waits: { ...DEFAULT_WAITS, ...options.waits },
  };
}

/** Waits until `condition` holds, at most 10 s. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 10_000;
  while (!await condition()) {
    assert.ok(performance.now() < end, `waited too long until ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A user message: pictures, then text. */
export function about(urls: readonly string[], text = "What is it?") {
  return {
    role: "user" as const,
    content: [
      ...urls.map((url) => ({ type: "image_url" as const, image_url: { url } })),
      { type: "text" as const, text },
    ],
  };
}

/** Body of an error answer, after checking its status. */
export async function errorOf(response: Response, status: number) {
  const text = await response.text();
  assert.equal(response.status, status, text);
  return (JSON.parse(text) as { error: { message: string; type: string; param: string | null; code: string } }).error;
}

/** The `data:` items of an event stream, as they come. */
export async function* sseItems(response: Response): AsyncGenerator<string> {
  let rest = "";
  for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
    const events = (rest + text).split("\n\n");
    rest = events.pop()!;
    for (const event of events) if (event.startsWith("data: ")) yield event.slice("data: ".length);
  }
  assert.equal(rest, "");
}
