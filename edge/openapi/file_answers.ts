/** The shapes of what is answered about files. */
import { z } from "zod";
import { FILE_PURPOSES } from "../files/file_record.ts";

const UnixSeconds = z.int().min(0);

export const FileAnswer = z.object({
  id: z.string(),
  object: z.literal("file"),
  bytes: z.int().min(0),
  created_at: UnixSeconds,
  expires_at: UnixSeconds,
  filename: z.string(),
  purpose: z.enum(FILE_PURPOSES),
  status: z.literal("processed"),
  status_details: z.null(),
});

/** A page of a list. */
export function listAnswer<S extends z.ZodType>(item: S) {
  return z.object({
    object: z.literal("list"),
    data: z.array(item),
    first_id: z.string().nullable(),
    last_id: z.string().nullable(),
    has_more: z.boolean(),
  });
}

export const FileListAnswer = listAnswer(FileAnswer);
export const FileDeletedAnswer = z.object({ id: z.string(), object: z.literal("file"), deleted: z.literal(true) });
