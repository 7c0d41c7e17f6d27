/** What an edge counts and measures, in Prometheus' terms. Names are stable: dashboards and alerts in infra/ use them. */
import { type ErrorCode, type Usage, WIRE_VERSIONS } from "@tessera/shared";
import { type Exposition, Instruments } from "@tessera/shared/instruments";
import type { Admission } from "../admission.ts";
import type { Bus } from "../dispatch/bus.ts";
import type { WorkerDirectory } from "../dispatch/directory.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import type { TilePool } from "../tile/mod.ts";

/** Seconds: from a cached answer to the longest one. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const STAGE_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export interface MetricsOf {
  readonly admission: Admission;
  readonly bus: Bus;
  readonly directory: WorkerDirectory;
  readonly dispatcher: Dispatcher;
  readonly tilePool: TilePool;
}

export class EdgeMetrics {
  readonly #instruments = new Instruments();
  readonly #requests = this.#instruments.counter("tessera_requests_total", "Requests by route, method and status.", [
    "route",
    "method",
    "status",
  ]);
  readonly #requestSeconds = this.#instruments.histogram(
    "tessera_request_seconds",
    "From a request's arrival to the beginning of its answer.",
    ["route"],
    SECONDS,
  );
  readonly #refusals = this.#instruments.counter(
    "tessera_refusals_total",
    "Requests refused or failed, by error code.",
    ["code"],
  );
  readonly #stageSeconds = this.#instruments.histogram(
    "tessera_stage_seconds",
    "Time of an answer's stages: fetch, decode, tile, queue, tiles, wait, vision, prefill, generate, first_token, total.",
    ["stage"],
    STAGE_SECONDS,
  );
  readonly #tokenSeconds = this.#instruments.histogram(
    "tessera_token_seconds",
    "Mean time between an answer's tokens.",
    ["model"],
    STAGE_SECONDS,
  );
  readonly #tokens = this.#instruments.counter(
    "tessera_tokens_total",
    "Tokens of answers, those cut by their callers too, by model and kind: input, cached, image, output.",
    ["model", "kind"],
  );
  readonly #answers = this.#instruments.counter(
    "tessera_answers_total",
    "Complete answers, by model and finish reason.",
    [
      "model",
      "finish_reason",
    ],
  );

  constructor({ admission, bus, directory, dispatcher, tilePool }: MetricsOf) {
    this.#instruments.gauge("tessera_requests_inflight", "Requests this edge holds.", () => admission.numInflight);
    this.#instruments.gauge("tessera_held_bytes", "Bytes that requests hold.", () => admission.heldBytes);
    this.#instruments.gauge(
      "tessera_jobs_running",
      "Jobs of this edge that are not answered yet.",
      () => dispatcher.numRunning,
    );
    this.#instruments.gauge(
      "tessera_jobs_waiting",
      "Those of them that are not on the bus yet.",
      () => dispatcher.numWaiting,
    );
    this.#instruments.gauge("tessera_bus_connected", "1 while NATS answers.", () => Number(bus.isConnected));
    this.#instruments.gauge("tessera_draining", "1 while the edge shuts down.", () => Number(admission.isDraining));
    this.#instruments.gauge("tessera_tile_queue", "Pictures that wait for a tile worker.", () => tilePool.stats.queued);
    this.#instruments.gauge("tessera_tile_running", "Pictures that are tiled now.", () => tilePool.stats.running);
    this.#instruments.gauge(
      "tessera_tile_bytes",
      "Memory tile workers hold beyond a fresh one's.",
      () => tilePool.stats.memoryBytes,
    );
    this.#instruments.gauge("tessera_tile_replaced", "Tile workers replaced so far.", () => tilePool.stats.replaced);
    this.#instruments.process();
    const byModel = (
      name: string,
      help: string,
      value: (model: ReturnType<typeof directory.models>[number]) => number,
    ) =>
      this.#instruments.labelledGauge(name, help, ["model"], (gauge) => {
        for (const model of directory.models()) gauge.set({ model: model.name }, value(model));
      });
    this.#instruments.labelledGauge(
      "tessera_workers",
      "Workers that live; 0 for a model that had some and was asked for in the last quarter of an hour.",
      ["model"],
      (gauge) => {
        for (const { name, workers } of directory.models()) gauge.set({ model: name }, workers.length);
        for (const model of directory.missed()) gauge.set({ model }, 0);
      },
    );
    byModel(
      "tessera_model_capacity",
      "Sequences all of them run at once.",
      ({ workers }) => workers.reduce((sum, worker) => sum + worker.capacity, 0),
    );
    byModel(
      "tessera_model_running",
      "Sequences they run.",
      ({ workers }) => workers.reduce((sum, worker) => sum + worker.running, 0),
    );
    byModel(
      "tessera_model_wire_version",
      "Version of the wire in which they get their jobs.",
      ({ name }) => directory.versionFor(name),
    );
    this.#instruments.gauge(
      "tessera_wire_version",
      "Newest version of the wire that this edge speaks.",
      () => WIRE_VERSIONS.at(-1)!,
    );
    this.#instruments.gauge(
      "tessera_workers_incompatible",
      "Workers that live and speak no version of this edge.",
      () => directory.incompatible().length,
    );
    byModel(
      "tessera_model_queued",
      "Jobs that wait on the bus, as the workers see it.",
      ({ workers }) => Math.max(0, ...workers.map((worker) => worker.queued ?? 0)),
    );
  }

  /** The answer to a request begins. */
  answered(route: string, method: string, status: number, ms: number): void {
    this.#requests.inc({ route, method, status: String(status) });
    this.#requestSeconds.observe({ route }, ms / 1000);
  }

  refused(code: ErrorCode): void {
    this.#refusals.inc({ code });
  }

  /** An answer has ended, or was cut by its caller. */
  used(model: string, usage: Usage): void {
    const { prompt_tokens: input, cached_tokens: cached, image_tokens: image, completion_tokens: output } = usage;
    for (const [kind, count] of Object.entries({ input, cached, image, output })) {
      this.#tokens.inc({ model, kind }, count);
    }
  }

  /** An answer is complete. @param timings as answers tell them, in ms */
  completed(model: string, finishReason: string, usage: Usage, timings: Readonly<Record<string, number>>): void {
    this.#answers.inc({ model, finish_reason: finishReason });
    for (const [name, ms] of Object.entries(timings)) {
      this.#stageSeconds.observe({ stage: name.replace(/_ms$/, "") }, ms / 1000);
    }
    const { completion_tokens: output } = usage;
    const { first_token_ms: first, total_ms: total } = timings;
    if (output > 1 && first !== undefined && total !== undefined) {
      this.#tokenSeconds.observe({ model }, Math.max(0, total - first) / 1000 / (output - 1));
    }
  }

  /** Everything in Prometheus' text format. */
  text(): Promise<Exposition> {
    return this.#instruments.text();
  }
}
