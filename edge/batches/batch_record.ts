/** The state of a batch as it is kept, and as OpenAI's clients see it. */
import { keptObject } from "@tessera/shared";
import { z } from "zod";

export const BATCH_ENDPOINTS = ["/v1/chat/completions", "/v1/captions"] as const;
export type BatchEndpoint = (typeof BATCH_ENDPOINTS)[number];

export const BATCH_STATUSES = [
  "validating",
  "failed",
  "in_progress",
  "finalizing",
  "completed",
  "expired",
  "cancelling",
  "cancelled",
] as const;
export type BatchStatus = (typeof BATCH_STATUSES)[number];

/** What is wrong with an input file. */
export const BatchFault = z.object({
  code: z.string(),
  message: z.string(),
  param: z.string().nullable(),
  line: z.int().min(1).nullable(),
});
export type BatchFault = z.infer<typeof BatchFault>;

const Time = z.number().nullable();

export const BatchRecord = keptObject({
  v: z.literal(1),
  id: z.string().min(1),
  owner: z.string().min(1),
  /** Whose use it counts as; null where keys are not checked. */
  key_id: z.string().nullable(),
  endpoint: z.enum(BATCH_ENDPOINTS),
  input_file_id: z.string().min(1),
  status: z.enum(BATCH_STATUSES),
  errors: z.array(BatchFault),
  output_file_id: z.string().nullable(),
  error_file_id: z.string().nullable(),
  counts: z.object({ total: z.int().min(0), completed: z.int().min(0), failed: z.int().min(0) }),
  metadata: z.record(z.string(), z.string()).nullable(),
  /** Unix times in ms. */
  created_ms: z.number(),
  expires_ms: z.number(),
  in_progress_ms: Time,
  finalizing_ms: Time,
  completed_ms: Time,
  failed_ms: Time,
  expired_ms: Time,
  cancelling_ms: Time,
  cancelled_ms: Time,
});
export type BatchRecord = z.infer<typeof BatchRecord>;

/** Whether nothing more will come of a batch. */
export function hasBatchEnded({ status }: Pick<BatchRecord, "status">): boolean {
  return status === "failed" || status === "completed" || status === "expired" || status === "cancelled";
}

export function batchBody(record: BatchRecord) {
  const at = (ms: number | null) => (ms === null ? null : Math.floor(ms / 1000));
  return {
    id: record.id,
    object: "batch" as const,
    endpoint: record.endpoint,
    errors: record.errors.length === 0 ? null : { object: "list" as const, data: record.errors },
    input_file_id: record.input_file_id,
    completion_window: "24h" as const,
    status: record.status,
    output_file_id: record.output_file_id,
    error_file_id: record.error_file_id,
    created_at: Math.floor(record.created_ms / 1000),
    in_progress_at: at(record.in_progress_ms),
    expires_at: Math.floor(record.expires_ms / 1000),
    finalizing_at: at(record.finalizing_ms),
    completed_at: at(record.completed_ms),
    failed_at: at(record.failed_ms),
    expired_at: at(record.expired_ms),
    cancelling_at: at(record.cancelling_ms),
    cancelled_at: at(record.cancelled_ms),
    request_counts: record.counts,
    metadata: record.metadata,
  };
}
