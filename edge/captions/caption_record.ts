/** What is known of a caption from its request, kept as long as the job that makes it. */
import { JobImage, WebhookTarget } from "@tessera/shared";
import { z } from "zod";
import { CaptionMedia } from "../api/caption_request.ts";
import { PRESET_NAMES } from "./presets.ts";

export const CaptionRecord = z.object({
  v: z.literal(1),
  /** Also of the durable job. */
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
  images: z.array(JobImage.pick({ width: true, height: true, cols: true, rows: true }).extend({ tiles: z.int() })),
  /** Of the edge that took it, in ms. */
  timings: z.record(z.string(), z.number()),
  /** Whose use it counts as; null where keys are not checked. */
  key_id: z.string().nullable().default(null),
  /** All that ever changes. */
  is_counted: z.boolean().default(false),
});
export type CaptionRecord = z.infer<typeof CaptionRecord>;
