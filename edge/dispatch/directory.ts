/** The worker directory: who serves what, from the announcements in the workers bucket. */
import type { KvWatchEntry } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/nats-core";
import {
  Announcement,
  ANNOUNCEMENT_TTL_MS,
  decodeMessage,
  type Logger,
  TesseraError,
  WORKERS_BUCKET_CONFIG,
} from "@tessera/shared";

import { BucketWatch } from "./bucket_watch.ts";

/** Model names remembered after their workers left, so that their absence is told apart from a typing error. */
const MAX_KNOWN_MODELS = 1_000;

interface Entry {
  readonly announcement: Announcement;
  /** performance.now() when it was heard. */
  readonly heardAt: number;
}

/** A model with the workers that live. */
export interface ModelEntry {
  readonly name: string;
  /** Those that take new jobs first; never empty. */
  readonly workers: readonly [Announcement, ...Announcement[]];
}

export class WorkerDirectory {
  readonly #log: Logger;
  readonly #entries = new Map<string, Entry>();
  readonly #knownModels = new Set<string>();
  readonly #watch: BucketWatch;

  constructor(log: Logger) {
    this.#log = log;
    this.#watch = new BucketWatch({
      bucket: WORKERS_BUCKET_CONFIG,
      onEntry: (entry) => this.#hear(entry),
      onFault: (error) => log.warn("directory_watch_failed", { error }),
    });
  }

  /** Watches the bucket from now on, in place of any watch before. Returns at once. */
  attach(nc: NatsConnection): void {
    this.#watch.attach(nc);
  }

  close(): void {
    this.#watch.close();
  }

  /** Every model with a living worker, by name. */
  models(): ModelEntry[] {
    const byModel = new Map<string, Announcement[]>();
    for (const announcement of this.#alive()) {
      const workers = byModel.get(announcement.model);
      if (workers === undefined) byModel.set(announcement.model, [announcement]);
      else workers.push(announcement);
    }
    return [...byModel].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, workers]) => ({
      name,
      workers: workers.sort((a, b) => Number(a.draining) - Number(b.draining)) as [Announcement, ...Announcement[]],
    }));
  }

  /** The model's workers that live. */
  workersOf(model: string): Announcement[] {
    return this.#alive().filter((a) => a.model === model);
  }

  /** Whether that worker lives. */
  has(workerId: string): boolean {
    return this.#alive().some(({ worker_id }) => worker_id === workerId);
  }

  /** Whether a worker lives that takes new jobs, of one model or of any. */
  isServed(model?: string): boolean {
    return this.#alive().some((a) => !a.draining && (model === undefined || a.model === model));
  }

  /** Whether a worker of the model lives, be it draining. */
  isAlive(model: string): boolean {
    return this.#alive().some((a) => a.model === model);
  }

  /**
   * What the model's workers announce.
   * @throws TesseraError `no_worker` when nobody serves it now, `model_not_found` when it was never heard of
   */
  find(model: string): Announcement {
    const found = this.#alive().find((a) => a.model === model && !a.draining);
    if (found === undefined) throw this.absence(model);
    return found;
  }

  /**
   * What the model's workers announce, where a request names none.
   * @throws TesseraError `no_worker` without a model, `invalid_request` with several
   */
  only(): Announcement {
    const [first, ...others] = this.models();
    if (first === undefined) throw new TesseraError("no_worker", { param: "model" });
    if (others.length > 0) {
      throw new TesseraError("invalid_request", {
        message: "This server has several models. Name one in model: tiles and tokens depend on it.",
        param: "model",
      });
    }
    return first.workers[0];
  }

  /** Why a model cannot be used: its workers are away, or it was never heard of. */
  absence(model: string): TesseraError {
    if (this.#alive().length === 0 || this.#knownModels.has(model)) {
      return new TesseraError("no_worker", { param: "model" });
    }
    return new TesseraError("model_not_found", {
      message: `The model "${model.slice(0, 200)}" does not exist on this server. GET /v1/models lists the models.`,
      param: "model",
    });
  }

  #alive(): Announcement[] {
    const oldest = performance.now() - ANNOUNCEMENT_TTL_MS;
    const alive: Announcement[] = [];
    for (const [id, entry] of this.#entries) {
      if (entry.heardAt < oldest) this.#entries.delete(id);
      else alive.push(entry.announcement);
    }
    return alive;
  }

  #hear(entry: KvWatchEntry): void {
    if (entry.operation !== "PUT") {
      this.#entries.delete(entry.key);
      return;
    }
    try {
      const announcement = decodeMessage(Announcement, entry.value);
      this.#entries.set(entry.key, { announcement, heardAt: performance.now() });
      if (this.#knownModels.size < MAX_KNOWN_MODELS) this.#knownModels.add(announcement.model);
    } catch (error) {
      this.#log.warn("announcement_unreadable", { worker: entry.key, error });
    }
  }
}
