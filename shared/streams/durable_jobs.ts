/** Durable jobs: their queue, tiles, states and news, and those that were given up. */
import {
  ACK_WAIT_MS,
  DEAD_MAX_AGE_MS,
  DEAD_MAX_BYTES,
  DURABLE_MAX_AGE_MS,
  MAX_DURABLE_JOBS,
  MAX_QUEUED_JOBS,
  MAX_STORED_TILE_BYTES,
  NEWS_MAX_BYTES,
  RECORD_MAX_AGE_MS,
} from "../limits.ts";
import {
  DEAD_STREAM,
  DEAD_WILDCARD,
  DURABLE_JOBS_WILDCARD,
  DURABLE_STREAM,
  durableConsumer,
  durableJobsOf,
  JOBS_BUCKET,
  NEWS_STREAM,
  NEWS_WILDCARD,
  TILES_STREAM,
  TILES_WILDCARD,
} from "../subjects.ts";
import { NANOS_PER_MS } from "./nanos.ts";

/** Durable jobs: on disk, each handed to one worker, gone when acknowledged. */
export const DURABLE_STREAM_CONFIG = {
  name: DURABLE_STREAM,
  subjects: [DURABLE_JOBS_WILDCARD],
  storage: "file",
  retention: "workqueue",
  discard: "new",
  max_msgs: MAX_DURABLE_JOBS,
  max_age: DURABLE_MAX_AGE_MS * NANOS_PER_MS,
  duplicate_window: 2 * 60_000 * NANOS_PER_MS,
} as const;

/** Without a bound on deliveries: the job's record counts what was lost and decides. */
export function durableConsumerConfig(model: string, lane: number, ackWaitMs: number = ACK_WAIT_MS) {
  return {
    durable_name: durableConsumer(model, lane),
    filter_subject: durableJobsOf(model, lane),
    ack_policy: "explicit",
    ack_wait: ackWaitMs * NANOS_PER_MS,
    max_deliver: -1,
    max_ack_pending: MAX_QUEUED_JOBS,
  } as const;
}

/** Tiles of durable jobs, read by name; full means "busy". */
export const TILES_STREAM_CONFIG = {
  name: TILES_STREAM,
  subjects: [TILES_WILDCARD],
  storage: "file",
  retention: "limits",
  discard: "new",
  allow_direct: true,
  max_msgs_per_subject: 1,
  max_age: DURABLE_MAX_AGE_MS * NANOS_PER_MS,
  max_bytes: MAX_STORED_TILE_BYTES,
} as const;

/** The bucket of durable jobs' states. */
export const JOBS_BUCKET_CONFIG = {
  name: JOBS_BUCKET,
  options: { ttl: RECORD_MAX_AGE_MS, storage: "file", history: 1 },
} as const;

/** What becomes of durable jobs, for whoever tells the world of it. */
export const NEWS_STREAM_CONFIG = {
  name: NEWS_STREAM,
  subjects: [NEWS_WILDCARD],
  storage: "file",
  retention: "limits",
  discard: "old",
  max_age: RECORD_MAX_AGE_MS * NANOS_PER_MS,
  max_bytes: NEWS_MAX_BYTES,
  duplicate_window: 2 * 60_000 * NANOS_PER_MS,
} as const;

/** Jobs that ended their workers, oldest out first: a look-out for people, never a reason to refuse work. */
export const DEAD_STREAM_CONFIG = {
  name: DEAD_STREAM,
  subjects: [DEAD_WILDCARD],
  storage: "file",
  retention: "limits",
  discard: "old",
  max_age: DEAD_MAX_AGE_MS * NANOS_PER_MS,
  max_bytes: DEAD_MAX_BYTES,
} as const;
