/** Events of a running job, worker to edge, on subjects of that edge. Ordered by `seq`. */
import { z } from "zod";
import { WireVersion } from "../wire_version.ts";
import { WireErrorCode } from "./error_code.ts";

export const Usage = z.object({
  prompt_tokens: z.int().min(0),
  completion_tokens: z.int().min(0),
  image_tokens: z.int().min(0),
  /** Prompt tokens taken from the prefix cache. */
  cached_tokens: z.int().min(0),
});

/** What is known of an answer's cost before it ends. */
export const PromptUsage = Usage.omit({ completion_tokens: true });

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

/** The kinds of events, each with the fields of `head` before its own. */
function eventKinds<Head extends z.ZodRawShape>(head: Head) {
  return z.discriminatedUnion("type", [
    /** Nothing new, still at it. */
    z.object({
      ...head,
      type: z.literal("progress"),
      /** The worker gives the job back unfinished, as when it is asked to stop; another will go on. */
      handed_over: z.boolean().optional(),
      /** Told with the first token of an attempt: what an answer costs that is cut before its end. */
      prompt: PromptUsage.optional(),
    }),
    /** `seq` is the index of `ids[0]` among the tokens of this answer; `text` is what these ids add, possibly nothing yet. */
    z.object({
      ...head,
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
      ...head,
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
      ...head,
      type: z.literal("done"),
      seq: z.int().min(0),
      text: z.string(),
      finish_reason: FinishReason,
      usage: Usage,
      timings: WorkerTimings,
    }),
    /** The end, badly. `message` is written for the caller. */
    z.object({
      ...head,
      type: z.literal("error"),
      code: WireErrorCode,
      message: z.string(),
      param: z.string().nullable(),
    }),
  ]);
}

/** Delivery attempt that produced the event. */
const attempt = z.int().min(1);

/** What an event says, wherever it stands. */
export const EventBody = eventKinds({ attempt });

/**
 * An event as a message of its own, on the job's events subject. So they go in version 1; in every version a refusal
 * does, which is an `error` to an envelope whose version the worker does not speak, and repeats that version.
 */
export const JobEvent = eventKinds({ v: WireVersion, attempt });

/** Since version 2: all that is new for one edge at one moment, in order, on the edge's batch subject. */
export const EventBatch = z.object({ v: z.literal(2), events: z.array(z.unknown()) });
export const BatchedEvent = eventKinds({ job_id: z.string().min(1), attempt });

export type Usage = z.infer<typeof Usage>;
export type PromptUsage = z.infer<typeof PromptUsage>;
export type WorkerTimings = z.infer<typeof WorkerTimings>;
export type TokenLogprobs = z.infer<typeof TokenLogprobs>;
export type FinishReason = z.infer<typeof FinishReason>;
export type EventBody = z.infer<typeof EventBody>;
export type JobEvent = z.infer<typeof JobEvent>;
export type BatchedEvent = z.infer<typeof BatchedEvent>;
