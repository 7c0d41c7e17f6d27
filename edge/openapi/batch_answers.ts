/** The shapes of what is answered about batches of a file. */
import { z } from "zod";
import { BATCH_ENDPOINTS, BATCH_STATUSES, BatchFault } from "../batches/batch_record.ts";
import { listAnswer } from "./file_answers.ts";

const UnixSeconds = z.int().min(0);
const Time = UnixSeconds.nullable();
const Count = z.int().min(0);

export const FileBatchAnswer = z.object({
  id: z.string(),
  object: z.literal("batch"),
  endpoint: z.enum(BATCH_ENDPOINTS),
  errors: z.object({ object: z.literal("list"), data: z.array(BatchFault) }).nullable(),
  input_file_id: z.string(),
  completion_window: z.literal("24h"),
  status: z.enum(BATCH_STATUSES),
  output_file_id: z.string().nullable(),
  error_file_id: z.string().nullable(),
  created_at: UnixSeconds,
  in_progress_at: Time,
  expires_at: UnixSeconds,
  finalizing_at: Time,
  completed_at: Time,
  failed_at: Time,
  expired_at: Time,
  cancelling_at: Time,
  cancelled_at: Time,
  request_counts: z.object({ total: Count, completed: Count, failed: Count }),
  metadata: z.record(z.string(), z.string()).nullable(),
});

export const FileBatchListAnswer = listAnswer(FileBatchAnswer);
