/** The worker directory: who serves what, from the announcements in the workers bucket. */
import type { KvWatchEntry } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/nats-core";
import {
  Announcement,
  ANNOUNCEMENT_TTL_MS,
  AnnouncementCore,
  decodeMessage,
  isCompatible,
  type Logger,
  MAX_KNOWN_MODELS,
  MISSED_MODEL_MS,
  STORED_VERSION,
  TesseraError,
  versionFor,
  versionsOf,
  versionsText,
  WIRE_VERSIONS,
  type WireVersion,
  WORKERS_BUCKET_CONFIG,
} from "@tessera/shared";
import { BucketWatch } from "./bucket_watch.ts";

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
  /** Workers that speak no version of this edge: as good as absent, but for telling so. */
  readonly #strangers = new Map<string, { readonly core: AnnouncementCore; readonly heardAt: number }>();
  /** Every model that was ever announced, with when it was asked for last (performance.now()). */
  readonly #knownModels = new Map<string, number>();
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

  /** Models that were asked for lately and have no worker, though they had one before. */
  missed(): string[] {
    const since = performance.now() - MISSED_MODEL_MS;
    const alive = new Set(this.#alive().map(({ model }) => model));
    return [...this.#knownModels].filter(([model, askedAt]) => askedAt > since && !alive.has(model)).map(([model]) =>
      model
    );
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
    if (this.#knownModels.has(model)) this.#knownModels.set(model, performance.now());
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
    if (first === undefined) {
      const [stranger] = this.incompatible();
      throw stranger === undefined ? new TesseraError("no_worker", { param: "model" }) : this.absence(stranger.model);
    }
    if (others.length > 0) {
      throw new TesseraError("invalid_request", {
        message: "This server has several models. Name one in model: tiles and tokens depend on it.",
        param: "model",
      });
    }
    return first.workers[0];
  }

  /**
   * The version in which the model's workers, or one of them, are to be talked to: the newest that all who may take a
   * job speak. Where nobody is there now, the one that builds of before and after an upgrade speak.
   */
  versionFor(model: string, workerId: string | null = null): WireVersion {
    const workers = this.workersOf(model).filter((a) => workerId === null || a.worker_id === workerId);
    const takers = workers.filter(({ draining }) => !draining);
    return versionFor((takers.length > 0 ? takers : workers).map(versionsOf)) ?? STORED_VERSION;
  }

  /** Whether a job in that version may go to whichever worker takes it. */
  isReadByAll(model: string, version: WireVersion): boolean {
    const takers = this.workersOf(model).filter(({ draining }) => !draining);
    return takers.every((worker) => versionsOf(worker).includes(version)) || version === this.versionFor(model);
  }

  /** Workers that live and speak no version of this edge. */
  incompatible(): AnnouncementCore[] {
    const oldest = performance.now() - ANNOUNCEMENT_TTL_MS;
    for (const [id, { heardAt }] of this.#strangers) if (heardAt < oldest) this.#strangers.delete(id);
    return [...this.#strangers.values()].map(({ core }) => core);
  }

  /** Why a model cannot be used: its workers are away or of another version, or it was never heard of. */
  absence(model: string): TesseraError {
    const strangers = this.incompatible().filter((worker) => worker.model === model);
    if (strangers.length > 0 && !this.isServed(model)) {
      const spoken = versionsText([...new Set(strangers.flatMap((worker) => [...versionsOf(worker)]))]);
      return new TesseraError("incompatible_version", {
        message:
          `The workers of this model speak version ${spoken} of the wire, this server ${
            versionsText(WIRE_VERSIONS)
          }. ` + "Upgrade one of them.",
        param: "model",
      });
    }
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
    this.#strangers.delete(entry.key);
    if (entry.operation !== "PUT") {
      this.#entries.delete(entry.key);
      return;
    }
    try {
      const heardAt = performance.now();
      const core = decodeMessage(AnnouncementCore, entry.value);
      if (isCompatible(versionsOf(core))) {
        this.#entries.set(entry.key, { announcement: decodeMessage(Announcement, entry.value), heardAt });
      } else {
        this.#strangers.set(entry.key, { core, heardAt });
      }
      const isNew = !this.#knownModels.has(core.model);
      if (isNew && this.#knownModels.size < MAX_KNOWN_MODELS) this.#knownModels.set(core.model, -Infinity);
    } catch (error) {
      this.#log.warn("announcement_unreadable", { worker: entry.key, error });
    }
  }
}
