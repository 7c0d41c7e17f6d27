/** The shapes of what is answered about captions. */
import { ERROR_CODES, JOB_STATUSES, WebhookTarget } from "@tessera/shared";
import { z } from "zod";
import { CaptionMedia } from "../api/caption_request.ts";
import { PRESET_NAMES } from "../captions/presets.ts";
import { listAnswer } from "./file_answers.ts";

const UnixSeconds = z.int().min(0);
const Count = z.int().min(0);

const CaptionError = z.object({
  code: z.enum(ERROR_CODES),
  message: z.string(),
  param: z.string().nullable(),
});

export const CaptionAnswer = z.object({
  id: z.string(),
  object: z.literal("caption"),
  status: z.enum(JOB_STATUSES),
  model: z.string(),
  created_at: UnixSeconds,
  started_at: UnixSeconds.nullable(),
  completed_at: UnixSeconds.nullable(),
  expires_at: UnixSeconds.describe("What is not done by then is not begun, and not gone on with."),
  input: z.object({
    media: z.array(CaptionMedia),
    prompt: z.string().describe("As the model was asked."),
    preset: z.enum(PRESET_NAMES).nullable(),
    language: z.string().nullable(),
  }),
  output: z.object({
    text: z.string(),
    finish_reason: z.enum(["stop", "length"]).nullable(),
    tags: z.array(z.string()).optional().describe("With the preset `tags`."),
  }).nullable().describe("While it runs, what there is so far; null where each of several pictures has its own text."),
  outputs: z.array(z.object({
    index: Count,
    status: z.enum(JOB_STATUSES),
    text: z.string().nullable(),
    finish_reason: z.enum(["stop", "length"]).nullable(),
    tags: z.array(z.string()).optional(),
    error: CaptionError.nullable(),
    metrics: z.record(z.string(), z.number().min(0)),
  })).describe("The texts: one for each picture, or one in all."),
  error: CaptionError.nullable().describe("Why no text came of it."),
  usage: z.looseObject({ prompt_tokens: Count, completion_tokens: Count, total_tokens: Count }).nullable(),
  metrics: z.record(z.string(), z.number().min(0)).describe("Milliseconds per stage."),
  images: z.array(z.object({ width: Count, height: Count, cols: Count, rows: Count, tiles: Count }).nullable())
    .describe("In the order of `input.media`; null where the picture could not be used."),
  metadata: z.record(z.string(), z.string()),
  webhook: WebhookTarget.nullable(),
  urls: z.object({ get: z.string(), cancel: z.string(), deliveries: z.string() }),
});

export const CaptionListAnswer = listAnswer(CaptionAnswer);
export const CaptionDeletedAnswer = z.object({
  id: z.string(),
  object: z.literal("caption"),
  deleted: z.literal(true),
});
