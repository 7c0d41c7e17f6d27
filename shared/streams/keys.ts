/** API keys, and what is counted of them. */
import { KEY_LEASE_MS, PACE_MAX_AGE_MS, USAGE_MAX_AGE_MS } from "../limits.ts";
import {
  KEYS_BUCKET,
  PACE_STREAM,
  PACE_WILDCARD,
  PLACES_STREAM,
  PLACES_WILDCARD,
  USAGE_STREAM,
  USAGE_WILDCARD,
} from "../subjects.ts";
import { NANOS_PER_MS } from "./nanos.ts";

/** The bucket of API keys. */
export const KEYS_BUCKET_CONFIG = { name: KEYS_BUCKET, options: { storage: "file", history: 1 } } as const;

/** What is counted: one message a counter, which nats-server adds to. */
const COUNTERS = {
  retention: "limits",
  discard: "old",
  max_msgs_per_subject: 1,
  allow_msg_counter: true,
  allow_direct: true,
} as const;

/** What API keys used, by day and month. */
export const USAGE_STREAM_CONFIG = {
  ...COUNTERS,
  name: USAGE_STREAM,
  subjects: [USAGE_WILDCARD],
  storage: "file",
  max_age: USAGE_MAX_AGE_MS * NANOS_PER_MS,
} as const;

/** What API keys use, by minute. */
export const PACE_STREAM_CONFIG = {
  ...COUNTERS,
  name: PACE_STREAM,
  subjects: [PACE_WILDCARD],
  storage: "memory",
  max_age: PACE_MAX_AGE_MS * NANOS_PER_MS,
} as const;

/** How many requests of API keys each edge has under way. */
export const PLACES_STREAM_CONFIG = {
  name: PLACES_STREAM,
  subjects: [PLACES_WILDCARD],
  storage: "memory",
  retention: "limits",
  discard: "old",
  max_msgs_per_subject: 1,
  allow_direct: true,
  max_age: KEY_LEASE_MS * NANOS_PER_MS,
} as const;
