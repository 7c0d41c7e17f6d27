/** Captions as jobs: submitted, looked at, listed, cancelled, deleted; the request in a bucket, its state the durable job's. */
import { CAPTIONS_BUCKET_CONFIG, isFinal, isListId, type JobRecord, TesseraError, type Usage } from "@tessera/shared";
import type { Bus } from "../dispatch/bus.ts";
import type { DurableJobs } from "../jobs/durable_jobs.ts";
import { OwnedRecords, type PageWish, type Stored } from "../records/owned_records.ts";
import { CaptionRecord } from "./caption_record.ts";

export const CAPTION_PREFIX = "cap";
/** By then the tiles of a request and its job are stored, or never will be. */
const SUBMIT_MS = 60_000;

/** A caption with the state of its job. */
export interface Caption {
  readonly caption: CaptionRecord;
  readonly job: JobRecord;
}

/** What else is to be done about captions. */
export interface CaptionHooks {
  /** Forgets what the webhooks of a caption left. */
  readonly forgetDeliveries: (id: string) => Promise<void>;
  /** Adds a caption that was made to what its key used; called once. */
  readonly countUsage: (keyId: string, usage: Usage) => void;
}

export class Captions {
  readonly #jobs: DurableJobs;
  readonly #records: OwnedRecords<typeof CaptionRecord>;
  readonly #keepMs: number;
  readonly #hooks: CaptionHooks;

  /** @param keepMs how long a caption is kept after its end */
  constructor(bus: Bus, jobs: DurableJobs, keepMs: number, hooks: CaptionHooks) {
    this.#jobs = jobs;
    this.#keepMs = keepMs;
    this.#hooks = hooks;
    this.#records = captionRecords(bus);
  }

  /**
   * Keeps the request, then calls `submit`, which stores its job; one without the other is not left. Where there is a
   * caption of that id already, that one it is.
   */
  async create(owner: string, caption: CaptionRecord, submit: () => Promise<JobRecord>): Promise<Caption> {
    const isNew = await this.#records.create(owner, caption) !== null;
    if (!isNew) {
      const earlier = await this.find(owner, caption.id);
      if (earlier !== null) return earlier;
      // Its edge died, or is just about to store its job, which is stored once whoever comes first.
    }
    try {
      return { caption, job: await submit() };
    } catch (error) {
      if (isNew) await this.#records.remove(owner, caption.id).catch(() => {});
      throw error;
    }
  }

  /** @throws TesseraError `not_found` for what is not there, too old or somebody else's */
  async get(owner: string, id: string): Promise<Caption> {
    const found = await this.find(owner, id);
    if (found === null) throw absent(id);
    return found;
  }

  /** Null when there is none (any more). */
  async find(owner: string, id: string): Promise<Caption | null> {
    const stored = isListId(CAPTION_PREFIX, id) ? await this.#records.get(owner, id) : null;
    if (stored === null) return null;
    const job = await this.#jobs.status(id);
    if (job !== null) await this.#count(owner, stored, job);
    if (job !== null && !this.#isTooOld(job)) return { caption: stored.record, job };
    // The job is stored a moment after the request.
    if (job !== null || Date.now() > stored.record.created_ms + SUBMIT_MS) await this.#drop(owner, id);
    return null;
  }

  async list(owner: string, wish: PageWish): Promise<{ data: Caption[]; hasMore: boolean }> {
    const { data, hasMore } = await this.#records.list(owner, wish);
    const found = await Promise.all(
      data.map(async (caption) => ({ caption, job: await this.#jobs.status(caption.id) })),
    );
    return { data: found.filter((each): each is Caption => each.job !== null && !this.#isTooOld(each.job)), hasMore };
  }

  /** Waits until it has ended, or `signal` aborts. @throws TesseraError `not_found` */
  async wait(owner: string, id: string, signal: AbortSignal): Promise<Caption> {
    await this.get(owner, id);
    if (await this.#jobs.wait(id, signal) === null) throw absent(id);
    return await this.get(owner, id);
  }

  /** Ends it unless it has ended. @throws TesseraError `not_found` */
  async cancel(owner: string, id: string): Promise<Caption> {
    const { caption } = await this.get(owner, id);
    const job = await this.#jobs.cancel(id);
    if (job === null) throw absent(id);
    return { caption, job };
  }

  /** Cancels it and forgets all of it at once. @throws TesseraError `not_found` */
  async remove(owner: string, id: string): Promise<void> {
    await this.get(owner, id);
    await this.#drop(owner, id);
  }

  /** Forgets what ended too long ago, and counts what nobody has looked at. */
  async sweep(): Promise<void> {
    for (const { owner, id } of await this.#records.keys("*")) await this.find(owner, id);
  }

  /** Of those who see that it has ended, the one whose note of it is taken counts it. */
  async #count(
    owner: string,
    { record, revision }: Stored<CaptionRecord>,
    { status, usage }: JobRecord,
  ): Promise<void> {
    const { key_id: keyId, is_counted } = record;
    if (keyId === null || is_counted || usage === null || !isFinal(status)) return;
    if (await this.#records.update(owner, { ...record, is_counted: true }, revision) === null) return;
    this.#hooks.countUsage(keyId, usage);
  }

  #isTooOld({ status, completed_ms }: JobRecord): boolean {
    return isFinal(status) && Date.now() > (completed_ms ?? 0) + this.#keepMs;
  }

  async #drop(owner: string, id: string): Promise<void> {
    await this.#jobs.remove(id);
    await this.#hooks.forgetDeliveries(id);
    await this.#records.remove(owner, id);
  }
}

/** Requests of captions, as they are kept. */
export function captionRecords(bus: Bus): OwnedRecords<typeof CaptionRecord> {
  return new OwnedRecords({ bus, bucket: CAPTIONS_BUCKET_CONFIG, schema: CaptionRecord, idOf: ({ id }) => id });
}

function absent(id: string): TesseraError {
  return new TesseraError("not_found", { message: `No such caption: ${id.slice(0, 64)}.`, param: "id" });
}
