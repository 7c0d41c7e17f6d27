/** Delivers webhooks: takes them from the queue, one caption's in order, few to a host at once, until taken or given up. */
import type { ConsumerMessages, JsMsg } from "@nats-io/jetstream";
import {
  decodeMessage,
  type DeliveryRecord,
  isFinal,
  type Logger,
  MAX_KEPT_ATTEMPTS,
  WEBHOOK_ACK_WAIT_MS,
  WEBHOOK_CONCURRENCY,
  WEBHOOK_HOST_CONCURRENCY,
  WEBHOOK_TIMEOUT_MS,
  WebhookDispatch,
} from "@tessera/shared";
import type { OutboundSettings } from "../outbound/request.ts";
import { attemptDelivery, type AttemptOutcome } from "./attempt.ts";
import { type Caption, stateOf } from "../captions/caption_state.ts";
import { captionAt, eventBody } from "./event_body.ts";
import { HostLanes } from "./host_lanes.ts";
import { nextWait, PUBLISHED_SCHEDULE, type Schedule } from "./schedule.ts";
import { signedHeaders, type WebhookSecret } from "./signature.ts";
import { SealedError, type SigningSecrets } from "./signing_secrets.ts";
import type { WebhookStore } from "./webhook_store.ts";

/** Soonest and latest that an event looks again whether the one before it is through. */
const TURN_WAIT_MS = 250;
const MAX_TURN_WAIT_MS = 60_000;
/** After a fault of the bus, when the same event is looked at again. */
const FAULT_WAIT_MS = 2_000;
/** And where an owner's secrets cannot be opened: nothing changes until somebody gives the deployment its old secret. */
const SEALED_WAIT_MS = 60_000;

export interface DelivererOptions {
  /** The deployment's, the newest first; the receiver may know any of them. Owners with secrets of their own go before. */
  readonly secrets: readonly WebhookSecret[];
  readonly outbound: OutboundSettings;
  readonly log: Logger;
  readonly schedule?: Schedule;
  readonly timeoutMs?: number;
  readonly ackWaitMs?: number;
  readonly concurrency?: number;
  readonly hostConcurrency?: number;
}

/** What an event is of; null when it was removed, or was not taken yet. */
export type ReadCaption = (owner: string, captionId: string) => Promise<Caption | null>;

/** One connection's worth of delivering. */
export class Deliverer {
  readonly #options: Required<DelivererOptions>;
  readonly #store: WebhookStore;
  readonly #readCaption: ReadCaption;
  readonly #signing: SigningSecrets;
  readonly #lanes: HostLanes;
  /** Deliveries that were sent away because their host was full. */
  readonly #away = new Set<string>();
  readonly #running = new Set<Promise<void>>();
  readonly #stop = new AbortController();

  constructor(
    store: WebhookStore,
    readCaption: ReadCaption,
    signing: SigningSecrets,
    options: DelivererOptions,
  ) {
    this.#store = store;
    this.#readCaption = readCaption;
    this.#signing = signing;
    this.#options = {
      schedule: PUBLISHED_SCHEDULE,
      timeoutMs: WEBHOOK_TIMEOUT_MS,
      ackWaitMs: WEBHOOK_ACK_WAIT_MS,
      concurrency: WEBHOOK_CONCURRENCY,
      hostConcurrency: WEBHOOK_HOST_CONCURRENCY,
      ...options,
    };
    this.#lanes = new HostLanes(this.#options.hostConcurrency);
  }

  /** Takes messages until they end; so many at once. */
  async run(messages: ConsumerMessages): Promise<void> {
    for await (const message of messages) {
      const work = this.#handle(message).finally(() => this.#running.delete(work));
      this.#running.add(work);
      if (this.#running.size >= this.#options.concurrency) await Promise.race(this.#running);
    }
    await Promise.all(this.#running);
  }

  /** Ends what runs as if it took too long; it is tried again, by whoever comes next. */
  abort(): void {
    this.#stop.abort();
  }

  async #handle(message: JsMsg): Promise<void> {
    const { ackWaitMs, log } = this.#options;
    const beat = setInterval(() => message.working(), ackWaitMs / 3);
    try {
      await this.#deliver(message, decodeMessage(WebhookDispatch, message.data));
    } catch (error) {
      const isSealed = error instanceof SealedError;
      log[isSealed ? "error" : "warn"]("webhook_fault", { subject: message.subject, error });
      message.nak(isSealed ? SEALED_WAIT_MS : FAULT_WAIT_MS);
    } finally {
      clearInterval(beat);
    }
  }

  async #deliver(message: JsMsg, dispatch: WebhookDispatch): Promise<void> {
    const { id, subject_id, round, url } = dispatch;
    const record = await this.#store.read(subject_id, id);
    // Removed, through already (the end was not acknowledged), or asked for anew.
    if (record === null || record.state !== "pending" || record.dispatch.round !== round) return message.ack();
    const turn = await this.#store.next(subject_id);
    if (turn !== null && turn < message.seq) {
      return message.nak(turnWait(message.info.deliveryCount));
    }
    const early = (record.next_attempt_ms ?? 0) - Date.now();
    if (early > 0) return message.nak(early);
    const { host } = new URL(url);
    const lane = this.#lanes.enter(host, this.#away.delete(id));
    if ("comeAgainMs" in lane) {
      this.#away.add(id);
      return message.nak(lane.comeAgainMs);
    }
    try {
      await this.#attempt(message, record);
    } finally {
      lane.leave();
    }
  }

  async #attempt(message: JsMsg, record: DeliveryRecord): Promise<void> {
    const { outbound, timeoutMs, log } = this.#options;
    const { dispatch } = record;
    const body = await this.#bodyOf(dispatch);
    if (body === null) {
      return await this.#settle(message, record, { ...record, state: "dropped", next_attempt_ms: null });
    }
    const secrets = await this.#signing.of(dispatch.owner);
    const headers = signedHeaders(secrets, dispatch.id, Date.now(), body);
    const outcome = await attemptDelivery(dispatch.url, headers, body, {
      outbound,
      timeoutMs,
      signal: this.#stop.signal,
    });
    // One that was broken off is nobody's fault.
    if (this.#stop.signal.aborted && outcome.attempt.status === null) return message.nak();
    const { host } = new URL(dispatch.url);
    log.info("webhook_attempt", { delivery_id: dispatch.id, host, ...outcome.attempt });
    await this.#settle(message, record, this.#after(record, outcome));
  }

  /** Bytes to send; null when what the event is of was removed. */
  async #bodyOf(dispatch: WebhookDispatch): Promise<Uint8Array | null> {
    if (dispatch.type === "webhook.test") {
      return eventBody(dispatch, { id: dispatch.subject_id, object: "webhook.test", status: "succeeded" });
    }
    const found = await this.#readCaption(dispatch.owner, dispatch.subject_id);
    // How far it has come is nothing to tell of one that has ended.
    if (found === null || (dispatch.type === "caption.output" && isFinal(stateOf(found).status))) return null;
    return eventBody(dispatch, captionAt(dispatch, found));
  }

  /** What is known after an attempt. */
  #after(record: DeliveryRecord, { attempt, retryAfterMs }: AttemptOutcome): DeliveryRecord {
    const num_in_round = record.num_in_round + 1;
    const counted: DeliveryRecord = {
      ...record,
      num_attempts: record.num_attempts + 1,
      num_in_round,
      attempts: [...record.attempts, attempt].slice(-MAX_KEPT_ATTEMPTS),
      next_attempt_ms: null,
    };
    if (attempt.error === null) return { ...counted, state: "delivered" };
    const isOver = attempt.error === "gone" || attempt.error === "url_forbidden" ||
      isOnce(record.dispatch);
    const wait = isOver ? null : nextWait(this.#options.schedule, num_in_round, retryAfterMs);
    if (wait === null) return { ...counted, state: "failed" };
    return { ...counted, next_attempt_ms: Math.round(Date.now() + wait) };
  }

  /** Writes down what is known, and only then lets go of the message. */
  async #settle(message: JsMsg, before: DeliveryRecord, after: DeliveryRecord): Promise<void> {
    const { dispatch } = before;
    const isDead = after.state === "failed" && !isOnce(dispatch);
    // Whoever reads that it failed finds it on the list.
    if (isDead) await this.#store.bury(after);
    const written = await this.#store.change(dispatch, (now) => now.dispatch.round === dispatch.round ? after : now);
    if (written !== after) {
      if (isDead) await this.#store.revive(after);
      return message.ack();
    }
    if (after.state === "pending") return message.nak(Math.max(0, after.next_attempt_ms! - Date.now()));
    if (isDead) {
      this.#options.log.warn("webhook_given_up", { delivery_id: dispatch.id, num_attempts: after.num_attempts });
    }
    if (after.attempts.at(-1)?.error === "gone") await this.#dropRest(dispatch);
    message.ack();
  }

  /** A receiver that is gone for good hears nothing more of this caption. */
  async #dropRest({ subject_id, id }: WebhookDispatch): Promise<void> {
    for (const { dispatch, state } of await this.#store.list(subject_id)) {
      if (dispatch.id === id || state !== "pending") continue;
      await this.#store.change(dispatch, (now) => ({ ...now, state: "dropped", next_attempt_ms: null }));
    }
  }
}

/** @param numLooks how often it has looked, this time included */
function turnWait(numLooks: number): number {
  return Math.min(MAX_TURN_WAIT_MS, TURN_WAIT_MS * 2 ** Math.min(numLooks - 1, 10));
}

/** A test, or what the next event tells again: tried once. */
function isOnce({ type }: WebhookDispatch): boolean {
  return type === "webhook.test" || type === "caption.output";
}
