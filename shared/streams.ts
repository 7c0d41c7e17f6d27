/** Configuration of the streams and buckets, as plain data; edge and worker create them alike, whoever comes first. */
import {
  ACK_WAIT_MS,
  ANNOUNCEMENT_TTL_MS,
  DEAD_MAX_AGE_MS,
  DEAD_MAX_BYTES,
  DEFAULT_DEADLINE_MS,
  MAX_DELIVER,
  MAX_QUEUED_JOBS,
} from "./limits.ts";
import {
  DEAD_STREAM,
  DEAD_WILDCARD,
  LIVE_JOBS_WILDCARD,
  LIVE_STREAM,
  liveConsumer,
  liveJobsSubject,
  WORKERS_BUCKET,
} from "./subjects.ts";

const NANOS_PER_MS = 1_000_000;

/** Interactive jobs: in memory, each handed to one worker, gone when acknowledged; full means "busy", not "forget". */
export const LIVE_STREAM_CONFIG = {
  name: LIVE_STREAM,
  subjects: [LIVE_JOBS_WILDCARD],
  storage: "memory",
  retention: "workqueue",
  discard: "new",
  max_msgs: MAX_QUEUED_JOBS,
  max_age: DEFAULT_DEADLINE_MS * NANOS_PER_MS,
  /** Window in which a job id published twice counts once. */
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

/** The consumer all workers of a model share. `ackWaitMs` is shorter in tests. */
export function liveConsumerConfig(model: string, ackWaitMs: number = ACK_WAIT_MS) {
  return {
    durable_name: liveConsumer(model),
    filter_subject: liveJobsSubject(model),
    ack_policy: "explicit",
    ack_wait: ackWaitMs * NANOS_PER_MS,
    max_deliver: MAX_DELIVER,
    /** As many as the stream holds: what bounds the jobs that run is the workers' capacity. */
    max_ack_pending: MAX_QUEUED_JOBS,
  } as const;
}

/** The bucket of announcements; `ttl` in ms as the KV client takes it. */
export const WORKERS_BUCKET_CONFIG = {
  name: WORKERS_BUCKET,
  options: { ttl: ANNOUNCEMENT_TTL_MS, storage: "memory", history: 1 },
} as const;
