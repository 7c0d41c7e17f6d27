/** An edge from its parts: starts it, drains it, closes it. For main.ts, tests and the all-in-one stack. */
import {
  busId,
  EnvError,
  IMAGE_CONCURRENCY,
  type Logger,
  MAX_IMAGE_PIXELS,
  MAX_IMAGE_SIDE,
  MAX_SPARE_CONNECTIONS,
  MAX_TILE_MS,
  NO_NATS_ACCESS,
  RECORD_MAX_AGE_MS,
  TesseraError,
} from "@tessera/shared";
import { serveMetrics } from "@tessera/shared/metrics-server";
import { Admission } from "./admission.ts";
import { Gate } from "./auth/gate.ts";
import { KeyPlaces } from "./auth/key_places.ts";
import { KeyRing } from "./auth/key_ring.ts";
import { Meter } from "./auth/meter.ts";
import { createApp } from "./app.ts";
import { Batches } from "./batches/batches.ts";
import { BatchResults } from "./batches/results.ts";
import { BatchRunner } from "./batches/runner.ts";
import { Captions } from "./captions/captions.ts";
import { type EdgeConfig, needsKeys } from "./config.ts";
import type { EdgeDeps } from "./deps.ts";
import { Bus } from "./dispatch/bus.ts";
import { WorkerDirectory } from "./dispatch/directory.ts";
import { Dispatcher } from "./dispatch/dispatcher.ts";
import { DurableJobs } from "./jobs/durable_jobs.ts";
import { FileStore } from "./files/file_store.ts";
import type { Resolve } from "./outbound/request.ts";
import { outboundSettings } from "./outbound/settings.ts";
import { Sweeper } from "./records/sweeper.ts";
import { Answers } from "./resume/answers.ts";
import { EdgeMetrics } from "./metrics/metrics.ts";
import { Idempotency } from "./resume/idempotency.ts";
import { keptResponse } from "./resume/response.ts";
import { listen } from "./http_server.ts";
import { VideoMemory } from "./media/video_memory.ts";
import { createTilePool, type TilePool } from "./tile/mod.ts";
import { within } from "./wait.ts";
import { SigningSecrets } from "./webhooks/signing_secrets.ts";
import { Webhooks } from "./webhooks/webhooks.ts";

export { DEFAULT_WAITS, type EdgeConfig, needsKeys, readEdgeConfig, type Waits } from "./config.ts";

/** After a drain's time is over, how long cancelled requests get to say so to their clients. */
const LAST_WORDS_MS = 1_000;

export interface EdgeOptions {
  readonly config: EdgeConfig;
  readonly log: Logger;
  /** The caller's, which it closes itself; else the edge makes its own. */
  readonly tilePool?: TilePool;
  /** Resolver of hosts that users name; the system's when absent. */
  readonly resolve?: Resolve;
}

export interface Edge {
  readonly url: string;
  readonly port: number;
  readonly deps: EdgeDeps;
  /** Takes nothing new, lets running answers finish for a while, cancels the rest, closes. */
  drain(): Promise<void>;
  /** Cancels everything and closes. Idempotent. */
  close(): Promise<void>;
}

/** Listens when it resolves; connects to NATS in the background (see /readyz). */
export async function startEdge(options: EdgeOptions): Promise<Edge> {
  const { config, log } = options;
  const access = config.natsAccess ?? NO_NATS_ACCESS;
  const edgeId = busId("edge", access);
  const bus = new Bus({ url: config.natsUrl, access, name: `tessera-${edgeId}`, log });
  const directory = new WorkerDirectory(log);
  const keys = new KeyRing(log);
  const meter = new Meter(bus, log);
  const places = new KeyPlaces(bus, edgeId, log);
  const isClosed = needsKeys(config);
  if (isClosed) bus.onUp((nc) => keys.attach(nc));
  bus.onUp((nc) => directory.attach(nc));
  const tilePool = options.tilePool ?? createTilePool({
    maxPixels: MAX_IMAGE_PIXELS,
    maxSide: MAX_IMAGE_SIDE,
    timeoutMs: MAX_TILE_MS,
    maxMemoryBytes: config.maxTileBytes,
    // Whoever is admitted gets a place; admission has counted the bytes.
    maxQueue: config.maxInflight * IMAGE_CONCURRENCY,
    maxQueuedBytes: config.maxHeldBytes,
    ...(config.numTileWorkers === 0 ? {} : { workers: config.numTileWorkers }),
  });
  const answers = new Answers(bus, log, config.waits.keepAliveMs);
  const idempotency = new Idempotency({
    bus,
    edgeId,
    replay: async (id, tenant) => keptResponse({ config }, id, await answers.follow(id, tenant, -1)),
  });
  const jobs = new DurableJobs(bus);
  const webhooks = new Webhooks(bus);
  const admission = new Admission(config);
  const dispatcher = new Dispatcher({ edgeId, bus, directory, waits: config.waits, log });
  const deps: EdgeDeps = {
    config,
    log,
    metrics: new EdgeMetrics({ admission, bus, directory, dispatcher, tilePool }),
    gate: new Gate({ isClosed, keys, meter, places, log }),
    keys,
    meter,
    admission,
    bus,
    directory,
    dispatcher,
    tilePool,
    videoMemory: new VideoMemory(),
    answers,
    idempotency,
    jobs,
    captions: new Captions(bus, jobs, config.keepMs ?? RECORD_MAX_AGE_MS, {
      forgetDeliveries: (id) => webhooks.forget(id),
      countUsage: (keyId, usage, jobId) => meter.record(keyId, usage, Date.now(), jobId),
    }),
    webhooks,
    signing: new SigningSecrets(bus, config.webhookSecrets ?? []),
    batches: new Batches(bus, config.batchWindowMs),
    results: new BatchResults(bus),
    files: new FileStore(bus),
    outbound: {
      ...outboundSettings(config.outbound, config.allowPrivateUrls),
      ...(options.resolve === undefined ? {} : { resolve: options.resolve }),
    },
  };
  const server = await listen(createApp(deps).fetch, {
    host: config.host,
    port: config.port,
    maxConnections: config.maxInflight + MAX_SPARE_CONNECTIONS,
    onFault: (error) => log.error("connection_failed", { error }),
    onFull: (maxConnections) => log.warn("connections_full", { max_connections: maxConnections }),
  }).catch((cause) => {
    const why = cause instanceof Error ? cause.message : cause;
    throw new EnvError(`Cannot listen at TESSERA_HOST="${config.host}", TESSERA_PORT="${config.port}": ${why}`);
  });
  const isReady = () => !admission.isDraining && bus.isConnected && directory.isServed();
  const told = { metrics: () => deps.metrics.text(), isReady };
  const inside = config.metricsAddress ? serveMetrics(config.metricsAddress, told, log) : null;
  bus.start();
  const sweeper = new Sweeper(bus, log, [deps.captions, deps.files]);
  const runner = new BatchRunner(deps);
  const { port } = server;
  const host = config.host.includes(":") ? `[${config.host}]` : config.host;

  const shutDown = async () => {
    // Before the doors close: what it was about to do is another edge's now.
    const ended = runner.close();
    const idle = deps.admission.drain();
    deps.dispatcher.close();
    await Promise.all([within(idle, LAST_WORDS_MS), ended]);
    directory.close();
    keys.close();
    places.close();
    await Promise.all([
      sweeper.close(),
      within(server.close(), LAST_WORDS_MS).finally(() => server.destroy()),
      within(inside?.close() ?? Promise.resolve(), LAST_WORDS_MS),
      bus.close(),
      options.tilePool === undefined ? tilePool.close() : Promise.resolve(),
    ]);
    log.info("edge_closed", {});
  };
  let closed: Promise<void> | null = null;
  const close = () => closed ??= shutDown();
  const drain = async () => {
    log.info("edge_draining", { num_requests: deps.admission.numInflight });
    await within(deps.admission.drain(), config.drainMs);
    deps.dispatcher.giveUpAll(new TesseraError("shutting_down"));
    await close();
  };
  log.info("listening", { url: `http://${host}:${port}`, edge_id: edgeId });
  return { url: `http://${host}:${port}`, port, deps, drain, close };
}
