/** Counting without running: an edge asks any worker of a model, request and reply on the model's tokenize subject. */
import { z } from "zod";
import { WireErrorCode } from "./error_code.ts";
import { JobMessage } from "./job.ts";

/** Edge to worker. */
export const TokenizeRequest = z.object({
  v: z.literal(1),
  /** A text as a user types it, or messages laid out as a job's, their pictures being the indices of `image_tiles`. */
  source: z.discriminatedUnion("type", [
    z.object({ type: z.literal("text"), text: z.string() }),
    z.object({
      type: z.literal("messages"),
      messages: z.array(JobMessage).min(1),
      /** Tiles of each picture, thumbnails included. */
      image_tiles: z.array(z.int().positive()),
    }),
  ]),
  /** Whether the ids are wanted, and what each stands for; else they are only counted. */
  want_ids: z.boolean(),
  want_texts: z.boolean(),
});

/** Worker to edge. */
export const TokenizeReply = z.discriminatedUnion("ok", [
  z.object({
    v: z.literal(1),
    ok: z.literal(true),
    count: z.int().min(0),
    image_tokens: z.int().min(0),
    ids: z.array(z.int().min(0)).nullable(),
    /** UTF-8 of each id decoded by itself; U+FFFD where it is part of a character. */
    texts: z.array(z.string()).nullable(),
  }),
  z.object({ v: z.literal(1), ok: z.literal(false), code: WireErrorCode, message: z.string() }),
]);

export type TokenizeRequest = z.infer<typeof TokenizeRequest>;
export type TokenizeReply = z.infer<typeof TokenizeReply>;
