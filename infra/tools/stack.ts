/** The whole stack on this machine: nats-server, a worker, an edge, a deliverer of webhooks; started and stopped in order. */
import { LOG_LEVELS, readEnv } from "@tessera/shared";
import { openLocalStore } from "../nats/local.ts";
import { startNatsServer } from "../nats/server.ts";
import { findFfmpeg } from "./ffmpeg.ts";
import { ROOT } from "./paths.ts";
import { supervise, type Supervised } from "./process.ts";

const READY_TIMEOUT_MS = 120_000;
const RESTART_DELAY_MS = 1_000;
/** On top of the drain time: closing an engine or a socket. */
const STOP_GRACE_MS = 10_000;

export interface StackOptions {
  /** Port of the edge; 0 takes a free one. */
  readonly port?: number;
  /** Workers to start; several share the model's queue. */
  readonly numWorkers?: number;
  /** Keep jobs, files and keys for the next run, in the data folder; else they go with the stack. */
  readonly keepsData?: boolean;
  /** Set for the processes on top of this process's own environment. */
  readonly env?: Record<string, string>;
  /** Every line the parts print, with the part's name. */
  readonly log?: (part: string, line: string) => void;
  readonly progress?: (line: string) => void;
}

export interface Stack {
  /** Base URL of the edge. */
  readonly url: string;
  readonly natsUrl: string;
  /** Process id of each worker now running; a worker that dies is started again. */
  readonly workerPids: () => number[];
  /** Rejects when the edge or the embedded nats-server ends without being asked. */
  readonly failed: Promise<never>;
  /** Drains the edge, then the workers, then stops the server. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Starts the stack and waits until `/readyz` says yes.
 * @throws Error with the last lines of the part that failed; what was started is stopped
 */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const settings = readEnv(
    ["TESSERA_NATS_URL", "TESSERA_DRAIN_MS", "TESSERA_HOST", "TESSERA_LOG_LEVEL"],
    (name) => options.env?.[name] ?? Deno.env.get(name),
  );
  const graceMs = settings.TESSERA_DRAIN_MS + STOP_GRACE_MS;
  const tail: string[] = [];
  const hear = (part: string) => (line: string) => {
    tail.push(`${part}: ${line}`);
    if (tail.length > 30) tail.shift();
    options.log?.(part, line);
  };
  const stops: (() => Promise<void>)[] = [];
  let stopping: Promise<void> | null = null;
  const stop = () =>
    stopping ??= (async () => {
      for (const each of stops.reverse()) await each();
    })();

  let fail: (error: Error) => void = () => {};
  const failed = new Promise<never>((_, reject) => fail = reject);
  failed.catch(() => {});
  const watch = (part: string, process: { readonly ended: Promise<unknown> }) =>
    void process.ended.then(() => stopping === null && fail(new Error(`The ${part} ended.\n${explain(tail)}`)));

  try {
    let natsUrl = settings.TESSERA_NATS_URL;
    if (natsUrl === "") {
      const store = options.keepsData ? await openLocalStore() : null;
      if (store !== null) stops.push(store.release);
      else if (options.keepsData) hear("stack")("another stack keeps its data here; this one's goes when it stops");
      const nats = await startNatsServer({
        log: hear("nats"),
        ...(store === null ? {} : { storeDir: store.storeDir }),
        ...(options.progress === undefined ? {} : { progress: options.progress }),
      });
      stops.push(nats.stop);
      watch("nats-server", nats);
      natsUrl = nats.url;
      await store?.announce(natsUrl);
    }
    const ffmpeg = options.env?.["TESSERA_FFMPEG"] ?? await findFfmpeg() ?? "";
    const env = { ...options.env, TESSERA_NATS_URL: natsUrl, TESSERA_FFMPEG: ffmpeg };

    let ready = false;
    const workers = new Map<number, Supervised>();
    const startOne = (index: number) => {
      const worker = startPart("gpu-worker/main.ts", env, hear("worker"));
      workers.set(index, worker);
      void worker.ended.then(async () => {
        if (stopping !== null) return;
        if (!ready) return fail(new Error(`The worker ended while starting.\n${explain(tail)}`));
        hear("stack")("a worker ended; starting another");
        await new Promise((resolve) => setTimeout(resolve, RESTART_DELAY_MS));
        if (stopping === null) startOne(index);
      });
    };
    stops.push(async () => void await Promise.all([...workers.values()].map((worker) => worker.stop(graceMs))));
    for (let index = 0; index < (options.numWorkers ?? 1); index++) startOne(index);

    const listening = Promise.withResolvers<string>();
    const edgeLine = hear("edge");
    // The port is told by a line of level info: it is asked for, and what nobody else asked for stays here.
    const level = LOG_LEVELS.indexOf(settings.TESSERA_LOG_LEVEL);
    const edgeLevel = LOG_LEVELS[Math.min(level, LOG_LEVELS.indexOf("info"))]!;
    const edge = startPart(
      "edge/main.ts",
      {
        // glibc else keeps freed tiles for later instead of giving them back to the system.
        MALLOC_MMAP_THRESHOLD_: Deno.env.get("MALLOC_MMAP_THRESHOLD_") ?? "131072",
        ...env,
        // The worker's, on this machine.
        TESSERA_METRICS: "",
        TESSERA_LOG_FORMAT: "json",
        TESSERA_LOG_LEVEL: edgeLevel,
        ...(options.port === undefined ? {} : { TESSERA_PORT: `${options.port}` }),
      },
      (line) => {
        if (levelOf(line) >= level) edgeLine(line);
        const url = listeningUrl(line);
        if (url !== null) listening.resolve(url);
      },
    );
    stops.push(() => edge.stop(graceMs));
    watch("edge", edge);

    const secrets = options.env?.["TESSERA_WEBHOOK_SECRETS"] ?? Deno.env.get("TESSERA_WEBHOOK_SECRETS") ?? "";
    if (secrets.trim() !== "") {
      const deliverer = startPart("edge/webhooks/main.ts", env, hear("deliverer"));
      stops.push(() => deliverer.stop(graceMs));
      watch("deliverer", deliverer);
    }

    const url = await Promise.race([listening.promise, failed, timeout("the edge to listen")]);
    await waitUntilReady(url, failed);
    ready = true;
    return { url, natsUrl, workerPids: () => [...workers.values()].map((worker) => worker.pid), failed, stop };
  } catch (cause) {
    await stop();
    throw cause instanceof Error && cause.message.includes("\n")
      ? cause
      : new Error(`Cannot start: ${cause instanceof Error ? cause.message : cause}\n${explain(tail)}`);
  }
}

/** Of a line of the log; what is none of its lines counts as an error. */
function levelOf(line: string): number {
  const level = LOG_LEVELS.findIndex((name) => line.includes(`"level":"${name}"`));
  return level === -1 ? LOG_LEVELS.indexOf("error") : level;
}

/** What the parts printed last; where one of them logged an error, that alone. */
function explain(tail: readonly string[]): string {
  const errors = tail.flatMap((line) => {
    const start = line.indexOf("{");
    if (start < 0) return [];
    try {
      const { level, error } = JSON.parse(line.slice(start)) as { level?: string; error?: { message?: string } };
      return level === "error" && error?.message !== undefined ? [`${line.slice(0, start)}${error.message}`] : [];
    } catch {
      return [];
    }
  });
  return (errors.length > 0 ? errors : tail).join("\n");
}

function startPart(entry: string, env: Record<string, string>, onLine: (line: string) => void): Supervised {
  const args = ["run", "--allow-all", "--no-check", `${ROOT}/${entry}`];
  return supervise(Deno.execPath(), args, { env: { ...env, TESSERA_SUPERVISED: "true" }, onLine });
}

/** The edge logs one line with its address once it listens. */
function listeningUrl(line: string): string | null {
  if (!line.includes('"listening"')) return null;
  try {
    const { event, url } = JSON.parse(line) as { event?: string; url?: string };
    return event === "listening" && url !== undefined ? url : null;
  } catch {
    return null;
  }
}

async function waitUntilReady(url: string, failed: Promise<never>): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  let reason = "";
  while (performance.now() < deadline) {
    const response = await fetch(`${url}/readyz`).catch(() => null);
    if (response?.ok) return void await response.body?.cancel();
    reason = await response?.text() ?? "no answer";
    await Promise.race([failed, new Promise((resolve) => setTimeout(resolve, 100))]);
  }
  throw new Error(`the stack is not ready after ${READY_TIMEOUT_MS / 1_000} s: ${reason}`);
}

function timeout(what: string): Promise<never> {
  return new Promise((_, reject) => {
    const timer = setTimeout(() => reject(new Error(`waited too long for ${what}`)), READY_TIMEOUT_MS);
    Deno.unrefTimer(timer);
  });
}
