/** What is made of durable jobs: captions, and batches. */
import {
  BATCH_ACK_WAIT_MS,
  BATCH_RESULTS_MAX_BYTES,
  BATCH_WINDOW_MS,
  DURABLE_MAX_AGE_MS,
  FILE_MAX_AGE_MS,
  MAX_DURABLE_JOBS,
  RECORD_MAX_AGE_MS,
} from "../limits.ts";
import {
  BATCH_RESULTS_STREAM,
  BATCH_RESULTS_WILDCARD,
  BATCHES_BUCKET,
  BATCHES_CONSUMER,
  BATCHES_STREAM,
  BATCHES_WILDCARD,
  CAPTIONS_BUCKET,
} from "../subjects.ts";
import { NANOS_PER_MS } from "./nanos.ts";

/** What captions were asked for; a day more than the states of their jobs, which decide. */
export const CAPTIONS_BUCKET_CONFIG = {
  name: CAPTIONS_BUCKET,
  options: { ttl: RECORD_MAX_AGE_MS + DURABLE_MAX_AGE_MS, storage: "file", history: 1 },
} as const;

/** States of batches, kept as long as the files they make. */
export const BATCHES_BUCKET_CONFIG = {
  name: BATCHES_BUCKET,
  options: { ttl: FILE_MAX_AGE_MS, storage: "file", history: 1 },
} as const;

/** Batches to run: on disk, each handed to one edge, gone when it has ended. */
export const BATCHES_STREAM_CONFIG = {
  name: BATCHES_STREAM,
  subjects: [BATCHES_WILDCARD],
  storage: "file",
  retention: "workqueue",
  discard: "new",
  max_msgs: MAX_DURABLE_JOBS,
  max_age: 2 * BATCH_WINDOW_MS * NANOS_PER_MS,
  duplicate_window: 2 * 60_000 * NANOS_PER_MS,
} as const;

/** Handed out again as often as edges are lost: what is done of a batch is not done again. */
export const BATCHES_CONSUMER_CONFIG = {
  durable_name: BATCHES_CONSUMER,
  ack_policy: "explicit",
  ack_wait: BATCH_ACK_WAIT_MS * NANOS_PER_MS,
  max_deliver: -1,
  max_ack_pending: MAX_DURABLE_JOBS,
} as const;

/** What became of running batches' requests. */
export const BATCH_RESULTS_STREAM_CONFIG = {
  name: BATCH_RESULTS_STREAM,
  subjects: [BATCH_RESULTS_WILDCARD],
  storage: "file",
  retention: "limits",
  discard: "new",
  allow_direct: true,
  max_msgs_per_subject: 1,
  max_age: 2 * BATCH_WINDOW_MS * NANOS_PER_MS,
  max_bytes: BATCH_RESULTS_MAX_BYTES,
} as const;
