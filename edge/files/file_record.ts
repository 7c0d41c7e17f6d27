/** What is known of a stored file, as it is kept and as OpenAI's clients see it. */
import { z } from "zod";

/** What files are uploaded for. */
export const UPLOAD_PURPOSES = ["batch", "vision", "user_data"] as const;
/** And what the server itself makes. */
export const FILE_PURPOSES = [...UPLOAD_PURPOSES, "batch_output"] as const;

export const FileRecord = z.object({
  v: z.literal(1),
  id: z.string().min(1),
  purpose: z.enum(FILE_PURPOSES),
  filename: z.string(),
  /** As the client labelled it; nothing is decided by it. */
  content_type: z.string(),
  num_bytes: z.int().min(0),
  /** Unix times in ms. */
  created_ms: z.number(),
  expires_ms: z.number(),
});
export type FileRecord = z.infer<typeof FileRecord>;

export function fileBody(record: FileRecord) {
  return {
    id: record.id,
    object: "file" as const,
    bytes: record.num_bytes,
    created_at: Math.floor(record.created_ms / 1000),
    expires_at: Math.floor(record.expires_ms / 1000),
    filename: record.filename,
    purpose: record.purpose,
    status: "processed" as const,
    status_details: null,
  };
}
