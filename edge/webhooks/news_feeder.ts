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
import { stateOf } from "../captions/caption_state.ts";
import type { ReadCaption } from "./deliverer.ts";
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
  readonly readCaption: ReadCaption;
  readonly log: Logger;
}

/** Takes one piece of news; acknowledges it when nothing of it can be lost any more. */
export async function feed(message: JsMsg, options: FeederOptions): Promise<void> {
  const { store, log } = options;
  try {
    const news = decodeMessage(JobNews, message.data);
    for (const dispatch of await dispatchesOf(news, options)) {
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

async function dispatchesOf(news: JobNews, options: FeederOptions): Promise<WebhookDispatch[]> {
  const job = await options.readJob(news.id);
  if (job === null || job.webhook === null) return [];
  const { url, body, owner, caption_id, events } = job.webhook;
  const found = caption_id === job.id ? eventsOf(news) : await eventsOfPart(news, job, options);
  return found.filter(({ event }) => events.includes(event)).map(({ event, mark }) => ({
    v: 1,
    // The same news told twice are the same event.
    id: `msg_${caption_id}_${event}${mark}`,
    type: TYPES[event],
    owner,
    subject_id: caption_id,
    job_id: news.id,
    url,
    body,
    at_ms: news.at_ms,
    round: 0,
  }));
}

interface Found {
  readonly event: WebhookEvent;
  /** What tells it from others of its kind. */
  readonly mark: string;
}

function eventsOf(news: JobNews): Found[] {
  const event = eventOf(news);
  return event === null ? [] : [{ event, mark: news.num_ids === undefined ? "" : `_${news.num_ids}` }];
}

/**
 * Of a caption with several texts: it starts with the first of them, and is completed when none is under way. Until all
 * of them are stored nothing is told; then its edge tells of one of them again.
 */
async function eventsOfPart(
  news: JobNews,
  { id, webhook }: JobRecord,
  { readCaption }: FeederOptions,
): Promise<Found[]> {
  const { owner, caption_id } = webhook!;
  const caption = await readCaption(owner, caption_id);
  if (caption === null) return [];
  const { status } = stateOf(caption);
  const index = id.slice(caption_id.length + 1);
  const found: Found[] = [];
  if (news.num_ids !== undefined) found.push({ event: "output", mark: `_${index}_${news.num_ids}` });
  // What is said again is known by its id.
  else if (status !== "queued" && !isFinal(news.status)) found.push({ event: "start", mark: "" });
  if (isFinal(status)) found.push({ event: "completed", mark: "" });
  else if (isFinal(news.status)) found.push({ event: "output", mark: `_${index}_end` });
  return found;
}

function eventOf({ status, num_ids }: JobNews): WebhookEvent | null {
  if (num_ids !== undefined) return "output";
  if (isFinal(status)) return "completed";
  return status === "processing" ? "start" : null;
}
