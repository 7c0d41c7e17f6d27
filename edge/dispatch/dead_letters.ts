/** The dead-letter stream as the edge uses it: one message for each job that is given up as the end of its workers. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import {
  DEAD_STREAM_CONFIG,
  type DeadLetter,
  deadSubject,
  encodeMessage,
  ensureStream,
  type Logger,
  PUBLISH_TIMEOUT_MS,
  type TesseraError,
} from "@tessera/shared";
import type { Bus } from "./bus.ts";
import type { RunningJob } from "./running_job.ts";

/** Stores a letter; the same job twice counts once. */
export async function storeDeadLetter(nc: NatsConnection, letter: DeadLetter, maxPayload: number): Promise<void> {
  await ensureStream(await jetstreamManager(nc), DEAD_STREAM_CONFIG);
  const options = { msgID: letter.job.id, timeout: PUBLISH_TIMEOUT_MS };
  await jetstream(nc).publish(deadSubject(letter.job.model), encodeMessage(letter, maxPayload), options);
}

/** Keeps a job that ended its workers, for people to look into. Never rejects. */
export async function parkJob(
  { bus, log }: { readonly bus: Bus; readonly log: Logger },
  job: RunningJob,
  error: TesseraError | null,
): Promise<void> {
  const letter: DeadLetter = {
    v: 1,
    parked_ms: Date.now(),
    attempts: job.numLost,
    reason: error?.code ?? "worker_crashed",
    worker_ids: job.lostWorkerIds,
    job: job.job,
  };
  log.error("job_parked", { job_id: job.id, worker_ids: letter.worker_ids });
  try {
    await storeDeadLetter(bus.connection, letter, bus.maxPayload);
  } catch (cause) {
    log.error("job_not_parked", { job_id: job.id, error: cause });
  }
}
