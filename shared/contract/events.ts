/** Events of a running job, worker to edge, on the job's events subject. Ordered by `seq`. */
import { z } from "zod";
import { ERROR_CODES } from "../errors.ts";

const base = {
  v: z.literal(1),
  /** Delivery attempt that produced the event. */
  attempt: z.int().min(1),
};

export const Usage = z.object({
  prompt_tokens: z.int().min(0),
  completion_tokens: z.int().min(0),
  image_tokens: z.int().min(0),
  /** Prompt tokens taken from the prefix cache. */
  cached_tokens: z.int().min(0),
});

/** Milliseconds on the worker's clock. */
export const WorkerTimings = z.object({
  /** Tiles on the wire: claim granted to last wanted tile. */
  tiles_ms: z.number().min(0),
  /** Ready to run, waiting for a place in the batch. */
  wait_ms: z.number().min(0),
  vision_ms: z.number().min(0),
  prefill_ms: z.number().min(0),
  decode_ms: z.number().min(0),
});

export const FinishReason = z.enum(["stop", "length"]);

/** A token a distribution holds: its UTF-8, special tokens' content too, and its log-probability. */
const LikelyToken = z.object({
  bytes: z.array(z.int().min(0).max(255)),
  /** Never below -9999. Before penalties, biases, temperature and cuts. */
  logprob: z.number(),
});

/** The same of a token that was drawn, and of the likeliest in its place, likeliest first. */
export const TokenLogprobs = LikelyToken.extend({ top: z.array(LikelyToken) });

/** Index among the answers to one prompt; absent: the first. */
const choice = z.int().min(0).optional();

export const JobEvent = z.discriminatedUnion("type", [
  /** Nothing new, still at it. */
  z.object({
    ...base,
    type: z.literal("progress"),
    /** The worker gives the job back unfinished, as when it is asked to stop; another will go on. */
    handed_over: z.boolean().optional(),
  }),
  /** `seq` is the index of `ids[0]` among the tokens of this answer; `text` is what these ids add, possibly nothing yet. */
  z.object({
    ...base,
    type: z.literal("tokens"),
    seq: z.int().min(0),
    ids: z.array(z.int().min(0)),
    text: z.string(),
    choice,
    /** One for each of `ids`, where the job asks for them. */
    logprobs: z.array(TokenLogprobs).optional(),
  }),
  /** One of several answers is complete: `seq` its number of ids, `text` what was still held back. */
  z.object({
    ...base,
    type: z.literal("choice_done"),
    seq: z.int().min(0),
    text: z.string(),
    choice,
    finish_reason: FinishReason,
  }),
  /**
   * The end. `seq` is the number of ids sent in all, `text` what was still held back. After several answers, each ended
   * by its `choice_done`, `text` is empty and `finish_reason` that of the first.
   */
  z.object({
    ...base,
    type: z.literal("done"),
    seq: z.int().min(0),
    text: z.string(),
    finish_reason: FinishReason,
    usage: Usage,
    timings: WorkerTimings,
  }),
  /** The end, badly. `message` is written for the caller. */
  z.object({
    ...base,
    type: z.literal("error"),
    code: z.enum(ERROR_CODES),
    message: z.string(),
    param: z.string().nullable(),
  }),
]);

export type Usage = z.infer<typeof Usage>;
export type WorkerTimings = z.infer<typeof WorkerTimings>;
export type TokenLogprobs = z.infer<typeof TokenLogprobs>;
export type FinishReason = z.infer<typeof FinishReason>;
export type JobEvent = z.infer<typeof JobEvent>;
