/** Owns the events of one attempt at a job: numbered, sized, and kept until the server has certainly had them. */
import type { NatsConnection } from "@nats-io/nats-core";
import {
  checkPayload,
  errorCodeFor,
  type EventBody,
  eventsSubject,
  type FinishReason,
  type Job,
  type PromptUsage,
  TesseraError,
  type TokenLogprobs,
  type Usage,
  type WorkerTimings,
} from "@tessera/shared";
import type { EventOutbox } from "./event_outbox.ts";
import { asciiBytes, tokenEvent, tokenEventHead } from "./token_event.ts";

export interface EventWriterOptions {
  readonly nc: NatsConnection;
  /** Takes the events of jobs whose edges take several in one message. */
  readonly outbox: EventOutbox;
  /** Its version is the events'. */
  readonly job: Pick<Job, "v" | "id" | "edge_id">;
  readonly attempt: number;
  /** Ids of each answer that were sent before. */
  readonly firstSeqs: readonly number[];
}

export class EventWriter {
  readonly #nc: NatsConnection;
  readonly #outbox: EventOutbox;
  readonly #job: EventWriterOptions["job"];
  readonly #subject: string;
  readonly #attempt: number;
  /** Published, but perhaps lost with the connection they were sent on. Progress is not worth keeping. */
  readonly #unconfirmed: string[] = [];
  /** Where they were sent on: all on the same, because a new one begins with sending them again. */
  #sentOn = "";
  #numConfirmed = 0;
  readonly #tokenHead: string;
  /** What the server said last, and the name made of it. */
  #info: NatsConnection["info"];
  #connectionName = "";
  /** Ids of each answer sent so far, by all attempts. */
  readonly #seqs: number[];

  constructor({ nc, outbox, job, attempt, firstSeqs }: EventWriterOptions) {
    this.#nc = nc;
    this.#outbox = outbox;
    this.#job = job;
    this.#subject = eventsSubject(job.edge_id, job.id);
    this.#attempt = attempt;
    this.#seqs = [...firstSeqs];
    this.#tokenHead = tokenEventHead(attempt, this.#isBatched ? job.id : null);
  }

  get #isBatched(): boolean {
    return this.#job.v >= 2;
  }

  progress(): void {
    this.#publish({ attempt: this.#attempt, type: "progress" });
  }

  /** What the prompt took, before the first token that is drawn from it. */
  prompt({ prompt_tokens, image_tokens, cached_tokens }: PromptUsage): void {
    const prompt = { prompt_tokens, image_tokens, cached_tokens };
    this.#publish({ attempt: this.#attempt, type: "progress", prompt });
  }

  /** The job goes back to the queue unfinished. */
  handOver(): void {
    this.#publish({ attempt: this.#attempt, type: "progress", handed_over: true });
  }

  /** More of an answer. `choice` says which, where there are several. */
  tokens(ids: number[], text: string, choice = 0, logprobs?: TokenLogprobs[]): void {
    const seq = this.#seqs[choice]!;
    this.#seqs[choice] = seq + ids.length;
    const plain = choice === 0 && logprobs === undefined ? tokenEvent(this.#tokenHead, seq, ids, text) : null;
    if (plain !== null) return this.#send(plain, true);
    const more = { ...(choice > 0 ? { choice } : {}), ...(logprobs === undefined ? {} : { logprobs }) };
    this.#publish({ attempt: this.#attempt, type: "tokens", seq, ids, text, ...more });
  }

  choiceDone(choice: number, text: string, finish_reason: FinishReason): void {
    const seq = this.#seqs[choice]!;
    this.#publish({ attempt: this.#attempt, type: "choice_done", seq, text, choice, finish_reason });
  }

  done(text: string, finish_reason: FinishReason, usage: Usage, timings: WorkerTimings): void {
    const seq = this.#seqs.reduce((sum, each) => sum + each, 0);
    this.#publish({ attempt: this.#attempt, type: "done", seq, text, finish_reason, usage, timings });
  }

  /** What is private about the error stays here: an inner error goes out with its code's own words. */
  error(error: TesseraError): void {
    const { code, message, param } = error.code === "internal_error" ? new TesseraError("internal_error") : error;
    const known = errorCodeFor(this.#job.v, code);
    this.#publish({ attempt: this.#attempt, type: "error", code: known, message, param });
  }

  /**
   * Waits until the server has had everything; what went out on an earlier connection is sent again before. Rejects
   * when the connection breaks meanwhile.
   */
  async confirm(): Promise<void> {
    const connection = this.#connection();
    this.#catchUp(connection);
    const numSent = this.#numConfirmed + this.#unconfirmed.length;
    this.#outbox.flush();
    await this.#nc.flush();
    if (this.#connection() !== connection) {
      throw new Error("Cannot confirm events: another connection, expected the same");
    }
    const numNew = Math.max(0, numSent - this.#numConfirmed);
    this.#unconfirmed.splice(0, numNew);
    this.#numConfirmed += numNew;
  }

  /** Sends again what may have been lost; the edge drops what it has. */
  repeat(): void {
    this.#sentOn = this.#connection();
    for (const message of this.#unconfirmed) this.#hand(message);
  }

  /** Nothing goes out behind a gap: what an earlier connection may have lost comes first. */
  #catchUp(connection: string): void {
    if (this.#sentOn === connection) return;
    if (this.#unconfirmed.length > 0) this.repeat();
    this.#sentOn = connection;
  }

  /** Names the connection that is up, or was last: a server's own id is new with each start. */
  #connection(): string {
    const { info } = this.#nc;
    if (info === undefined || info !== this.#info) {
      this.#info = info;
      this.#connectionName = `${info?.server_id} ${info?.client_id}`;
    }
    return this.#connectionName;
  }

  #publish(event: EventBody): void {
    const head = this.#isBatched ? { job_id: this.#job.id } : { v: this.#job.v };
    const message = JSON.stringify({ ...head, ...event });
    // Most are far too short to have to be measured.
    const maxBytes = this.#nc.info?.max_payload ?? 1_048_576;
    if (message.length * 4 > maxBytes) checkPayload(new TextEncoder().encode(message).length, maxBytes);
    this.#send(message, event.type !== "progress" || event.prompt !== undefined);
  }

  /** @param isKept whether to send it again where it is lost; text is lighter to keep than bytes */
  #send(message: string, isKept: boolean): void {
    if (this.#nc.isClosed()) return;
    this.#catchUp(this.#connection());
    if (isKept) this.#unconfirmed.push(message);
    this.#hand(message);
  }

  #hand(message: string): void {
    if (this.#isBatched) this.#outbox.put(this.#job.edge_id, message);
    else this.#nc.publish(this.#subject, asciiBytes(message) ?? message);
  }
}
