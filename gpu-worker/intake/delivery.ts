/** Owns one delivery of a job by JetStream: its attempt number and how it is answered. */
import type { Msg } from "@nats-io/nats-core";
import { TRACEPARENT } from "@tessera/shared";

/** Answers JetStream understands. All but `working` are final; of those only the first counts. */
export class Delivery {
  readonly data: Uint8Array;
  /** 1 for the first time the job is handed out. */
  readonly attempt: number;
  /** performance.now() when it came. */
  readonly deliveredAt = performance.now();
  readonly #msg: Msg;
  #isAnswered = false;

  constructor(msg: Msg) {
    this.#msg = msg;
    this.data = msg.data;
    this.attempt = attemptOf(msg.reply ?? "");
  }

  /** Of the request the job is for, where that is traced. */
  get traceparent(): string | null {
    return this.#msg.headers?.get(TRACEPARENT) || null;
  }

  get isAnswered(): boolean {
    return this.#isAnswered;
  }

  /** Done: the job leaves the queue. */
  ack(): void {
    this.#answer("+ACK");
  }

  /** Hand it to another worker, after `delayMs`. */
  nak(delayMs = 0): void {
    this.#answer(delayMs === 0 ? "-NAK" : `-NAK {"delay": ${delayMs * 1_000_000}}`);
  }

  /** Never hand it out again. */
  term(): void {
    this.#answer("+TERM");
  }

  /** Still at it: the time to acknowledge starts anew. */
  working(): void {
    if (!this.#isAnswered) this.#respond("+WPI");
  }

  #answer(text: string): void {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    this.#respond(text);
  }

  #respond(text: string): void {
    try {
      this.#msg.respond(text);
    } catch {
      // The connection is closed: the job is handed out again when its time to acknowledge is over.
    }
  }
}

/**
 * The reply subject of a delivery is `$JS.ACK.<stream>.<consumer>.<attempt>.<3 numbers>.<pending>`; newer servers put
 * domain and account hash before the stream, and something random at the end.
 */
function attemptOf(reply: string): number {
  const tokens = reply.split(".");
  const attempt = Number(tokens[tokens.length === 9 ? 4 : 6]);
  if (!reply.startsWith("$JS.ACK.") || !Number.isInteger(attempt) || attempt < 1) {
    throw new Error(`Cannot read delivery: reply subject ${reply}, expected one of JetStream`);
  }
  return attempt;
}

/** Whether a message is a delivery, or else a word of the server about a pull request. */
export function isDelivery(msg: Msg): boolean {
  return msg.reply?.startsWith("$JS.ACK.") ?? false;
}
