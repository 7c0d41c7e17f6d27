/** Configuration of the streams and buckets, as plain data; edge and worker create them alike, whoever comes first. */
import {
  ACK_WAIT_MS,
  ANNOUNCEMENT_TTL_MS,
  ANSWER_MAX_AGE_MS,
  ANSWERS_MAX_BYTES,
  BATCH_ACK_WAIT_MS,
  BATCH_RESULTS_MAX_BYTES,
  BATCH_WINDOW_MS,
  DEAD_MAX_AGE_MS,
  DEAD_MAX_BYTES,
  DEFAULT_DEADLINE_MS,
  DURABLE_MAX_AGE_MS,
  FILE_MAX_AGE_MS,
  FILES_MAX_BYTES,
  KEY_LEASE_MS,
  MAX_DELIVER,
  MAX_DURABLE_JOBS,
  MAX_QUEUED_JOBS,
  MAX_QUEUED_WEBHOOKS,
  MAX_STORED_TILE_BYTES,
  NEWS_MAX_BYTES,
  PACE_MAX_AGE_MS,
  RECORD_MAX_AGE_MS,
  REQUEST_MAX_AGE_MS,
  USAGE_MAX_AGE_MS,
  WEBHOOK_ACK_WAIT_MS,
  WORKER_QUEUE_TTL_MS,
} from "./limits.ts";
import {
  ANSWERS_STREAM,
  ANSWERS_WILDCARD,
  BATCH_RESULTS_STREAM,
  BATCH_RESULTS_WILDCARD,
  BATCHES_BUCKET,
  BATCHES_CONSUMER,
  BATCHES_STREAM,
  BATCHES_WILDCARD,
  CAPTIONS_BUCKET,
  DEAD_STREAM,
  DEAD_WILDCARD,
  DELIVERIES_BUCKET,
  DURABLE_JOBS_WILDCARD,
  DURABLE_STREAM,
  durableConsumer,
  durableJobsOf,
  FILE_RECORDS_BUCKET,
  FILES_BUCKET,
  HOOK_EVENTS_BUCKET,
  type JobClass,
  JOBS_BUCKET,
  jobsForWorker,
  KEYS_BUCKET,
  LIVE_JOBS_WILDCARD,
  LIVE_STREAM,
  liveConsumer,
  liveJobsSubject,
  NEWS_CONSUMER,
  NEWS_STREAM,
  NEWS_WILDCARD,
  PACE_STREAM,
  PACE_WILDCARD,
  PLACES_STREAM,
  PLACES_WILDCARD,
  REQUESTS_BUCKET,
  SIGNING_BUCKET,
  TILES_STREAM,
  TILES_WILDCARD,
  UNDELIVERED_BUCKET,
  USAGE_STREAM,
  USAGE_WILDCARD,
  WEBHOOKS_CONSUMER,
  WEBHOOKS_STREAM,
  WEBHOOKS_WILDCARD,
  workerConsumer,
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

/** The consumer of one worker's own queue. */
export function workerConsumerConfig(model: string, workerId: string, ackWaitMs: number = ACK_WAIT_MS) {
  return {
    ...liveConsumerConfig(model, ackWaitMs),
    durable_name: workerConsumer(workerId),
    filter_subject: jobsForWorker(model, workerId),
    inactive_threshold: WORKER_QUEUE_TTL_MS * NANOS_PER_MS,
  } as const;
}

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

/** The bucket of durable jobs' states. */
export const JOBS_BUCKET_CONFIG = {
  name: JOBS_BUCKET,
  options: { ttl: RECORD_MAX_AGE_MS, storage: "file", history: 1 },
} as const;

/** Files' bytes; full means "busy". `ttl` in nanoseconds as the object store's client takes it. */
export const FILES_BUCKET_CONFIG = {
  name: FILES_BUCKET,
  options: { ttl: FILE_MAX_AGE_MS * NANOS_PER_MS, storage: "file", max_bytes: FILES_MAX_BYTES },
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

/** What captions were asked for; a day more than the states of their jobs, which decide. */
export const CAPTIONS_BUCKET_CONFIG = {
  name: CAPTIONS_BUCKET,
  options: { ttl: RECORD_MAX_AGE_MS + DURABLE_MAX_AGE_MS, storage: "file", history: 1 },
} as const;

/** What is known of files. */
export const FILE_RECORDS_BUCKET_CONFIG = {
  name: FILE_RECORDS_BUCKET,
  options: { ttl: FILE_MAX_AGE_MS, storage: "file", history: 1 },
} as const;

/** Events of answers that can be taken up again. */
export const ANSWERS_STREAM_CONFIG = {
  name: ANSWERS_STREAM,
  subjects: [ANSWERS_WILDCARD],
  storage: "memory",
  retention: "limits",
  discard: "old",
  max_age: ANSWER_MAX_AGE_MS * NANOS_PER_MS,
  max_bytes: ANSWERS_MAX_BYTES,
} as const;

/** The bucket of Idempotency-Keys and the answers given under them. */
export const REQUESTS_BUCKET_CONFIG = {
  name: REQUESTS_BUCKET,
  options: { ttl: REQUEST_MAX_AGE_MS, storage: "file", history: 1 },
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

/** The consumer all workers of a model share for the jobs of a class. `ackWaitMs` is shorter in tests. */
export function liveConsumerConfig(model: string, ackWaitMs: number = ACK_WAIT_MS, ofClass: JobClass = "usual") {
  return {
    durable_name: liveConsumer(model, ofClass),
    filter_subject: liveJobsSubject(model, ofClass),
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

/** The bucket of API keys. */
export const KEYS_BUCKET_CONFIG = { name: KEYS_BUCKET, options: { storage: "file", history: 1 } } as const;

/** Owners' signing secrets, sealed: kept until they are removed. */
export const SIGNING_BUCKET_CONFIG = { name: SIGNING_BUCKET, options: { storage: "file", history: 1 } } as const;

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

/** What API keys use, by minute. */
export const PACE_STREAM_CONFIG = {
  ...COUNTERS,
  name: PACE_STREAM,
  subjects: [PACE_WILDCARD],
  storage: "memory",
  max_age: PACE_MAX_AGE_MS * NANOS_PER_MS,
} as const;
