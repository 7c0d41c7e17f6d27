/** The state of a durable job, one entry of the jobs bucket, and the news of its changes. */
import { z } from "zod";
import { WireErrorCode } from "./error_code.ts";
import { FinishReason, TokenLogprobs, Usage, WorkerTimings } from "./events.ts";
import { keptObject } from "./kept.ts";
import { JobWebhook } from "./webhook.ts";

export const JOB_STATUSES = ["queued", "processing", "succeeded", "failed", "canceled", "expired"] as const;
export type JobStatus = (typeof JOB_STATUSES)[number];

/** The attempt that has the job, or had it last. */
const RecordAttempt = z.object({
  number: z.int().min(1),
  worker_id: z.string().min(1),
  /** Ids of all answers there were when it began. */
  num_ids: z.int().min(0),
  /** False while it waits for its turn among jobs that may end the worker. */
  has_begun: z.boolean(),
  /** The worker gave the job back by itself. */
  handed_over: z.boolean(),
});

/** One answer; the next attempt goes on behind `ids`. */
const RecordChoice = z.object({
  ids: z.array(z.int().min(0)),
  text: z.string(),
  finish_reason: FinishReason.nullable(),
  /** One for each of `ids`, where the job asks for them. */
  logprobs: z.array(TokenLogprobs).optional(),
});

export const JobRecord = keptObject({
  v: z.literal(1),
  id: z.string().min(1),
  model: z.string().min(1),
  status: z.enum(JOB_STATUSES),
  /** Unix times in ms. */
  created_ms: z.number(),
  started_ms: z.number().nullable(),
  completed_ms: z.number().nullable(),
  /** From then on it is not begun, and not gone on with. */
  expires_ms: z.number(),
  attempt: RecordAttempt.nullable(),
  /** Workers of the attempts in a row that were lost without a new id, the latest last. */
  lost_worker_ids: z.array(z.string()),
  /** The answers as far as they have come, one for each the job asks for. */
  choices: z.array(RecordChoice).min(1),
  /** So far, from the first token on. */
  usage: Usage.nullable(),
  timings: WorkerTimings.nullable(),
  error: z.object({ code: WireErrorCode, message: z.string(), param: z.string().nullable() }).nullable(),
  /** The submitter's own; not looked into. */
  metadata: z.record(z.string(), z.string()),
  /** Where its news are delivered to, if anywhere. */
  webhook: JobWebhook.nullable().default(null),
});

/** What becomes of a job, on the events stream; at least once each, told apart by `id` and `status`. */
export const JobNews = z.object({
  v: z.literal(1),
  id: z.string().min(1),
  model: z.string().min(1),
  status: z.enum(JOB_STATUSES),
  at_ms: z.number(),
  /** Ids there are by now, in news of a job that has got further, for those who want to hear so much. */
  num_ids: z.int().min(0).optional(),
});

export type JobRecord = z.infer<typeof JobRecord>;
export type JobNews = z.infer<typeof JobNews>;

/** Ids of all answers of a job. */
export function numIdsOf({ choices }: Pick<JobRecord, "choices">): number {
  return choices.reduce((sum, { ids }) => sum + ids.length, 0);
}

/** Whether nothing more will come of a job. */
export function isFinal(status: JobStatus): boolean {
  return status !== "queued" && status !== "processing";
}
