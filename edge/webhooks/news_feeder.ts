/** From news of durable jobs to webhooks on their way: who wants to hear of it, by what id, once each. */
import type { JsMsg } from "@nats-io/jetstream";
import {
  decodeMessage,
  isFinal,
  JobNews,
  type JobRecord,
  type Logger,
  type WebhookDispatch,
  type WebhookEvent,
  type WebhookType,
} from "@tessera/shared";
import type { WebhookStore } from "./webhook_store.ts";

/** How long news wait when the queue is full. */
const FULL_WAIT_MS = 5_000;

const TYPES: Record<WebhookEvent, WebhookType> = {
  start: "caption.started",
  output: "caption.output",
  completed: "caption.completed",
};

export interface FeederOptions {
  readonly store: WebhookStore;
  /** State of a job; null when there is none (any more). */
  readonly readJob: (jobId: string) => Promise<JobRecord | null>;
  readonly log: Logger;
}

/** Takes one piece of news; acknowledges it when nothing of it can be lost any more. */
export async function feed(message: JsMsg, { store, readJob, log }: FeederOptions): Promise<void> {
  try {
    const news = decodeMessage(JobNews, message.data);
    const dispatch = dispatchOf(news, await readJob(news.id));
    if (dispatch !== null) {
      await store.send(dispatch);
      log.info("webhook_queued", { delivery_id: dispatch.id, subject_id: dispatch.subject_id });
    }
    message.ack();
  } catch (error) {
    log.warn("webhook_not_queued", { subject: message.subject, error });
    // What cannot be read never can; what cannot be stored may be, later.
    if (error instanceof SyntaxError || (error as { code?: string }).code === "internal_error") message.term();
    else message.nak(FULL_WAIT_MS);
  }
}

function dispatchOf(news: JobNews, job: JobRecord | null): WebhookDispatch | null {
  if (job === null || job.webhook === null) return null;
  const event = eventOf(news);
  const { url, body, owner, caption_id, events } = job.webhook;
  if (event === null || !events.includes(event)) return null;
  return {
    v: 1,
    // The same news told twice are the same event.
    id: `msg_${caption_id}_${event}${news.num_ids === undefined ? "" : `_${news.num_ids}`}`,
    type: TYPES[event],
    owner,
    subject_id: caption_id,
    job_id: news.id,
    url,
    body,
    at_ms: news.at_ms,
    round: 0,
  };
}

function eventOf({ status, num_ids }: JobNews): WebhookEvent | null {
  if (num_ids !== undefined) return "output";
  if (isFinal(status)) return "completed";
  return status === "processing" ? "start" : null;
}
