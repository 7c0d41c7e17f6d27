/** A worker process with the fake engine: everything is real but the model. Settings come as JSON in FAKE_WORKER. */
import { createLogger, GREEDY, NATS_ACCESS_VARIABLES, readEnv, readNatsAccess } from "@tessera/shared";
import type { ModelFacts } from "../../gpu-worker/config.ts";
import { connectNatsPatiently } from "../../gpu-worker/intake/connect.ts";
import { startWorker } from "../../gpu-worker/mod.ts";
import { ADDED, handmadeTokenizer } from "../worker/handmade_tokenizer.ts";
import { FakeEngine } from "./fake_engine.ts";
import { letters } from "./fake_history.ts";

/** What a test may set. */
export interface FakeWorkerSettings {
  readonly model?: string;
  /** Of an engine call, in ms. */
  readonly latencyMs?: number;
  readonly maxSequences?: number;
  readonly numKvBlocks?: number;
  readonly contextLength?: number;
  readonly numTileSlots?: number;
  readonly tileSize?: number;
  readonly tokenBudget?: number;
  readonly waits?: Record<string, number>;
}

/** A prompt with this character ends the process as a fault of the hardware would. */
export const CRASH_MARK = "\u2620";
const CRASH_IDS = [...new TextEncoder().encode(CRASH_MARK)];

const TOKENS_PER_TILE = 4;

function crashOn(tokenIds: ArrayLike<number>): void {
  for (let i = 0; i + CRASH_IDS.length <= tokenIds.length; i++) {
    if (CRASH_IDS.every((id, at) => tokenIds[i + at] === id)) Deno.kill(Deno.pid, "SIGKILL");
  }
}

if (import.meta.main) {
  const get = (name: string) => Deno.env.get(name);
  const { TESSERA_NATS_URL, TESSERA_DRAIN_MS } = readEnv(["TESSERA_NATS_URL", "TESSERA_DRAIN_MS"], get);
  const settings = JSON.parse(get("FAKE_WORKER") ?? "{}") as FakeWorkerSettings;
  const log = createLogger({ level: "debug", format: "json", sink: (line) => console.log(line) });
  const engine = new FakeEngine({
    choose: letters,
    latency_ms: settings.latencyMs ?? 1,
    onStep: ({ tokenIds }) => crashOn(tokenIds),
    info: {
      kvBlockSize: 16,
      numKvBlocks: settings.numKvBlocks ?? 2_048,
      contextLength: settings.contextLength ?? 2_048,
      numTileSlots: settings.numTileSlots ?? 64,
      tileSize: settings.tileSize ?? 28,
      tokensPerTile: TOKENS_PER_TILE,
    },
  });
  const facts: ModelFacts = {
    name: settings.model ?? "fake",
    created: 1_700_000_000,
    minTiles: 1,
    maxTiles: 12,
    thumbnail: true,
    tileSize: engine.info.tileSize,
    tokensPerTile: TOKENS_PER_TILE,
    systemText: "be",
    eosIds: new Set([ADDED["<|im_end|>"]]),
    generation: GREEDY,
  };
  const asked = new AbortController();
  Deno.addSignalListener("SIGTERM", () => asked.abort());
  const access = readNatsAccess(readEnv(NATS_ACCESS_VARIABLES, get), Deno.readTextFileSync);
  const nc = await connectNatsPatiently(TESSERA_NATS_URL, "fake worker", log, asked.signal, access);
  const worker = await startWorker({ nc, engine, tokenizer: handmadeTokenizer(), facts, access, log }, {
    maxSequences: settings.maxSequences ?? 64,
    tokenBudget: settings.tokenBudget ?? 512,
    ...(settings.waits === undefined ? {} : { waits: settings.waits }),
  });
  log.info("worker_ready", { worker_id: worker.workerId });
  // Told on a line of their own, for tests that count what is left.
  const timer = setInterval(() => {
    worker.checkIntegrity();
    log.info("worker_state", { num_jobs: worker.numJobs(), is_idle: worker.isIdle(), rss: Deno.memoryUsage().rss });
  }, 200);
  void (async () => {
    for await (const _ of Deno.stdin.readable);
    asked.abort();
  })();
  await Promise.race([new Promise((resolve) => asked.signal.addEventListener("abort", resolve)), worker.ended]);
  clearInterval(timer);
  await worker.close(TESSERA_DRAIN_MS);
  Deno.exit(0);
}
