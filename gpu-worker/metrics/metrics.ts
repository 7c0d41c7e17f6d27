/** What a worker counts and measures, in Prometheus' terms. Names are stable: dashboards and alerts in infra/ use them. */
import type { FinishReason, Usage, WorkerTimings } from "@tessera/shared";
import { type Exposition, Instruments } from "@tessera/shared/instruments";

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** What is read when Prometheus asks. */
export interface WorkerState {
  readonly sequences: number;
  readonly jobs: number;
  readonly preemptions: number;
  /** KV blocks nobody holds; those that keep a prefix count too. */
  readonly freeBlocks: number;
  readonly blocks: number;
}

export class WorkerMetrics {
  readonly #instruments = new Instruments();
  readonly #steps = this.#instruments.histogram(
    "tessera_step_seconds",
    "Engine steps: one batch of prefill and decode.",
    [],
    SECONDS,
  );
  readonly #stepTokens = this.#instruments.counter(
    "tessera_step_tokens_total",
    "Tokens computed by steps, prompts included.",
    [],
  );
  readonly #sampled = this.#instruments.counter("tessera_sampled_tokens_total", "Tokens sampled.", []);
  readonly #vision = this.#instruments.histogram("tessera_vision_seconds", "Calls that encode tiles.", [], SECONDS);
  readonly #tiles = this.#instruments.counter("tessera_tiles_encoded_total", "Tiles encoded.", []);
  readonly #failures = this.#instruments.counter(
    "tessera_engine_failures_total",
    "Engine calls that failed, by what was called.",
    [
      "call",
    ],
  );
  readonly #jobs = this.#instruments.counter("tessera_worker_jobs_total", "Jobs that ended here, by outcome.", [
    "outcome",
  ]);
  readonly #tokens = this.#instruments.counter(
    "tessera_worker_tokens_total",
    "Tokens of finished jobs: input, cached, image, output.",
    [
      "kind",
    ],
  );
  readonly #stages = this.#instruments.histogram(
    "tessera_worker_stage_seconds",
    "Stages of jobs: queue of those that are begun, tiles, wait, vision, prefill, decode of finished ones.",
    ["stage"],
    SECONDS,
  );

  /** @param info labels of this worker that never change */
  constructor(info: Readonly<Record<string, string>>, state: () => WorkerState) {
    this.#instruments.labelledGauge("tessera_worker_info", "1; what this worker is.", Object.keys(info), (gauge) => {
      gauge.set(info, 1);
    });
    this.#instruments.process();
    this.#instruments.gauge("tessera_worker_sequences", "Sequences in the schedule.", () => state().sequences);
    this.#instruments.gauge("tessera_worker_jobs", "Jobs taken and not ended.", () => state().jobs);
    this.#instruments.gauge(
      "tessera_worker_preemptions",
      "Sequences put back for want of KV blocks, so far.",
      () => state().preemptions,
    );
    this.#instruments.gauge("tessera_kv_blocks", "KV blocks in all.", () => state().blocks);
    this.#instruments.gauge("tessera_kv_blocks_free", "KV blocks that can be had.", () => state().freeBlocks);
  }

  step(ms: number, numTokens: number, numSampled: number): void {
    this.#steps.observe(ms / 1000);
    this.#stepTokens.inc(numTokens);
    this.#sampled.inc(numSampled);
  }

  encoded(ms: number, numTiles: number): void {
    this.#vision.observe(ms / 1000);
    this.#tiles.inc(numTiles);
  }

  failed(call: "step" | "encode"): void {
    this.#failures.inc({ call });
  }

  finished(reason: FinishReason, usage: Usage, timings: WorkerTimings): void {
    this.ended(reason);
    const { prompt_tokens: input, cached_tokens: cached, image_tokens: image, completion_tokens: output } = usage;
    for (const [kind, count] of Object.entries({ input, cached, image, output })) this.#tokens.inc({ kind }, count);
    for (const [name, ms] of Object.entries(timings)) {
      this.#stages.observe({ stage: name.replace(/_ms$/, "") }, ms / 1000);
    }
  }

  /** A job that a client waits for is begun, so long after it was asked for. */
  begun(waitedMs: number): void {
    this.#stages.observe({ stage: "queue" }, Math.max(0, waitedMs) / 1000);
  }

  /** A job ended: by its finish reason, or by why it failed. */
  ended(outcome: string): void {
    this.#jobs.inc({ outcome });
  }

  text(): Promise<Exposition> {
    return this.#instruments.text();
  }
}
