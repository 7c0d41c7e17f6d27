/** A delivery as its API shows it. */
import { ATTEMPT_ERRORS, DELIVERY_STATES, type DeliveryRecord, WEBHOOK_TYPES } from "@tessera/shared";
import { z } from "zod";

const UnixSeconds = z.int().min(0);

export const DeliveryAnswer = z.object({
  id: z.string().describe("The receiver's `webhook-id`."),
  object: z.literal("webhook.delivery"),
  type: z.enum(WEBHOOK_TYPES),
  caption_id: z.string().nullable(),
  url: z.string(),
  state: z.enum(DELIVERY_STATES),
  created_at: UnixSeconds,
  next_attempt_at: UnixSeconds.nullable(),
  num_attempts: z.int().min(0).describe("In all; `attempts` are the latest of them."),
  attempts: z.array(z.object({
    started_at: UnixSeconds,
    duration_ms: z.number().min(0),
    status: z.int().nullable().describe("HTTP status; null without an answer."),
    error: z.enum(ATTEMPT_ERRORS).nullable(),
  })),
});

export const DeliveryListAnswer = z.object({
  object: z.literal("list"),
  data: z.array(DeliveryAnswer),
  first_id: z.string().nullable(),
  last_id: z.string().nullable(),
  has_more: z.boolean(),
});

export function deliveryBody(record: DeliveryRecord): z.infer<typeof DeliveryAnswer> {
  const { dispatch, state, num_attempts, attempts, next_attempt_ms } = record;
  return {
    id: dispatch.id,
    object: "webhook.delivery",
    type: dispatch.type,
    caption_id: dispatch.type === "webhook.test" ? null : dispatch.subject_id,
    url: dispatch.url,
    state,
    created_at: seconds(dispatch.at_ms),
    next_attempt_at: next_attempt_ms === null ? null : seconds(next_attempt_ms),
    num_attempts,
    attempts: attempts.map(({ at_ms, ms, status, error }) => ({
      started_at: seconds(at_ms),
      duration_ms: ms,
      status,
      error,
    })),
  };
}

function seconds(ms: number): number {
  return Math.floor(ms / 1_000);
}
