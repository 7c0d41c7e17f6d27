/**
 * Owns pulling jobs: never asks for more than there is room for. Speaks JetStream's pull protocol itself, because the
 * library's `fetch` drops what is on its way when it is stopped, and here that would delay a job by its whole ack wait.
 */
import { createInbox, type Msg, type NatsConnection, type Subscription } from "@nats-io/nats-core";
import { inboxPrefix, type Logger, PULL_EXPIRES_MS, PULL_RETRY_MS } from "@tessera/shared";
import { Delivery, isDelivery } from "./delivery.ts";

export interface PullerOptions {
  readonly nc: NatsConnection;
  readonly stream: string;
  readonly consumer: string;
  /** Asks in its name. */
  readonly workerId: string;
  /** Jobs that could be taken now, on top of those already here. */
  readonly room: () => number;
  readonly onDelivery: (delivery: Delivery) => void;
  /** Called when the server does not know stream or consumer (any more). */
  readonly onMissing: () => Promise<void>;
  readonly log: Logger;
}

export class Puller {
  readonly #options: PullerOptions;
  readonly #inbox: string;
  readonly #subscription: Subscription;
  /** Jobs the server may still send for requests made. */
  #numAsked = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isStopped = false;

  constructor(options: PullerOptions) {
    this.#options = options;
    this.#inbox = createInbox(inboxPrefix(options.workerId));
    this.#subscription = options.nc.subscribe(this.#inbox, {
      callback: (error, msg) => error === null ? this.#hear(msg) : options.log.error("pull_failed", { error }),
    });
  }

  /** Asks for as many jobs as there is room for and none are asked for yet. To be called whenever room grows. */
  poke(): void {
    const { nc, stream, consumer } = this.#options;
    if (this.#isStopped || nc.isClosed()) return;
    const batch = this.#options.room() - this.#numAsked;
    if (batch <= 0) return;
    this.#numAsked += batch;
    const request = JSON.stringify({ batch, expires: PULL_EXPIRES_MS * 1_000_000 });
    nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, request, { reply: this.#inbox });
    this.#startOverIn(PULL_EXPIRES_MS + PULL_RETRY_MS);
  }

  /** Forgets what was asked for, as after a reconnection, and asks anew. */
  restart(): void {
    this.#numAsked = 0;
    this.poke();
  }

  /** Asks for no more; resolves when everything the server had sent has been handed to `onDelivery`. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#subscription.drain().catch(() => {});
  }

  #hear(msg: Msg): void {
    if (isDelivery(msg)) {
      this.#numAsked = Math.max(0, this.#numAsked - 1);
      this.#options.onDelivery(new Delivery(msg));
      this.poke();
      return;
    }
    const code = msg.headers?.code ?? 0;
    const numLeft = Number(msg.headers?.get("Nats-Pending-Messages") || NaN);
    this.#numAsked = Number.isNaN(numLeft) ? 0 : Math.max(0, this.#numAsked - numLeft);
    // 408: the request expired, which is how most end. Anything else: no such consumer, or JetStream is not up.
    if (code === 408 || this.#isStopped) return this.poke();
    this.#options.log.warn("pull_refused", { code, description: msg.headers?.description ?? "" });
    this.#options.onMissing().catch((error) => this.#options.log.warn("queue_not_ready", { error }));
    this.#startOverIn(PULL_RETRY_MS);
  }

  #startOverIn(ms: number): void {
    clearTimeout(this.#timer);
    if (!this.#isStopped) this.#timer = setTimeout(() => this.restart(), ms);
  }
}
