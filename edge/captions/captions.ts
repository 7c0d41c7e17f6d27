/** Captions as jobs: submitted, looked at, listed, cancelled, deleted; the request in a bucket, its state the durable jobs'. */
import { CAPTIONS_BUCKET_CONFIG, isFinal, isListId, type JobRecord, TesseraError, type Usage } from "@tessera/shared";
import type { Bus } from "../dispatch/bus.ts";
import { type DurableJobs, usageToCount } from "../jobs/durable_jobs.ts";
import { OwnedRecords, type PageWish, type Stored } from "../records/owned_records.ts";
import { CaptionRecord, jobIdsOf } from "./caption_record.ts";
import { type Caption, stateOf } from "./caption_state.ts";

export const CAPTION_PREFIX = "cap";
/** By then the tiles of a request and its job are stored, or never will be; and all pictures of one that has many. */
const SUBMIT_MS = 60_000;
const TAKE_MS = 15 * 60_000;

/** What else is to be done about captions. */
export interface CaptionHooks {
  /** Forgets what the webhooks of a caption left. */
  readonly forgetDeliveries: (id: string) => Promise<void>;
  /** Adds a text that was made to what its key used; called once for each. */
  readonly countUsage: (keyId: string, usage: Usage, jobId: string) => Promise<void>;
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
      return { caption, jobs: [await submit()] };
    } catch (error) {
      if (isNew) await this.#records.remove(owner, caption.id).catch(() => {});
      throw error;
    }
  }

  /**
   * The same of several texts: `submit` stores the jobs and returns them with the record as it is to be kept. Until
   * then nobody sees it; where it fails nothing is left.
   */
  async createMany(
    owner: string,
    caption: CaptionRecord,
    submit: () => Promise<{ readonly caption: CaptionRecord; readonly jobs: readonly (JobRecord | null)[] }>,
  ): Promise<Caption> {
    const revision = await this.#records.create(owner, { ...caption, is_taken: false });
    if (revision === null) throw new TesseraError("internal_error", { diagnostic: `There is a caption ${caption.id}` });
    try {
      const { caption: record, jobs } = await submit();
      const taken = { ...record, is_taken: true };
      if (await this.#records.update(owner, taken, revision) === null) {
        throw new TesseraError("internal_error", {
          diagnostic: `The caption ${caption.id} was changed while it was taken`,
        });
      }
      return { caption: taken, jobs };
    } catch (error) {
      await Promise.allSettled(jobIdsOf(caption).map((id) => id === null ? null : this.#jobs.remove(id)));
      await this.#records.remove(owner, caption.id).catch(() => {});
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
    const { record: caption } = stored;
    const age = Date.now() - caption.created_ms;
    const jobs = caption.is_taken ? await this.#jobsOf(caption) : null;
    if (jobs !== null) {
      const found = { caption, jobs };
      await this.#count(owner, stored, found);
      if (!this.#isTooOld(found)) return found;
    }
    // Jobs are stored a moment after the request.
    if (jobs !== null || age > (caption.is_taken ? SUBMIT_MS : TAKE_MS)) await this.#drop(owner, caption);
    return null;
  }

  async list(owner: string, wish: PageWish): Promise<{ data: Caption[]; hasMore: boolean }> {
    const { data, hasMore } = await this.#records.list(owner, wish);
    const found = await Promise.all(data.map(async (caption) => {
      const jobs = caption.is_taken ? await this.#jobsOf(caption) : null;
      return jobs === null || this.#isTooOld({ caption, jobs }) ? [] : [{ caption, jobs }];
    }));
    return { data: found.flat(), hasMore };
  }

  /** Waits until it has ended, or `signal` aborts. @throws TesseraError `not_found` */
  async wait(owner: string, id: string, signal: AbortSignal): Promise<Caption> {
    const { caption } = await this.get(owner, id);
    for (const jobId of jobIdsOf(caption)) {
      if (jobId !== null && await this.#jobs.wait(jobId, signal) === null) throw absent(id);
    }
    return await this.get(owner, id);
  }

  /** Ends it unless it has ended. @throws TesseraError `not_found` */
  async cancel(owner: string, id: string): Promise<Caption> {
    const { caption } = await this.get(owner, id);
    const jobs = await Promise.all(
      jobIdsOf(caption).map(async (jobId) => {
        if (jobId === null) return null;
        const job = await this.#jobs.cancel(jobId);
        if (job === null) throw absent(id);
        return job;
      }),
    );
    return { caption, jobs };
  }

  /** Cancels it and forgets all of it at once. @throws TesseraError `not_found` */
  async remove(owner: string, id: string): Promise<void> {
    const { caption } = await this.get(owner, id);
    await this.#drop(owner, caption);
  }

  /** Forgets what ended too long ago, and counts what nobody has looked at. */
  async sweep(): Promise<void> {
    for (const { owner, id } of await this.#records.keys("*")) await this.find(owner, id);
  }

  /** Of those who see that it has ended, the one whose note of it is taken counts it. */
  async #count(
    owner: string,
    { record, revision }: Stored<CaptionRecord>,
    found: Caption,
  ): Promise<void> {
    const { key_id: keyId, is_counted } = record;
    if (keyId === null || is_counted || !isFinal(stateOf(found).status)) return;
    // Who comes second, or again because the first one died here, counts the same, which is counted once.
    for (const job of found.jobs) {
      const usage = job === null ? null : usageToCount(job);
      if (usage !== null) await this.#hooks.countUsage(keyId, usage, job!.id);
    }
    await this.#records.update(owner, { ...record, is_counted: true }, revision);
  }

  /** Null when one of them is not there (yet, or any more). */
  async #jobsOf(caption: CaptionRecord): Promise<(JobRecord | null)[] | null> {
    const ids = jobIdsOf(caption);
    const jobs = await Promise.all(ids.map((id) => id === null ? null : this.#jobs.status(id)));
    return jobs.some((job, index) => job === null && ids[index] !== null) ? null : jobs;
  }

  #isTooOld(found: Caption): boolean {
    const { status, completed_ms } = stateOf(found);
    return isFinal(status) && Date.now() > (completed_ms ?? 0) + this.#keepMs;
  }

  async #drop(owner: string, caption: CaptionRecord): Promise<void> {
    for (const jobId of jobIdsOf(caption)) if (jobId !== null) await this.#jobs.remove(jobId);
    await this.#hooks.forgetDeliveries(caption.id);
    await this.#records.remove(owner, caption.id);
  }
}

/** Requests of captions, as they are kept. */
export function captionRecords(bus: Bus): OwnedRecords<typeof CaptionRecord> {
  return new OwnedRecords({ bus, bucket: CAPTIONS_BUCKET_CONFIG, schema: CaptionRecord, idOf: ({ id }) => id });
}

function absent(id: string): TesseraError {
  return new TesseraError("not_found", { message: `No such caption: ${id.slice(0, 64)}.`, param: "id" });
}
