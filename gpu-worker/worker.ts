/** Owns the worker's loop. One step: encode some tiles, queue what is ready, run a batch, publish what the last sampled. */
import {
  IDLE_CHECK_MS,
  type Logger,
  MAX_ENGINE_FAILURES,
  STEP_IN_LINE,
  TesseraError,
  type TokenLogprobs,
  toTesseraError,
} from "@tessera/shared";
import type { Engine, StepResult } from "./engine/types.ts";
import { Intake } from "./intake/intake.ts";
import type { IntakeOptions } from "./intake/intake_options.ts";
import type { LiveJob } from "./intake/live_job.ts";
import type { AnswerStep } from "./publish/answer.ts";
import { tokenLogprobs } from "./publish/logprobs.ts";
import { type Plan, type Sampled, Scheduler } from "./schedule/scheduler.ts";
import type { Sequence } from "./schedule/sequence.ts";
import type { WorkerMetrics, WorkerState } from "./metrics/metrics.ts";
import { TileSlots } from "./schedule/tile_slots.ts";
import { sequencesOf } from "./sequences.ts";
import { type Encoded, TileEncoder } from "./tile_encoder.ts";

export interface WorkerOptions extends Omit<IntakeOptions, "tiles" | "maxLength" | "vocabSize" | "onChange" | "onEnd"> {
  readonly engine: Engine;
  readonly tokenBudget: number;
  readonly maxSequences: number;
  /** A job ended, so that there is room for another. */
  readonly onRoom: () => void;
  readonly metrics?: WorkerMetrics;
}

/** A token on its way to the edge. */
interface Outgoing {
  readonly job: LiveJob;
  readonly choice: number;
  readonly id: number;
  readonly step: AnswerStep;
  readonly logprobs: TokenLogprobs | null;
}

/** A step that the engine has. */
interface Flight {
  readonly plan: Plan;
  readonly running: Promise<StepResult>;
}

export class Worker {
  readonly intake: Intake;
  readonly #options: WorkerOptions;
  readonly #scheduler: Scheduler;
  readonly #tiles: TileSlots;
  readonly #encoder: TileEncoder;
  readonly #log: Logger;
  /** Which answer of which job a sequence is, until nothing of it is in flight. */
  readonly #placeOf = new Map<Sequence, { readonly job: LiveJob; readonly choice: number }>();
  readonly #outbox: Outgoing[] = [];
  /** The first ends first. */
  #flights: Flight[] = [];
  /** When the engine began with the first of them. */
  #busySince = 0;
  /** What the last step took. */
  #stepMs = 0;
  #wake = Promise.withResolvers<void>();
  #isStopped = false;
  #numFailures = 0;

  constructor(options: WorkerOptions) {
    const { engine, tokenBudget, maxSequences } = options;
    this.#options = options;
    this.#log = options.log;
    this.#tiles = new TileSlots(engine.info.numTileSlots);
    this.#encoder = new TileEncoder({
      engine,
      tiles: this.#tiles,
      onBegin: () => this.#publish(),
      onEnd: (encoded) => this.#encoded(encoded),
    });
    this.#scheduler = new Scheduler({ info: engine.info, tokenBudget, maxSequences });
    this.intake = new Intake({
      ...options,
      tiles: this.#tiles,
      maxLength: this.#scheduler.maxLength,
      vocabSize: engine.info.vocabSize,
      onChange: () => this.#wake.resolve(),
      onEnd: (job) => this.#drop(job),
    });
  }

  /** Longest prompt and answer together, in tokens. */
  get maxLength(): number {
    return this.#scheduler.maxLength;
  }

  /** Steps until stopped. Rejects when the engine is broken; an error of one step is not the end. */
  async run(): Promise<void> {
    while (!this.#isStopped) {
      this.#wake = Promise.withResolvers<void>();
      if (await this.step()) continue;
      // Not at once: who asks next would wait for it.
      const check = this.isIdle ? setTimeout(() => this.#checkWhenIdle(), IDLE_CHECK_MS) : undefined;
      await this.#wake.promise;
      clearTimeout(check);
    }
    await this.#encoder.settled();
    await Promise.allSettled(this.#flights.map(({ running }) => running));
  }

  /** What it has to do, and what is left. */
  get state(): WorkerState {
    return {
      sequences: this.#scheduler.numSequences,
      jobs: this.intake.numJobs,
      preemptions: this.#scheduler.numPreemptions,
      freeBlocks: this.#scheduler.numAvailableBlocks,
      blocks: this.#options.engine.info.numKvBlocks,
    };
  }

  /** Ends `run` after the step in flight. */
  stop(): void {
    this.#isStopped = true;
    this.#wake.resolve();
  }

  /** Everything a worker does, once; false when there was nothing to do. */
  async step(): Promise<boolean> {
    const hasRoom = this.#flights.length < this.#options.engine.info.stepsInFlight;
    const hasEncoded = await this.#encoder.encodeSome(
      hasRoom,
      this.#scheduler.numSequences > 0,
      this.#flights[0]?.running,
    );
    this.#queueReady();
    this.#launch();
    const [flight] = this.#flights;
    this.#publish();
    if (flight === undefined) return hasEncoded;
    if (this.#flights.length === 1) this.#scheduler.prepare();
    const result = await this.#land(flight);
    if (result === null) return true;
    const { plan } = flight;
    const ms = performance.now() - this.#busySince;
    this.#busySince += ms;
    this.#stepMs = ms;
    const { sampled, freed } = this.#scheduler.complete(plan, result);
    this.#options.metrics?.step(ms, plan.batch.tokenIds.length, sampled.length);
    for (const sequence of freed) this.#forget(sequence);
    for (const each of sampled) this.#postprocess(each, result);
    return true;
  }

  /** Throws unless blocks and slots are held by exactly those who say so. */
  checkIntegrity(): void {
    this.#scheduler.checkIntegrity();
    const holders = new Set([...this.intake.jobs, ...this.#placeOf.values().map(({ job }) => job)]);
    this.#tiles.checkIntegrity([...holders].filter((job) => job.holdsTiles).map((job) => job.tiles));
  }

  /** Whether nothing is queued, running or held. */
  get isIdle(): boolean {
    return this.intake.numJobs === 0 && this.#placeOf.size === 0 && this.#scheduler.numSequences === 0;
  }

  /** A leak is a fault of ours: it is logged, and what is left goes on. */
  #checkWhenIdle(): void {
    try {
      this.checkIntegrity();
    } catch (error) {
      this.#log.error("integrity_broken", { error });
    }
  }

  #encoded({ batch, startedAt, elapsedMs, failure }: Encoded): void {
    if (failure === undefined) this.#numFailures = 0;
    else {
      this.#engineFailed("encode", failure.cause);
      for (const job of [...this.intake.jobs]) {
        if (!job.tiles.some((hash) => failure.lost.has(hash))) continue;
        this.intake.fail(job, new TesseraError("internal_error", { cause: failure.cause }));
      }
    }
    this.#options.metrics?.encoded(elapsedMs, batch.hashes.length);
    for (const job of this.intake.jobs) {
      if (!batch.hashes.some((hash) => job.tiles.includes(hash))) continue;
      job.visionMs += elapsedMs;
      job.at.encoding ??= startedAt;
      job.at.encoded = startedAt + elapsedMs;
    }
  }

  #queueReady(): void {
    for (const job of this.intake.ready()) {
      const { prompt } = job;
      if (prompt instanceof TesseraError) continue;
      job.at.ready = performance.now();
      const sequences = sequencesOf(job, prompt, this.#tiles, this.#options);
      job.sequences = [...sequences.keys()];
      for (const [sequence, choice] of sequences) {
        this.#placeOf.set(sequence, { job, choice });
        this.#scheduler.add(sequence);
      }
    }
  }

  /** Gives the engine as many steps as it has use for. */
  #launch(): void {
    if (this.#flights.length === 0) this.#start(this.#scheduler.plan());
    const { stepsInFlight, device } = this.#options.engine.info;
    const [flight, ...others] = this.#flights;
    if (flight === undefined || others.length > 0 || stepsInFlight === 1) return;
    const { tokens, ms } = STEP_IN_LINE[device];
    if (flight.plan.batch.tokenIds.length <= tokens && this.#stepMs <= ms) this.#start(this.#scheduler.planBehind());
  }

  #start(plan: Plan | null): void {
    if (plan === null) return;
    const now = performance.now();
    for (const { sequence } of plan.chunks) this.#placeOf.get(sequence)!.job.at.scheduled ??= now;
    if (this.#flights.length === 0) this.#busySince = now;
    const running = this.#options.engine.step(plan.batch);
    running.catch(() => {}); // looked at when it is its turn
    this.#flights.push({ plan, running });
  }

  /** The outcome of the first step in flight, or null when it failed, and with it those behind it. */
  async #land({ plan, running }: Flight): Promise<StepResult | null> {
    try {
      const result = await running;
      this.#flights.shift();
      this.#numFailures = 0;
      return result;
    } catch (cause) {
      await Promise.allSettled(this.#flights.splice(0).map(({ running }) => running));
      const { givenUp, freed } = this.#scheduler.fail(plan);
      for (const sequence of freed) this.#forget(sequence);
      this.#engineFailed("step", cause);
      for (const sequence of givenUp) {
        const place = this.#placeOf.get(sequence);
        if (place !== undefined) this.intake.fail(place.job, new TesseraError("internal_error", { cause }));
      }
      return null;
    }
  }

  /** What a token means for its sequence; what it means for the edge waits in the outbox. */
  #postprocess({ sequence, id, row }: Sampled, result: StepResult): void {
    const { job, choice } = this.#placeOf.get(sequence)!;
    if (job.at.firstToken === undefined) {
      job.at.firstToken = performance.now();
      this.intake.hasSpoken(job);
      // Its trial, if it was one, is over.
      for (const each of job.sequences) {
        if (each.priority !== job.priority) this.#scheduler.reprioritise(each, job.priority);
      }
    }
    const step = job.grant!.answers.at(choice).push(id);
    if (step.finish !== null && this.#scheduler.remove(sequence)) this.#placeOf.delete(sequence);
    const numTop = job.job.sampling.logprobs;
    const logprobs = numTop === null ? null : tokenLogprobs(result, row, numTop, this.#options.tokenizer);
    this.#outbox.push({ job, choice, id, step, logprobs });
  }

  /** Sends what the last step brought. Called while the engine is busy with the next, or has nothing to do. */
  #publish(): void {
    const isOver = new Set<LiveJob>();
    for (const { job, choice, id, step, logprobs } of this.#outbox.splice(0)) {
      if (job.hasEnded) continue;
      try {
        const { answers, events } = job.grant!;
        if (!job.hasToldPrompt) events.prompt(job.usage());
        job.hasToldPrompt = true;
        if (step.isPart) events.tokens([id], step.text, choice, logprobs === null ? undefined : [logprobs]);
        job.hasSpoken = true;
        if (step.finish === null) continue;
        answers.announceEnd(choice, events);
        if (answers.isFinished) isOver.add(job);
      } catch (error) {
        this.intake.fail(job, toTesseraError(error));
      }
    }
    for (const job of isOver) if (!job.hasEnded) this.intake.finish(job);
  }

  /** A job has ended, for whatever reason: its sequences leave, at once or with the step that is in flight. */
  #drop(job: LiveJob): boolean {
    queueMicrotask(this.#options.onRoom);
    let isFree = true;
    for (const sequence of job.sequences) {
      if (!this.#placeOf.has(sequence)) continue;
      if (this.#scheduler.remove(sequence)) this.#placeOf.delete(sequence);
      else isFree = false;
    }
    return isFree;
  }

  /** A sequence that was in flight when its job ended. */
  #forget(sequence: Sequence): void {
    const { job } = this.#placeOf.get(sequence)!;
    this.#placeOf.delete(sequence);
    if (!job.sequences.some((each) => this.#placeOf.has(each))) this.intake.releaseTiles(job);
  }

  #engineFailed(call: "encode" | "step", error: unknown): void {
    this.#numFailures += 1;
    this.#options.metrics?.failed(call);
    this.#log.error(`${call}_failed`, { error, num_failures: this.#numFailures });
    if (this.#numFailures >= MAX_ENGINE_FAILURES) {
      throw new Error(`Cannot go on: ${this.#numFailures} engine calls failed`);
    }
  }
}
