/** Owns the events of one attempt at a job: numbered, sized, and kept until the server has certainly had them. */
import type { NatsConnection } from "@nats-io/nats-core";
import {
  encodeMessage,
  eventsSubject,
  type FinishReason,
  type JobEvent,
  TesseraError,
  type TokenLogprobs,
  type Usage,
  type WorkerTimings,
} from "@tessera/shared";
import { asciiBytes, tokenEvent, tokenEventHead } from "./token_event.ts";

export class EventWriter {
  readonly #nc: NatsConnection;
  readonly #subject: string;
  readonly #attempt: number;
  /** Published, but perhaps lost with the connection they were sent on. Progress is not worth keeping. */
  readonly #unconfirmed: (Uint8Array | string)[] = [];
  /** Where they were sent on: all on the same, because a new one begins with sending them again. */
  #sentOn = "";
  #numConfirmed = 0;
  readonly #tokenHead: string;
  /** What the server said last, and the name made of it. */
  #info: NatsConnection["info"];
  #connectionName = "";
  /** Ids of each answer sent so far, by all attempts. */
  readonly #seqs: number[];

  /** @param firstSeqs ids of each answer that were sent before */
  constructor(nc: NatsConnection, edgeId: string, jobId: string, attempt: number, firstSeqs: readonly number[]) {
    this.#nc = nc;
    this.#subject = eventsSubject(edgeId, jobId);
    this.#attempt = attempt;
    this.#seqs = [...firstSeqs];
    this.#tokenHead = tokenEventHead(attempt);
  }

  progress(): void {
    this.#publish({ v: 1, attempt: this.#attempt, type: "progress" });
  }

  /** The job goes back to the queue unfinished. */
  handOver(): void {
    this.#publish({ v: 1, attempt: this.#attempt, type: "progress", handed_over: true });
  }

  /** More of an answer. `choice` says which, where there are several. */
  tokens(ids: number[], text: string, choice = 0, logprobs?: TokenLogprobs[]): void {
    const seq = this.#seqs[choice]!;
    this.#seqs[choice] = seq + ids.length;
    const plain = choice === 0 && logprobs === undefined ? tokenEvent(this.#tokenHead, seq, ids, text) : null;
    if (plain !== null) return this.#send(asciiBytes(plain) ?? plain, plain);
    const more = { ...(choice > 0 ? { choice } : {}), ...(logprobs === undefined ? {} : { logprobs }) };
    this.#publish({ v: 1, attempt: this.#attempt, type: "tokens", seq, ids, text, ...more });
  }

  choiceDone(choice: number, text: string, finish_reason: FinishReason): void {
    const seq = this.#seqs[choice]!;
    this.#publish({ v: 1, attempt: this.#attempt, type: "choice_done", seq, text, choice, finish_reason });
  }

  done(text: string, finish_reason: FinishReason, usage: Usage, timings: WorkerTimings): void {
    const seq = this.#seqs.reduce((sum, each) => sum + each, 0);
    this.#publish({ v: 1, attempt: this.#attempt, type: "done", seq, text, finish_reason, usage, timings });
  }

  /** What is private about the error stays here: an inner error goes out with its code's own words. */
  error(error: TesseraError): void {
    const { code, message, param } = error.code === "internal_error" ? new TesseraError("internal_error") : error;
    this.#publish({ v: 1, attempt: this.#attempt, type: "error", code, message, param });
  }

  /**
   * Waits until the server has had everything; what went out on an earlier connection is sent again before. Rejects
   * when the connection breaks meanwhile.
   */
  async confirm(): Promise<void> {
    const connection = this.#connection();
    this.#catchUp(connection);
    const numSent = this.#numConfirmed + this.#unconfirmed.length;
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
    for (const message of this.#unconfirmed) this.#nc.publish(this.#subject, message);
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

  #publish(event: JobEvent): void {
    const bytes = encodeMessage(event, this.#nc.info?.max_payload ?? 1_048_576);
    this.#send(bytes, event.type === "progress" ? null : bytes);
  }

  /** @param kept what to send again where it is lost, if anything; text is lighter to keep than bytes */
  #send(message: Uint8Array | string, kept: Uint8Array | string | null): void {
    if (this.#nc.isClosed()) return;
    this.#catchUp(this.#connection());
    if (kept !== null) this.#unconfirmed.push(kept);
    this.#nc.publish(this.#subject, message);
  }
}
