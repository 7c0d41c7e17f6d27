/** What an intake is given: connection, model, limits, and whom it tells. */
import type { NatsConnection } from "@nats-io/nats-core";
import type { Logger } from "@tessera/shared";
import type { ModelFacts } from "../config.ts";
import type { WorkerMetrics } from "../metrics/metrics.ts";
import type { Tokenizer } from "../prompt/tokenizer.ts";
import type { TileSlots } from "../schedule/tile_slots.ts";
import type { Link } from "./link.ts";
import type { LiveJob } from "./live_job.ts";

/** Waits, all in ms; shorter in tests. */
export interface IntakeWaits {
  readonly claimMs: number;
  readonly tileMs: number;
  readonly progressMs: number;
  readonly edgeGoneMs: number;
}

export interface IntakeOptions {
  readonly nc: NatsConnection;
  readonly link: Link;
  readonly workerId: string;
  readonly facts: ModelFacts;
  readonly tokenizer: Tokenizer;
  readonly tiles: TileSlots;
  readonly maxLength: number;
  readonly vocabSize: number;
  readonly waits: IntakeWaits;
  readonly log: Logger;
  readonly metrics?: WorkerMetrics;
  /** Something changed that the worker's loop may act on. */
  readonly onChange: () => void;
  /** A job has ended. Returns whether nothing of it is in flight; if not, `releaseTiles` is called later. */
  readonly onEnd: (job: LiveJob) => boolean;
}
