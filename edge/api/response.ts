/** OpenAI's answer shapes: chat.completion, chat.completion.chunk, usage, and what Tessera adds to the last of them. */
import type { FinishReason, JobImage, TokenLogprobs, Usage } from "@tessera/shared";
import type { AnswerEnd } from "../dispatch/mailbox.ts";
import type { VideoFacts } from "../media/load_video.ts";
import type { LoadTimings, PictureTimings } from "../media/load_pictures.ts";
import { logprobsBody } from "./logprobs.ts";

/** What every part of one answer repeats. */
export interface AnswerHead {
  /** `chatcmpl-...` */
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
}

/** What the edge knows of an answer besides its text. */
export interface AnswerFacts {
  readonly images: readonly JobImage[];
  /** In the order of `images`. */
  readonly pictureTimings: readonly PictureTimings[];
  readonly load: LoadTimings;
  readonly videos: readonly VideoFacts[];
  /** Publication to first claim. */
  readonly queueMs: number;
  /** Request to first token, and to the end. */
  readonly firstTokenMs: number;
  readonly totalMs: number;
}

/** One picture: its size, its grid, and where its time went. */
export interface PictureFacts extends PictureTimings {
  readonly width: number;
  readonly height: number;
  readonly cols: number;
  readonly rows: number;
  readonly tiles: number;
}

export interface TesseraFacts {
  /** A video's frames in its place. */
  readonly images: PictureFacts[];
  /** Only where there are any. */
  readonly videos?: readonly VideoFacts[];
  /** Milliseconds per stage, in the order they happen; stages overlap, so they need not add up to total_ms. */
  readonly timings: Record<string, number>;
}

export function usageBody(usage: Usage) {
  const { prompt_tokens, completion_tokens, image_tokens, cached_tokens } = usage;
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens, image_tokens },
  };
}

export function tesseraFacts(end: AnswerEnd, facts: AnswerFacts): TesseraFacts {
  const stages = {
    ...facts.load,
    queue_ms: facts.queueMs,
    tiles_ms: end.timings.tiles_ms,
    wait_ms: end.timings.wait_ms,
    vision_ms: end.timings.vision_ms,
    prefill_ms: end.timings.prefill_ms,
    // decode_ms is the pictures' decoding.
    generate_ms: end.timings.decode_ms,
    first_token_ms: facts.firstTokenMs,
    total_ms: facts.totalMs,
  };
  const images = facts.images.map(({ width, height, cols, rows, tiles }, index) => ({
    width,
    height,
    cols,
    rows,
    tiles: tiles.length,
    ...rounded(facts.pictureTimings[index]!),
  }));
  return {
    images,
    ...(facts.videos.length === 0 ? {} : { videos: facts.videos }),
    timings: rounded(stages),
  };
}

/** To tenths of a millisecond. */
export function rounded<K extends string>(timings: Readonly<Record<K, number>>): Record<K, number> {
  const entries = Object.entries<number>(timings).map(([name, ms]) => [name, Math.round(ms * 10) / 10]);
  return Object.fromEntries(entries) as Record<K, number>;
}

/** One of the answers to a prompt, whole. */
export interface Choice {
  readonly content: string;
  readonly finishReason: FinishReason;
  /** Of every token; null where the client does not want them. */
  readonly logprobs: readonly TokenLogprobs[] | null;
}

/** The whole answer in one body. */
export function completion(head: AnswerHead, choices: readonly Choice[], end: AnswerEnd, tessera: TesseraFacts) {
  return {
    id: head.id,
    object: "chat.completion",
    created: head.created,
    model: head.model,
    choices: choices.map(({ content, finishReason, logprobs }, index) => ({
      index,
      message: { role: "assistant", content, refusal: null },
      logprobs: logprobsBody(logprobs),
      finish_reason: finishReason,
    })),
    usage: usageBody(end.usage),
    system_fingerprint: null,
    tessera,
  };
}

/** What one chunk of a stream changes. */
export interface ChunkDelta {
  readonly role?: "assistant";
  readonly content?: string;
}

/** Beside the text of a chunk. */
export interface ChunkFields {
  /** Which of the answers; default the first. */
  readonly index?: number;
  readonly finishReason?: FinishReason;
  readonly logprobs?: readonly TokenLogprobs[] | undefined;
}

/** A piece of a streamed answer. `usage` is null in all chunks but the last when the client asked for usage. */
export function chunk(head: AnswerHead, delta: ChunkDelta, fields: ChunkFields, includeUsage: boolean) {
  const { index = 0, finishReason = null, logprobs = null } = fields;
  return {
    id: head.id,
    object: "chat.completion.chunk",
    created: head.created,
    model: head.model,
    system_fingerprint: null,
    choices: [{ index, delta, logprobs: logprobsBody(logprobs), finish_reason: finishReason }],
    ...(includeUsage ? { usage: null } : {}),
  };
}

/** The chunk after the last one: no choices, only usage. */
export function usageChunk(head: AnswerHead, usage: Usage) {
  return {
    id: head.id,
    object: "chat.completion.chunk",
    created: head.created,
    model: head.model,
    system_fingerprint: null,
    choices: [],
    usage: usageBody(usage),
  };
}
