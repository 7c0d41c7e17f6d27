/** A worker as a value: started over a connection and an engine, drained and closed by whoever started it. */
import type { NatsConnection } from "@nats-io/nats-core";
import { serveMetrics } from "@tessera/shared/metrics-server";
import {
  ACK_WAIT_MS,
  type Announcement,
  BUS_CLOSE_TIMEOUT_MS,
  busId,
  CLAIM_TIMEOUT_MS,
  EDGE_GONE_MS,
  type Logger,
  type NatsAccess,
  NO_NATS_ACCESS,
  PROGRESS_MS,
  silentLogger,
  TILE_TIMEOUT_MS,
  WIRE_VERSIONS,
  workerAlive,
} from "@tessera/shared";
import type { ModelFacts } from "./config.ts";
import type { Engine } from "./engine/types.ts";
import { Announcer } from "./intake/announcer.ts";
import { ensureDurableQueue, ensureOwnQueue, ensureQueue } from "./intake/connect.ts";
import type { IntakeWaits } from "./intake/intake_options.ts";
import { Link } from "./intake/link.ts";
import { Pulling } from "./intake/pulling.ts";
import { QueueDepth } from "./intake/queue_depth.ts";
import { TokenizeResponder } from "./intake/tokenize.ts";
import type { Ffmpeg } from "./media/ffmpeg.ts";
import { VideoService } from "./media/video_service.ts";
import type { Tokenizer } from "./prompt/tokenizer.ts";
import { WorkerMetrics } from "./metrics/metrics.ts";
import { Worker } from "./worker.ts";

/** Given by whoever starts a worker, and closed by the worker when it closes. */
export interface WorkerDeps {
  readonly nc: NatsConnection;
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  readonly facts: ModelFacts;
  /** Decodes videos for edges; absent: this worker does not. */
  readonly ffmpeg?: Ffmpeg | null;
  /** As the connection was made. */
  readonly access?: NatsAccess;
  readonly log?: Logger;
}

export interface WorkerLimits {
  /** Jobs it has at once. */
  readonly maxSequences: number;
  /** New tokens of one engine step. */
  readonly tokenBudget: number;
  /** `host:port` at which it tells what it does; empty or absent: nowhere. */
  readonly metricsAddress?: string;
  /** Takes jobs of pictures and prefixes that it had before, from a queue of its own. Default true. */
  readonly isRouted?: boolean;
  readonly waits?: Partial<IntakeWaits> & { readonly ackMs?: number };
}

export interface RunningWorker {
  readonly workerId: string;
  /** Port of /metrics; null where nothing is served. */
  readonly metricsPort: number | null;
  /** Rejects when the worker cannot go on; resolves when it was closed. */
  readonly ended: Promise<void>;
  /** Jobs it has now. */
  readonly numJobs: () => number;
  readonly isIdle: () => boolean;
  readonly checkIntegrity: () => void;
  /** Takes nothing new, finishes what it has for at most `drainMs`, gives back the rest, closes all. Idempotent. */
  close(drainMs?: number): Promise<void>;
}

export async function startWorker(deps: WorkerDeps, limits: WorkerLimits): Promise<RunningWorker> {
  const { nc, engine, facts } = deps;
  const { maxSequences, tokenBudget, waits } = limits;
  const workerId = busId("worker", deps.access ?? NO_NATS_ACCESS);
  const log = (deps.log ?? silentLogger).with({ worker_id: workerId });
  let isDraining = false;

  const ackMs = waits?.ackMs ?? ACK_WAIT_MS;
  const isRouted = limits.isRouted ?? true;
  const ensureOwn = () => ensureOwnQueue(nc, facts.name, workerId, ackMs);
  const ensure = async () => {
    await ensureQueue(nc, facts.name, ackMs);
    if (isRouted) await ensureOwn();
  };
  await ensure();
  const link = new Link(nc, () => {
    ensure().catch((error) => log.warn("queue_not_ready", { error })).finally(() => pulling.restart());
    worker.intake.reclaimAll();
    void announcer.announce();
  }, log);
  const { device, dtype, isa } = engine.info;
  const metrics: WorkerMetrics = new WorkerMetrics(
    { worker_id: workerId, model: facts.name, device, dtype, isa, wire_versions: WIRE_VERSIONS.join() },
    () => worker.state,
  );
  const worker: Worker = new Worker({
    nc,
    link,
    engine,
    workerId,
    facts,
    tokenizer: deps.tokenizer,
    tokenBudget,
    maxSequences,
    waits: {
      claimMs: CLAIM_TIMEOUT_MS,
      tileMs: TILE_TIMEOUT_MS,
      progressMs: PROGRESS_MS,
      edgeGoneMs: EDGE_GONE_MS,
      ...waits,
    },
    log,
    onRoom: () => pulling.poke(),
    metrics,
  });
  const depth = new QueueDepth(nc, facts.name, workerId, isRouted);
  const describe = (): Announcement => ({
    v: 1,
    worker_id: workerId,
    model: facts.name,
    created: facts.created,
    tile_size: facts.tileSize,
    tokens_per_tile: facts.tokensPerTile,
    min_tiles: facts.minTiles,
    max_tiles: facts.maxTiles,
    thumbnail: facts.thumbnail,
    context_length: worker.maxLength,
    capacity: maxSequences,
    running: worker.intake.numSequences,
    queued: depth.numQueued,
    ...paceOf(worker.intake.jobsPerSecond),
    ...(isRouted ? { routed: true } : {}),
    wire_versions: [...WIRE_VERSIONS],
    device: engine.info.device,
    dtype: engine.info.dtype,
    isa: engine.info.isa,
    draining: isDraining,
    generation: facts.generation,
  });
  const announcer = new Announcer({ nc, workerId, describe, onAnnounced: () => void depth.refresh(), log });
  const pulling = new Pulling({
    nc,
    workerId,
    facts,
    intake: worker.intake,
    maxJobs: maxSequences,
    claimMs: waits?.claimMs ?? CLAIM_TIMEOUT_MS,
    ensureLive: ensure,
    ensureOwn: isRouted ? ensureOwn : undefined,
    ensureDurable: () => ensureDurableQueue(nc, facts.name, waits?.ackMs ?? ACK_WAIT_MS),
    log,
  });
  nc.subscribe(workerAlive(workerId), { callback: (_error, msg) => void msg.respond() });
  const tokenizeResponder = new TokenizeResponder({ nc, tokenizer: deps.tokenizer, facts, log });
  const videos = deps.ffmpeg ? new VideoService(nc, deps.ffmpeg, log) : null;
  await nc.flush();
  let hasEnded = false;
  const told = { metrics: () => metrics.text(), isReady: () => !isDraining && !hasEnded };
  // Before anybody hears of this worker: an address that is taken ends it here.
  const metricsServer = limits.metricsAddress ? serveMetrics(limits.metricsAddress, told, log) : null;
  await announcer.start();
  pulling.start();
  const ended = Promise.race([worker.run(), endOfConnection(nc)]).finally(() => worker.stop());
  ended.catch((error) => {
    hasEnded = true;
    log.error("worker_ended", { error });
  });

  const close = async (drainMs: number) => {
    isDraining = true;
    void announcer.announce();
    // First, so that what still arrives while pulling ends goes back at once.
    worker.intake.startDraining();
    tokenizeResponder.stop();
    await within(BUS_CLOSE_TIMEOUT_MS, pulling.stop());
    await waitUntil(() => worker.intake.numJobs === 0 || hasEnded, drainMs);
    await worker.intake.stop(BUS_CLOSE_TIMEOUT_MS);
    worker.stop();
    await within(BUS_CLOSE_TIMEOUT_MS, videos?.stop() ?? Promise.resolve());
    await ended.catch(() => {});
    await within(BUS_CLOSE_TIMEOUT_MS, announcer.stop());
    await within(BUS_CLOSE_TIMEOUT_MS, metricsServer?.close() ?? Promise.resolve());
    await engine.close();
    await within(BUS_CLOSE_TIMEOUT_MS, nc.drain().catch(() => {}));
    await nc.close();
    log.info("worker_closed");
  };
  let closing: Promise<void> | null = null;
  return {
    workerId,
    metricsPort: metricsServer?.port ?? null,
    ended,
    numJobs: () => worker.intake.numJobs,
    isIdle: () => worker.isIdle,
    checkIntegrity: () => worker.checkIntegrity(),
    close: (drainMs = 0) => closing ??= close(drainMs),
  };
}

function paceOf(jobsPerSecond: number | null): Pick<Announcement, "jobs_per_s"> {
  return jobsPerSecond === null ? {} : { jobs_per_s: Math.round(jobsPerSecond * 1_000) / 1_000 };
}

/** Rejects when the connection closes; where the worker closes it, the run has ended before. */
async function endOfConnection(nc: NatsConnection): Promise<never> {
  const error = await nc.closed();
  throw new Error("Cannot go on: the connection to NATS is closed", { cause: error });
}

/** Waits for `work`, at most `ms`. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([work, new Promise((resolve) => timer = setTimeout(resolve, ms))]);
  clearTimeout(timer);
}

async function waitUntil(isTrue: () => boolean, ms: number): Promise<void> {
  const deadline = performance.now() + ms;
  while (!isTrue() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
}
