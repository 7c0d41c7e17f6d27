/** Boots a worker from the environment, and drains it on SIGINT or SIGTERM; a second signal does not wait. */
import type { NatsConnection } from "@nats-io/nats-core";
import {
  createLogger,
  EnvError,
  type Logger,
  NATS_ACCESS_VARIABLES,
  type NatsAccess,
  readEnv,
  readNatsAccess,
  unknownVariables,
} from "@tessera/shared";
import { findCheckpoint, modelName, readModelFacts } from "./config.ts";
import { openNativeEngine } from "./engine/native.ts";
import { openChosenEngine } from "./engine/select.ts";
import { chooseAlgorithmCache, chooseWeightCache } from "./engine/caches.ts";
import type { Engine } from "./engine/types.ts";
import { connectNatsPatiently, ensureDurableQueue, ensureQueue } from "./intake/connect.ts";
import { Ffmpeg } from "./media/ffmpeg.ts";
import { type RunningWorker, startWorker } from "./mod.ts";
import { loadTokenizer } from "./prompt/load_tokenizer.ts";

const VARIABLES = [
  "TESSERA_MODEL",
  "TESSERA_DEVICE",
  "TESSERA_DTYPE",
  "TESSERA_HEAD_DTYPE",
  "TESSERA_WEIGHT_CACHE",
  "TESSERA_WEIGHT_CACHE_MB",
  "TESSERA_ALGORITHM_CACHE",
  "TESSERA_DATA_DIR",
  "TESSERA_FFMPEG",
  "TESSERA_NATS_URL",
  ...NATS_ACCESS_VARIABLES,
  "TESSERA_THREADS",
  "TESSERA_NUM_DEVICES",
  "TESSERA_TENSOR_PARALLEL",
  "TESSERA_VISION_DEVICES",
  "TESSERA_KV_CACHE_MB",
  "TESSERA_KV_MEMORY_SHARE",
  "TESSERA_TILE_SLOTS",
  "TESSERA_MAX_SEQUENCES",
  "TESSERA_TOKEN_BUDGET",
  "TESSERA_DRAIN_MS",
  "TESSERA_METRICS",
  "TESSERA_SUPERVISED",
  "TESSERA_LOG_LEVEL",
  "TESSERA_LOG_FORMAT",
] as const;

type Settings = ReturnType<typeof readEnv<(typeof VARIABLES)[number]>>;

function readSettings(): Settings {
  const settings = readEnv(VARIABLES, (name) => Deno.env.get(name));
  if (settings.TESSERA_NATS_URL === "") {
    throw new EnvError("Cannot read the environment:\n  TESSERA_NATS_URL is empty, expected a URL as nats://host:4222");
  }
  return settings;
}

/**
 * Connects, and makes the model's queues where they are missing: before its weights are here, because who scales a fleet
 * by its queues may take one that is missing for a full one.
 */
async function joinBus(
  settings: Settings,
  access: NatsAccess,
  model: string,
  log: Logger,
  signal: AbortSignal,
): Promise<NatsConnection> {
  const nc = await connectNatsPatiently(settings.TESSERA_NATS_URL, `tessera worker ${model}`, log, signal, access);
  try {
    await ensureQueue(nc, model);
    await ensureDurableQueue(nc, model);
  } catch (error) {
    // Made when the worker starts, or told then why not.
    log.warn("queues_not_ready", { error });
  }
  return nc;
}

/** Opens model, engine and connection; aborted by `signal` while it waits for the bus. */
async function boot(settings: Settings, log: Logger, signal: AbortSignal): Promise<RunningWorker> {
  const folder = await findCheckpoint(settings.TESSERA_MODEL);
  const startedAt = performance.now();
  const weightCache = await chooseWeightCache(settings, folder);
  const algorithmCache = chooseAlgorithmCache(settings);
  const choice = {
    modelPath: folder,
    device: settings.TESSERA_DEVICE,
    dtype: settings.TESSERA_DTYPE,
    headDtype: settings.TESSERA_HEAD_DTYPE,
    numThreads: settings.TESSERA_THREADS,
    numDevices: settings.TESSERA_NUM_DEVICES,
    tensorParallel: settings.TESSERA_TENSOR_PARALLEL,
    visionDevices: settings.TESSERA_VISION_DEVICES,
    kvCacheBytes: settings.TESSERA_KV_CACHE_MB * 1024 * 1024,
    kvMemoryShare: settings.TESSERA_KV_MEMORY_SHARE,
    maxStepTokens: settings.TESSERA_TOKEN_BUDGET,
    maxStepSequences: Math.min(settings.TESSERA_MAX_SEQUENCES, settings.TESSERA_TOKEN_BUDGET),
    numTileSlots: settings.TESSERA_TILE_SLOTS,
    ...(weightCache === undefined ? {} : { weightCache }),
    ...(algorithmCache === undefined ? {} : { algorithmCache }),
  };
  const findingFfmpeg = Ffmpeg.open(settings.TESSERA_FFMPEG || "ffmpeg");
  // Weights come in on the engine's threads while this one reads the vocabulary and the connection is made.
  const opening = openChosenEngine(choice, openNativeEngine, log).then((engine) => {
    log.info("engine_open", { ...engine.info, folder, open_ms: Math.round(performance.now() - startedAt) });
    return engine;
  });
  opening.catch(() => {});
  const access = readNatsAccess(settings, Deno.readTextFileSync);
  const joining = joinBus(settings, access, modelName(folder), log, signal);
  joining.catch(() => {});
  let engine: Engine | null = null;
  try {
    const tokenizer = await loadTokenizer(folder);
    engine = await opening;
    const facts = await readModelFacts(folder, engine.info, tokenizer);
    const nc = await joining;
    const ffmpeg = await findingFfmpeg;
    if (ffmpeg === null) log.warn("no_ffmpeg", { reason: "no FFmpeg runs here; this worker takes no videos" });
    const worker = await startWorker({ nc, engine, tokenizer, facts, ffmpeg, access, log }, {
      maxSequences: settings.TESSERA_MAX_SEQUENCES,
      tokenBudget: settings.TESSERA_TOKEN_BUDGET,
      metricsAddress: settings.TESSERA_METRICS,
    });
    log.info("worker_ready", { worker_id: worker.workerId, model: facts.name });
    return worker;
  } catch (error) {
    void joining.then((nc) => nc.close(), () => {});
    if (engine !== null) await engine.close();
    else void opening.then((late) => late.close(), () => {});
    throw error;
  }
}

/** Calls back when asked to stop by a signal or, where a parent watches over us, by the end of standard input. */
function onStopAsked(settings: Settings, stop: () => void): void {
  let isAsked = false;
  const ask = () => {
    if (isAsked) return;
    isAsked = true;
    stop();
  };
  let numSignals = 0;
  const onSignal = () => ++numSignals > 1 ? Deno.exit(130) : ask();
  Deno.addSignalListener("SIGINT", onSignal);
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", onSignal);
  if (settings.TESSERA_SUPERVISED) void endOf(Deno.stdin.readable).then(ask);
}

/** Resolves when the stream ends; what it holds is thrown away. */
async function endOf(stream: ReadableStream<Uint8Array>): Promise<void> {
  for await (const _chunk of stream);
}

async function main(): Promise<number> {
  const settings = readSettings();
  const log = createLogger({
    level: settings.TESSERA_LOG_LEVEL,
    format: settings.TESSERA_LOG_FORMAT,
    sink: (line) => console.log(line),
  });
  for (const unknown of unknownVariables(Object.keys(Deno.env.toObject()))) {
    log.warn("unknown_variable", { ...unknown });
  }
  const asked = new AbortController();
  onStopAsked(settings, () => asked.abort());
  const stopped = new Promise<void>((resolve) => asked.signal.addEventListener("abort", () => resolve()));
  let worker: RunningWorker;
  try {
    worker = await boot(settings, log, asked.signal);
  } catch (error) {
    if (asked.signal.aborted) return 0;
    log.error("worker_not_started", { error });
    return 1;
  }
  try {
    if (!asked.signal.aborted) await Promise.race([stopped, worker.ended]);
    await worker.close(settings.TESSERA_DRAIN_MS);
    return 0;
  } catch {
    // Already logged. What it had goes to another worker at once.
    await worker.close(0);
    return 1;
  }
}

try {
  Deno.exit(await main());
} catch (error) {
  if (!(error instanceof EnvError)) throw error;
  console.error(error.message);
  Deno.exit(2);
}
