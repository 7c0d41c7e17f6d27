/** Owns one start of a worker process, up to the first token of a short prompt, and what it has in memory then. */
import { basename } from "node:path";
import { ensureQueue } from "../../../gpu-worker/intake/connect.ts";
import { ROOT } from "../../../infra/tools/paths.ts";
import { supervise } from "../../../infra/tools/process.ts";
import type { LlamaSide } from "../engine/llama_cpp.ts";
import { FakeEdge, makeJob } from "../../worker/fake_edge.ts";

/** Memory for KV that the worker is told, in MiB: what one sequence of the model's whole length takes. */
export const KV_CACHE_MB = 384;
/** Longest start: packing from a cold disk. */
const TIMEOUT_MS = 120_000;
const STOP_MS = 10_000;
/** The made-up tokenizer has a token a character; the control tokens around them come on top. */
const SYSTEM = "Answer briefly.";
const QUESTION = "Who are you?";
export const PROMPT_TOKENS = 48;

/** Times are from the process's start, in ms; memory is in bytes. Of other programs some figures are not known. */
export interface Started {
  readonly openMs?: number;
  readonly readyMs?: number;
  readonly firstTokenMs: number;
  readonly weightBytes?: number;
  readonly kvBytes?: number;
  readonly residentBytes?: number;
  /** Largest until then. */
  readonly peakBytes: number;
}

export interface StartOptions {
  readonly natsUrl: string;
  readonly model: string;
  readonly dtype: string;
  /** `TESSERA_WEIGHT_CACHE`, and what must come of it. */
  readonly cache: string;
  readonly outcome: string;
}

/** A worker, to whom the job comes before it is ready. @throws Error when the weights come otherwise than expected */
export async function startWorker(options: StartOptions): Promise<Started> {
  const { natsUrl, model, dtype, cache, outcome } = options;
  const edge = await FakeEdge.connect(natsUrl);
  const name = basename(model);
  await ensureQueue(edge.nc, name);
  const lines: string[] = [];
  const open = Promise.withResolvers<{ at: number; weightBytes: number; weightCache: string }>();
  const ready = Promise.withResolvers<number>();
  const startedAt = performance.now();
  const worker = supervise(
    Deno.execPath(),
    ["run", "--allow-all", "--no-check", `${ROOT}/gpu-worker/main.ts`],
    {
      env: {
        TESSERA_SUPERVISED: "true",
        TESSERA_DEVICE: "cpu",
        TESSERA_DTYPE: dtype,
        TESSERA_MODEL: model,
        TESSERA_NATS_URL: natsUrl,
        TESSERA_KV_CACHE_MB: `${KV_CACHE_MB}`,
        TESSERA_WEIGHT_CACHE: cache,
        TESSERA_LOG_FORMAT: "json",
        TESSERA_LOG_LEVEL: "info",
      },
      onLine: (line) => {
        lines.push(line);
        const at = performance.now() - startedAt;
        if (line.includes('"engine_open"')) open.resolve({ at, ...JSON.parse(line) });
        if (line.includes('"worker_ready"')) ready.resolve(at);
      },
    },
  );
  try {
    const failed = worker.ended.then(() => Promise.reject(new Error(`The worker ended:\n${lines.join("\n")}`)));
    failed.catch(() => {});
    // The job is there before the worker: a client that waits.
    const job = await edge.send({
      ...makeJob(edge.id, "", [], { model: name }),
      messages: [
        { role: "system", parts: [{ type: "text", text: SYSTEM }] },
        { role: "user", parts: [{ type: "text", text: QUESTION }] },
      ],
    });
    const first = job.until(({ ids }) => ids.length > 0).then(() => performance.now() - startedAt);
    const firstTokenMs = await within(TIMEOUT_MS, Promise.race([first, failed]));
    const { at: openMs, weightBytes, weightCache } = await open.promise;
    const memory = memoryOf(worker.pid);
    await job.done();
    if (weightCache !== outcome) {
      throw new Error(`Cannot measure a start: the cache says "${weightCache}", expected "${outcome}"`);
    }
    return {
      openMs,
      readyMs: await ready.promise,
      firstTokenMs,
      weightBytes,
      kvBytes: KV_CACHE_MB * 1024 * 1024,
      ...memory,
    };
  } finally {
    await worker.stop(STOP_MS);
    await edge.close();
  }
}

/** llama.cpp from its start to its end, which comes right after the first token. */
export async function startLlama(side: LlamaSide): Promise<Started> {
  const startedAt = performance.now();
  const child = side.spawnShort(PROMPT_TOKENS);
  let peakBytes = 0;
  const watch = setInterval(() => {
    try {
      peakBytes = Math.max(peakBytes, memoryOf(child.pid).peakBytes || 0);
    } catch {
      // It has just ended.
    }
  }, 5);
  const { success } = await child.status;
  clearInterval(watch);
  if (!success) throw new Error("Cannot measure a start: llama.cpp failed");
  return { firstTokenMs: performance.now() - startedAt, peakBytes };
}

/** Linux only. */
function memoryOf(pid: number): { readonly residentBytes: number; readonly peakBytes: number } {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  const of = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? Number.NaN) * 1024;
  return { residentBytes: of("VmRSS"), peakBytes: of("VmHWM") };
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no token within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
