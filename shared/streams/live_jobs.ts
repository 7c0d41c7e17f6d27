/** Interactive jobs: their stream, and who takes them from it. */
import { ACK_WAIT_MS, DEFAULT_DEADLINE_MS, MAX_DELIVER, MAX_QUEUED_JOBS, WORKER_QUEUE_TTL_MS } from "../limits.ts";
import {
  type JobClass,
  jobsForWorker,
  LIVE_JOBS_WILDCARD,
  LIVE_STREAM,
  liveConsumer,
  liveJobsSubject,
  workerConsumer,
} from "../subjects.ts";
import { NANOS_PER_MS } from "./nanos.ts";

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

/** The consumer of one worker's own queue. */
export function workerConsumerConfig(model: string, workerId: string, ackWaitMs: number = ACK_WAIT_MS) {
  return {
    ...liveConsumerConfig(model, ackWaitMs),
    durable_name: workerConsumer(workerId),
    filter_subject: jobsForWorker(model, workerId),
    inactive_threshold: WORKER_QUEUE_TTL_MS * NANOS_PER_MS,
  } as const;
}
