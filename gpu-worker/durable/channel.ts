/** Durable jobs: their state in the bucket grants them and takes their events, their tiles come from a stream. No edge needed. */
import {
  errorCodeFor,
  isFinal,
  type Job,
  type JobCore,
  type JobRecord,
  type Logger,
  MAX_LOST_ATTEMPTS,
  MAX_RECORD_RETRIES,
  numIdsOf,
  parseTile,
  sha256Hex,
  STORED_VERSION,
  type TesseraError,
  TILES_IN_FLIGHT,
} from "@tessera/shared";
import type { JobChannel } from "../intake/channel.ts";
import type { ClaimOutcome } from "../intake/claim.ts";
import type { LiveJob } from "../intake/live_job.ts";
import { claimRecord } from "./claim_record.ts";
import { RecordEvents } from "./record_events.ts";
import { type DurableStore, RecordChanged, type StoredRecord } from "./store.ts";

export interface DurableChannelOptions {
  readonly store: DurableStore;
  readonly workerId: string;
  readonly tileSize: number;
  readonly log: Logger;
  readonly onTile: (jobId: string, hash: string, pixels: Uint8Array) => void;
  readonly onBadTile: (jobId: string, error: unknown) => void;
}

export class DurableChannel implements JobChannel {
  readonly isLive = false;
  readonly #options: DurableChannelOptions;
  /** States of granted jobs, from the grant until their events begin. */
  readonly #granted = new WeakMap<LiveJob, StoredRecord>();
  readonly #events = new WeakMap<LiveJob, RecordEvents>();

  constructor(options: DurableChannelOptions) {
    this.#options = options;
  }

  async claim(job: LiveJob, isTrial: boolean): Promise<ClaimOutcome> {
    try {
      for (let round = 0; round < MAX_RECORD_RETRIES; round++) {
        const outcome = await this.#tryClaim(job, isTrial);
        if (outcome !== null) return outcome;
      }
    } catch (error) {
      this.#options.log.warn("durable_claim_failed", { job_id: job.id, error });
    }
    return { granted: false, reason: "silent" };
  }

  events(job: LiveJob): RecordEvents {
    const events = new RecordEvents(this.#options.store, this.#granted.get(job)!);
    this.#events.set(job, events);
    return events;
  }

  async refuse(job: JobCore, _attempt: number, { code, message }: TesseraError): Promise<void> {
    const { store } = this.#options;
    const stored = await store.read(job.id);
    if (stored === null || isFinal(stored.record.status)) return;
    const error = { code: errorCodeFor(STORED_VERSION, code), message, param: null };
    const record = { ...stored.record, status: "failed" as const, error, completed_ms: Date.now() };
    if (await store.write(record, stored.revision).catch(unlessChanged) !== null) await this.#tellEnd(record, null);
  }

  mayAcknowledge(job: LiveJob): boolean {
    return this.#events.get(job)?.isFenced !== true;
  }

  /** Null when someone else changed the state in between. */
  async #tryClaim(job: LiveJob, isTrial: boolean): Promise<ClaimOutcome | null> {
    const { store, workerId } = this.#options;
    const events = this.#events.get(job);
    if (events !== undefined) {
      // After a reconnection: writing is asking.
      await events.confirm();
      if (events.isFenced) return { v: 1, granted: false, reason: "superseded" };
      return { v: 1, granted: true, resume_ids: [], resume_choices: [], remaining_ms: 1 };
    }
    const stored = await store.read(job.id);
    if (stored === null) return { v: 1, granted: false, reason: "gone" };
    const verdict = claimRecord(stored.record, { attempt: job.attempt, workerId, isTrial, nowMs: Date.now() });
    switch (verdict.kind) {
      case "superseded":
        return { v: 1, granted: false, reason: "superseded" };
      case "gone":
        // Whoever ended it may have died before it told so.
        await this.#tellEnd(stored.record, job.job);
        return { v: 1, granted: false, reason: "gone" };
      case "over":
        if (await store.write(verdict.record, stored.revision).catch(unlessChanged) === null) return null;
        await this.#tellEnd(verdict.record, job.job);
        return { v: 1, granted: false, reason: "gone" };
      case "run":
        return await this.#grant(job, stored.revision, verdict, isTrial);
    }
  }

  async #grant(
    job: LiveJob,
    revision: number,
    { record, isAlone }: Extract<ReturnType<typeof claimRecord>, { kind: "run" }>,
    isTrial: boolean,
  ): Promise<ClaimOutcome | null> {
    const { store } = this.#options;
    const isFirst = numIdsOf(record) === 0 && record.attempt?.number === 1;
    const written = await store.write(record, revision).catch(unlessChanged);
    if (written === null) return null;
    this.#granted.set(job, { record, revision: written });
    if (isFirst) await store.tell(record);
    if (!isAlone || isTrial) void this.#fetchTiles(job);
    const remaining_ms = Math.max(1, Math.round(record.expires_ms - Date.now()));
    const [resume_ids, ...resume_choices] = record.choices.map(({ ids }) => ids) as [number[], ...number[][]];
    const alone = isAlone ? { alone: true } : {};
    return { v: 1, granted: true, resume_ids, resume_choices, remaining_ms, ...alone };
  }

  /**
   * Of a job whose state says that it is over. Each thing counts once, however often it is told.
   * @param job null where it cannot be read
   */
  async #tellEnd(record: JobRecord, job: Job | null): Promise<void> {
    const { store } = this.#options;
    // Before the news, so that whoever hears of the end finds the letter.
    if (job !== null && record.error?.code === "worker_crashed") await this.#park(record, job);
    await store.tell(record);
    await store.dropTiles(record.id).catch(() => {});
  }

  async #park({ lost_worker_ids: worker_ids, completed_ms }: JobRecord, job: Job): Promise<void> {
    const { store, log } = this.#options;
    log.error("job_parked", { job_id: job.id, worker_ids });
    const parked_ms = completed_ms ?? Date.now();
    const letter = { parked_ms, attempts: MAX_LOST_ATTEMPTS, reason: "worker_crashed", worker_ids, job };
    await store.park({ v: 1, ...letter });
  }

  /** Brings the missing tiles, a few at a time, in their order. */
  async #fetchTiles(job: LiveJob): Promise<void> {
    const { store, tileSize, onTile, onBadTile } = this.#options;
    const hashes = [...job.missing];
    const lane = async () => {
      for (let hash = hashes.shift(); hash !== undefined && !job.hasEnded; hash = hashes.shift()) {
        const tile = await store.tile(job.id, hash);
        if (tile === null) throw new Error(`Cannot take tile ${hash}: it is not stored (any more)`);
        parseTile(tile.get, tile.data, tileSize);
        const actual = await sha256Hex(tile.data);
        if (actual !== hash) throw new Error(`Cannot take tile: its pixels hash to ${actual}, expected ${hash}`);
        onTile(job.id, hash, tile.data);
      }
    };
    try {
      await Promise.all(Array.from({ length: Math.min(TILES_IN_FLIGHT, hashes.length) }, lane));
    } catch (error) {
      if (!job.hasEnded) onBadTile(job.id, error);
    }
  }
}

function unlessChanged(error: unknown): null {
  if (error instanceof RecordChanged) return null;
  throw error;
}
