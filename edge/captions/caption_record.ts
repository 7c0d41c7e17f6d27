/** What is known of a caption from its request, kept as long as the jobs that make it. */
import { JobImage, keptObject, WebhookTarget, WireErrorCode } from "@tessera/shared";
import { z } from "zod";
import { CaptionMedia } from "../api/caption_request.ts";
import { PRESET_NAMES } from "./presets.ts";

const CaptionImage = JobImage.pick({ width: true, height: true, cols: true, rows: true }).extend({ tiles: z.int() });

/** One of several pictures with a text each. */
const CaptionPart = z.object({
  /** Why it has no job; null: it has one. */
  error: z.object({ code: WireErrorCode, message: z.string(), param: z.string().nullable() }).nullable(),
});

export const CaptionRecord = keptObject({
  v: z.literal(1),
  /** Also of the durable job, where there is one text. */
  id: z.string().min(1),
  model: z.string().min(1),
  /** Unix time in ms. */
  created_ms: z.number(),
  media: z.array(CaptionMedia),
  /** As the model was asked. */
  prompt: z.string(),
  preset: z.enum(PRESET_NAMES).nullable(),
  language: z.string().nullable(),
  metadata: z.record(z.string(), z.string()),
  webhook: WebhookTarget.nullable(),
  /** In the order of `media`, a video's frames in its place; null: the picture could not be used. */
  images: z.array(CaptionImage.nullable()),
  /** Of the edge that took it, in ms. */
  timings: z.record(z.string(), z.number()),
  /** Whose use it counts as; null where keys are not checked. */
  key_id: z.string().nullable().default(null),
  /** A text for each picture, a job for each text; null: one text in all. */
  parts: z.array(CaptionPart).nullable().default(null),
  /** False while its pictures are fetched and cut: nobody was told of it yet. */
  is_taken: z.boolean().default(true),
  is_counted: z.boolean().default(false),
});
export type CaptionRecord = z.infer<typeof CaptionRecord>;
export type CaptionPart = z.infer<typeof CaptionPart>;

/** Durable job of a caption's part. */
export function partJobId(captionId: string, index: number): string {
  return `${captionId}-${index}`;
}

/** Jobs of a caption, in the order of its texts; null where a picture could not be used. */
export function jobIdsOf({ id, parts }: Pick<CaptionRecord, "id" | "parts">): (string | null)[] {
  return parts === null ? [id] : parts.map(({ error }, index) => error === null ? partJobId(id, index) : null);
}
