/**
 * Owns what a worker asks the queues for: interactive jobs whenever there is room, durable ones when none of those come.
 * For jobs of an earlier class there is room where one of a later class can yield its place.
 */
import type { NatsConnection } from "@nats-io/nats-core";
import {
  DURABLE_SHARE,
  DURABLE_STREAM,
  durableConsumer,
  JOB_CLASSES,
  LIVE_FIRST_MS,
  LIVE_STREAM,
  liveConsumer,
  type Logger,
  MAX_OWN_ASKED,
  NUM_LANES,
  toTesseraError,
  workerConsumer,
} from "@tessera/shared";
import type { ModelFacts } from "../config.ts";
import { DurableChannel } from "../durable/channel.ts";
import { DurableStore } from "../durable/store.ts";
import { EdgeChannel } from "./edge_channel.ts";
import type { Intake } from "./intake.ts";
import { Puller } from "./pull.ts";

export interface PullingOptions {
  readonly nc: NatsConnection;
  readonly workerId: string;
  readonly facts: ModelFacts;
  readonly intake: Intake;
  /** Answers the worker works on at once. */
  readonly maxJobs: number;
  readonly claimMs: number;
  /** Make stream and consumer where they are missing. */
  readonly ensureLive: () => Promise<void>;
  readonly ensureDurable: () => Promise<void>;
  /** Of the worker's own queue; none where absent. */
  readonly ensureOwn?: (() => Promise<void>) | undefined;
  readonly log: Logger;
}

export class Pulling {
  readonly #options: PullingOptions;
  /** One a class, the most urgent first. */
  readonly #live: readonly Puller[];
  readonly #own: Puller | null;
  /** One a lane. */
  readonly #durable: readonly Puller[];
  /** Runs while durable jobs are not asked for yet. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isStopped = false;

  constructor(options: PullingOptions) {
    const { nc, workerId, facts, intake, claimMs, maxJobs, log } = options;
    this.#options = options;
    const edges = new EdgeChannel(nc, workerId, claimMs);
    const records = new DurableChannel({
      store: new DurableStore(nc),
      workerId,
      tileSize: facts.tileSize,
      log,
      onTile: (jobId, hash, pixels) => intake.takeTile(jobId, hash, pixels),
      onBadTile: (jobId, error) => intake.failById(jobId, toTesseraError(error)),
    });
    this.#live = JOB_CLASSES.map((ofClass) =>
      new Puller({
        nc,
        stream: LIVE_STREAM,
        consumer: liveConsumer(facts.name, ofClass),
        workerId,
        // What is here already of later classes yields in the scheduler; twice the places is the most there can be.
        room: () => Math.min(maxJobs - intake.numSequencesUpTo(ofClass), 2 * maxJobs - intake.numSequences),
        onDelivery: (delivery) => {
          this.#askForDurableLater();
          intake.take(delivery, edges);
        },
        onMissing: options.ensureLive,
        log,
      })
    );
    this.#own = options.ensureOwn === undefined ? null : new Puller({
      nc,
      stream: LIVE_STREAM,
      consumer: workerConsumer(workerId),
      workerId,
      // Asked for on top of those for all, so few at a time: what comes too many has to wait here.
      room: () => Math.min(MAX_OWN_ASKED, maxJobs - intake.numJobs),
      onDelivery: (delivery) => {
        this.#askForDurableLater();
        intake.take(delivery, edges);
      },
      onMissing: options.ensureOwn,
      log,
    });
    const maxDurable = Math.max(1, Math.floor(maxJobs * DURABLE_SHARE));
    this.#durable = Array.from({ length: NUM_LANES }, (_, lane) =>
      new Puller({
        nc,
        stream: DURABLE_STREAM,
        consumer: durableConsumer(facts.name, lane),
        workerId,
        // Not more than the places that interactive jobs leave over, and never the last of them; one of each lane at a
        // time, which makes them take turns.
        room: () => Math.min(1, maxDurable - intake.numSequences),
        onDelivery: (delivery) => intake.take(delivery, records),
        onMissing: options.ensureDurable,
        log,
      }));
  }

  start(): void {
    this.#own?.poke();
    for (const live of this.#live) live.poke();
    void this.#startDurable();
  }

  /** Room may have grown. */
  poke(): void {
    this.#own?.poke();
    for (const live of this.#live) live.poke();
    this.#askForDurableLater();
  }

  /** After a reconnection: what was asked for is forgotten. */
  restart(): void {
    this.#own?.restart();
    for (const live of this.#live) live.restart();
    void this.#startDurable();
  }

  /** Asks for no more; resolves when everything the server had sent has been taken in. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await Promise.all([this.#own?.stop(), ...[...this.#live, ...this.#durable].map((puller) => puller.stop())]);
  }

  /** A server without disk, or rights, for durable jobs serves interactive ones all the same. */
  async #startDurable(): Promise<void> {
    try {
      await this.#options.ensureDurable();
      if (!this.#isStopped) { for (const lane of this.#durable) lane.restart(); }
    } catch (error) {
      this.#options.log.warn("durable_queue_not_ready", { error });
    }
  }

  #askForDurableLater(): void {
    clearTimeout(this.#timer);
    if (!this.#isStopped) this.#timer = setTimeout(() => this.#durable.forEach((lane) => lane.poke()), LIVE_FIRST_MS);
  }
}
