/** What a message of a worker says of which jobs: one event, or since version 2 of the wire all of one moment. Pure. */
import {
  BatchedEvent,
  decodeMessage,
  EventBatch,
  type EventBody,
  isEventBatch,
  JobEvent,
  jobIdOf,
  TesseraError,
  toTesseraError,
} from "@tessera/shared";

/** An event, or why it cannot be read: the job's answer has a hole then. */
export interface HeardEvent {
  readonly jobId: string;
  readonly event: EventBody | TesseraError;
}

/** @throws TesseraError when it cannot be told of which jobs the message is */
export function readEvents(subject: string, data: Uint8Array): HeardEvent[] {
  if (!isEventBatch(subject)) return [{ jobId: jobIdOf(subject), event: readEvent(data) }];
  return decodeMessage(EventBatch, data).events.flatMap((item): HeardEvent[] => {
    const parsed = BatchedEvent.safeParse(item);
    if (parsed.success) return [{ jobId: parsed.data.job_id, event: parsed.data }];
    const { job_id } = item as { readonly job_id?: unknown };
    return typeof job_id === "string" ? [{ jobId: job_id, event: unreadable(parsed.error) }] : [];
  });
}

function readEvent(data: Uint8Array): EventBody | TesseraError {
  try {
    return decodeMessage(JobEvent, data);
  } catch (error) {
    return toTesseraError(error);
  }
}

function unreadable(cause: unknown): TesseraError {
  return new TesseraError("internal_error", { diagnostic: "Cannot read an event of the batch", cause });
}
