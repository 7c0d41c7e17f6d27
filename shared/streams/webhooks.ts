/** Webhooks: on their way out, what became of them, and the events that came in. */
import { MAX_QUEUED_WEBHOOKS, RECORD_MAX_AGE_MS, WEBHOOK_ACK_WAIT_MS } from "../limits.ts";
import {
  DELIVERIES_BUCKET,
  HOOK_EVENTS_BUCKET,
  NEWS_CONSUMER,
  SIGNING_BUCKET,
  UNDELIVERED_BUCKET,
  WEBHOOKS_CONSUMER,
  WEBHOOKS_STREAM,
  WEBHOOKS_WILDCARD,
} from "../subjects.ts";
import { NANOS_PER_MS } from "./nanos.ts";

/** Webhooks on their way; full means that news wait. */
export const WEBHOOKS_STREAM_CONFIG = {
  name: WEBHOOKS_STREAM,
  subjects: [WEBHOOKS_WILDCARD],
  storage: "file",
  retention: "workqueue",
  discard: "new",
  allow_direct: true,
  max_msgs: MAX_QUEUED_WEBHOOKS,
  max_age: RECORD_MAX_AGE_MS * NANOS_PER_MS,
  duplicate_window: 2 * 60_000 * NANOS_PER_MS,
} as const;

/** The consumer all deliverers share; without a bound on deliveries: the delivery's record counts and decides. */
export function webhooksConsumerConfig(ackWaitMs: number = WEBHOOK_ACK_WAIT_MS) {
  return {
    durable_name: WEBHOOKS_CONSUMER,
    ack_policy: "explicit",
    ack_wait: ackWaitMs * NANOS_PER_MS,
    max_deliver: -1,
    max_ack_pending: MAX_QUEUED_WEBHOOKS,
  } as const;
}

/** The consumer of news all deliverers share: one at a time, so that no two of one job change places. */
export function newsConsumerConfig(ackWaitMs: number = WEBHOOK_ACK_WAIT_MS) {
  return {
    durable_name: NEWS_CONSUMER,
    ack_policy: "explicit",
    ack_wait: ackWaitMs * NANOS_PER_MS,
    max_deliver: -1,
    max_ack_pending: 1,
  } as const;
}

/** What became of each delivery, and those that were given up. */
export const DELIVERIES_BUCKET_CONFIG = {
  name: DELIVERIES_BUCKET,
  options: { ttl: RECORD_MAX_AGE_MS, storage: "file", history: 1 },
} as const;
export const UNDELIVERED_BUCKET_CONFIG = {
  name: UNDELIVERED_BUCKET,
  options: { ttl: RECORD_MAX_AGE_MS, storage: "file", history: 1 },
} as const;

/** Events of sources that were seen, so that one that comes again makes nothing new. */
export const HOOK_EVENTS_BUCKET_CONFIG = {
  name: HOOK_EVENTS_BUCKET,
  options: { ttl: RECORD_MAX_AGE_MS, storage: "file", history: 1 },
} as const;

/** Owners' signing secrets, sealed: kept until they are removed. */
export const SIGNING_BUCKET_CONFIG = { name: SIGNING_BUCKET, options: { storage: "file", history: 1 } } as const;
