/** Webhooks: where a caption's events go, one event on its way there, and what became of it. */
import { z } from "zod";
import { MAX_URL_CHARS } from "../limits.ts";
import { keptObject } from "./kept.ts";

/** As requests name them in `webhook_events_filter`. */
export const WEBHOOK_EVENTS = ["start", "output", "completed"] as const;
export type WebhookEvent = (typeof WEBHOOK_EVENTS)[number];

/** Where events go, as a request says. */
export const WebhookTarget = z.object({
  url: z.string().min(1).max(MAX_URL_CHARS),
  events: z.array(z.enum(WEBHOOK_EVENTS)).min(1),
  /** `thin`: the id and the status alone. */
  body: z.enum(["full", "thin"]),
});

/** The same with a durable job: what its news are told as, and to whom. */
export const JobWebhook = WebhookTarget.extend({
  /** Whose caption it is; one token of a subject. */
  owner: z.string().min(1),
  /** The caption that the job makes. */
  caption_id: z.string().min(1),
});

export const WEBHOOK_TYPES = ["caption.started", "caption.output", "caption.completed", "webhook.test"] as const;
export type WebhookType = (typeof WEBHOOK_TYPES)[number];

/** One event in the deliverer's queue, until it was delivered or given up. */
export const WebhookDispatch = z.object({
  v: z.literal(1),
  /** Stays the same over all attempts: the receiver's `webhook-id`. */
  id: z.string().min(1),
  type: z.enum(WEBHOOK_TYPES),
  owner: z.string().min(1),
  /** Of what the event is: a caption's id, or the test's own. */
  subject_id: z.string().min(1),
  /** The durable job that has its state; null: none. */
  job_id: z.string().min(1).nullable(),
  url: z.string().min(1).max(MAX_URL_CHARS),
  body: z.enum(["full", "thin"]),
  /** When it came to pass. */
  at_ms: z.number(),
  /** Asked for again so many times. */
  round: z.int().min(0),
});

/** Why an attempt was not taken; `null` with a status of 2xx. Nothing of what the receiver said. */
export const ATTEMPT_ERRORS = [
  "bad_status",
  "redirect_refused",
  "gone",
  "url_forbidden",
  "unresolved",
  "connection_failed",
  "tls_failed",
  "timeout",
] as const;

export const DeliveryAttempt = z.object({
  at_ms: z.number(),
  /** How long it took. */
  ms: z.number().min(0),
  /** HTTP status; null without an answer. */
  status: z.int().nullable(),
  error: z.enum(ATTEMPT_ERRORS).nullable(),
});

export const DELIVERY_STATES = ["pending", "delivered", "failed", "dropped"] as const;

/** What is known of one event, kept as long as the caption. */
export const DeliveryRecord = keptObject({
  v: z.literal(1),
  dispatch: WebhookDispatch,
  /** `dropped`: the receiver said 410 before, or the caption was removed. */
  state: z.enum(DELIVERY_STATES),
  /** In all; of this round; the latest of them, oldest first. */
  num_attempts: z.int().min(0),
  num_in_round: z.int().min(0),
  attempts: z.array(DeliveryAttempt),
  /** Null when there will be none. */
  next_attempt_ms: z.number().nullable(),
});

export type WebhookTarget = z.infer<typeof WebhookTarget>;
export type JobWebhook = z.infer<typeof JobWebhook>;
export type WebhookDispatch = z.infer<typeof WebhookDispatch>;
export type AttemptError = (typeof ATTEMPT_ERRORS)[number];
export type DeliveryAttempt = z.infer<typeof DeliveryAttempt>;
export type DeliveryRecord = z.infer<typeof DeliveryRecord>;
