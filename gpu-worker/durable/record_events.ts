/** Owns the events of one attempt at a durable job: gathered, and written into the job's state a few times a second. */
import {
  errorCodeFor,
  type FinishReason,
  isFinal,
  JobRecord,
  numIdsOf,
  type PromptUsage,
  STORED_VERSION,
  TesseraError,
  type TokenLogprobs,
  type Usage,
  type WorkerTimings,
} from "@tessera/shared";
import type { EventSink } from "../intake/channel.ts";
import { type DurableStore, RecordChanged, type StoredRecord } from "./store.ts";

export class RecordEvents implements EventSink {
  readonly #store: DurableStore;
  #record: JobRecord;
  /** Grow in place; copied when they are written. */
  readonly #choices: JobRecord["choices"];
  #revision: number;
  #prompt: PromptUsage | null = null;
  #isDirty = false;
  /** Another attempt has the job, or it was cancelled: nothing of this one counts. */
  #isFenced = false;
  #writing: Promise<void> = Promise.resolve();

  /** @param stored the state with this attempt in it */
  constructor(store: DurableStore, stored: StoredRecord) {
    this.#store = store;
    this.#record = stored.record;
    this.#choices = structuredClone(stored.record.choices);
    this.#revision = stored.revision;
  }

  get isFenced(): boolean {
    return this.#isFenced;
  }

  /** The acknowledgement of the delivery says that much. */
  progress(): void {}

  /** From now on each state tells what it took so far. */
  prompt({ prompt_tokens, image_tokens, cached_tokens }: PromptUsage): void {
    this.#prompt = { prompt_tokens, image_tokens, cached_tokens };
  }

  handOver(): void {
    const { attempt } = this.#record;
    if (attempt !== null) this.#change({ attempt: { ...attempt, handed_over: true } });
    this.confirm().catch(() => {});
  }

  tokens(ids: number[], text: string, choice = 0, logprobs?: TokenLogprobs[]): void {
    const answer = this.#choices[choice]!;
    answer.ids.push(...ids);
    answer.text += text;
    if (logprobs !== undefined) (answer.logprobs ??= []).push(...logprobs);
    this.#isDirty = true;
  }

  /** One of several answers is complete, with the last of its text. */
  choiceDone(choice: number, text: string, finish_reason: FinishReason): void {
    const answer = this.#choices[choice]!;
    // An earlier attempt has said so already.
    if (answer.finish_reason !== null) return;
    answer.text += text;
    answer.finish_reason = finish_reason;
    this.#isDirty = true;
  }

  done(text: string, finish_reason: FinishReason, usage: Usage, timings: WorkerTimings): void {
    if (this.#choices.length === 1) this.choiceDone(0, text, finish_reason);
    this.#change({ status: "succeeded", usage, timings, completed_ms: Date.now() });
  }

  /** As in EventWriter: an inner error goes out with its code's own words. */
  error(error: TesseraError): void {
    const { code, message, param } = error.code === "internal_error" ? new TesseraError("internal_error") : error;
    const status = code === "deadline_exceeded" ? "expired" : "failed";
    this.#change({
      status,
      error: { code: errorCodeFor(STORED_VERSION, code), message, param },
      completed_ms: Date.now(),
    });
  }

  /** Writes what has changed; after the end also tells of it. Rejects when the bus breaks meanwhile. */
  confirm(): Promise<void> {
    const written = this.#writing.catch(() => {}).then(() => this.#write());
    this.#writing = written;
    return written;
  }

  repeat(): void {
    this.confirm().catch(() => {});
  }

  /** The state fits no message; without the log-probabilities it does. */
  async #endAsTooLarge(cause: TesseraError): Promise<void> {
    if (this.#choices.every(({ logprobs }) => logprobs === undefined)) throw cause;
    for (const choice of this.#choices) delete choice.logprobs;
    const message = "The log-probabilities of the answer are too large to be kept. Ask for fewer.";
    this.error(new TesseraError("request_too_large", { message, param: "top_logprobs" }));
    await this.#write();
    this.#isFenced = true;
  }

  #change(fields: Partial<JobRecord>): void {
    this.#record = { ...this.#record, ...fields };
    this.#isDirty = true;
  }

  async #write(): Promise<void> {
    if (!this.#isDirty || this.#isFenced) return;
    const choices = structuredClone(this.#choices);
    const soFar = this.#prompt === null ? null : { ...this.#prompt, completion_tokens: numIdsOf({ choices }) };
    const isDone = this.#record.status === "succeeded";
    const record = { ...this.#record, choices, usage: isDone ? this.#record.usage : soFar ?? this.#record.usage };
    this.#isDirty = false;
    try {
      this.#revision = await this.#store.write(record, this.#revision);
    } catch (error) {
      this.#isDirty = true;
      if (error instanceof TesseraError && error.code === "request_too_large") return await this.#endAsTooLarge(error);
      if (!(error instanceof RecordChanged)) throw error;
      // It may be our own write, whose answer was lost with a connection.
      const stored = await this.#store.read(record.id);
      const isOurs = stored !== null && stored.record.attempt?.number === record.attempt?.number &&
        stored.record.attempt?.worker_id === record.attempt?.worker_id && !isFinal(stored.record.status);
      const isWritten = stored !== null && JSON.stringify(stored.record) === JSON.stringify(record);
      if (!isOurs && !isWritten) {
        this.#isFenced = true;
        return;
      }
      this.#revision = stored.revision;
      if (!isWritten) return this.#write();
      this.#isDirty = false;
    }
    if (isFinal(record.status)) {
      await this.#store.tell(record);
      await this.#store.dropTiles(record.id).catch(() => {});
    } else if (record.webhook?.events.includes("output") && numIdsOf(record) > 0) {
      // Of no consequence: the next one tells more, and the end all.
      await this.#store.tellProgress(record).catch(() => {});
    }
  }
}
