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

export class EventWriter {
  readonly #nc: NatsConnection;
  readonly #subject: string;
  readonly #attempt: number;
  /** Published, but perhaps lost with the connection it was sent on. Progress is not worth keeping. */
  #unconfirmed: { readonly bytes: Uint8Array; readonly connection: string }[] = [];
  #numConfirmed = 0;
  /** Ids of each answer sent so far, by all attempts. */
  readonly #seqs: number[];

  /** @param firstSeqs ids of each answer that were sent before */
  constructor(nc: NatsConnection, edgeId: string, jobId: string, attempt: number, firstSeqs: readonly number[]) {
    this.#nc = nc;
    this.#subject = eventsSubject(edgeId, jobId);
    this.#attempt = attempt;
    this.#seqs = [...firstSeqs];
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
    const more = { ...(choice > 0 ? { choice } : {}), ...(logprobs === undefined ? {} : { logprobs }) };
    this.#publish({ v: 1, attempt: this.#attempt, type: "tokens", seq, ids, text, ...more });
    this.#seqs[choice] = seq + ids.length;
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
    const connection = this.#connection();
    this.#unconfirmed = this.#unconfirmed.map(({ bytes }) => ({ bytes, connection }));
    for (const { bytes } of this.#unconfirmed) this.#nc.publish(this.#subject, bytes);
  }

  /** Nothing goes out behind a gap: what an earlier connection may have lost comes first. */
  #catchUp(connection: string): void {
    const oldest = this.#unconfirmed[0];
    if (oldest !== undefined && oldest.connection !== connection) this.repeat();
  }

  /** Names the connection that is up, or was last: a server's own id is new with each start. */
  #connection(): string {
    const { server_id, client_id } = this.#nc.info ?? {};
    return `${server_id} ${client_id}`;
  }

  #publish(event: JobEvent): void {
    const bytes = encodeMessage(event, this.#nc.info?.max_payload ?? 1_048_576);
    if (this.#nc.isClosed()) return;
    const connection = this.#connection();
    this.#catchUp(connection);
    if (event.type !== "progress") this.#unconfirmed.push({ bytes, connection });
    this.#nc.publish(this.#subject, bytes);
  }
}
