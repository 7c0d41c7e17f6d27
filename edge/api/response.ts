/** OpenAI's answer shapes: chat.completion, chat.completion.chunk, usage, and what Tessera adds to the last of them. */
import type { FinishReason, JobImage, Usage } from "@tessera/shared";
import type { AnswerEnd } from "../dispatch/mailbox.ts";
import type { LoadTimings } from "../media/load_pictures.ts";

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
  readonly load: LoadTimings;
  /** Publication to first claim. */
  readonly queueMs: number;
  /** Request to first token, and to the end. */
  readonly firstTokenMs: number;
  readonly totalMs: number;
}

export interface TesseraFacts {
  readonly images: { width: number; height: number; cols: number; rows: number; tiles: number }[];
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
  const timings = Object.fromEntries(Object.entries(stages).map(([name, ms]) => [name, Math.round(ms * 10) / 10]));
  const images = facts.images.map(({ width, height, cols, rows, tiles }) => ({
    width,
    height,
    cols,
    rows,
    tiles: tiles.length,
  }));
  return { images, timings };
}

/** The whole answer in one body. */
export function completion(head: AnswerHead, content: string, end: AnswerEnd, tessera: TesseraFacts) {
  return {
    id: head.id,
    object: "chat.completion",
    created: head.created,
    model: head.model,
    choices: [{
      index: 0,
      message: { role: "assistant", content, refusal: null },
      logprobs: null,
      finish_reason: end.finishReason,
    }],
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

/** A piece of a streamed answer. `usage` is null in all chunks but the last when the client asked for usage. */
export function chunk(head: AnswerHead, delta: ChunkDelta, finishReason: FinishReason | null, includeUsage: boolean) {
  return {
    id: head.id,
    object: "chat.completion.chunk",
    created: head.created,
    model: head.model,
    system_fingerprint: null,
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }],
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
