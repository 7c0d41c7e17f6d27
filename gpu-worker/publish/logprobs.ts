/** Owns log-probabilities on their way from the engine's result to an event: ids become bytes. */
import type { TokenLogprobs } from "@tessera/shared";
import type { StepResult } from "../engine/types.ts";

/** What it needs of a tokenizer. */
export interface TokenContents {
  /** UTF-8 of an id, a special token's name included. */
  contentOf(id: number): Uint8Array;
}

/** JSON has no infinity; this is what OpenAI says in its place. */
const LEAST = -9_999;

/**
 * Of the token that a step sampled.
 * @param row its sequence's row in the result
 * @param numTop likeliest tokens wanted with it
 */
export function tokenLogprobs(result: StepResult, row: number, numTop: number, tokens: TokenContents): TokenLogprobs {
  const likely = (id: number, logprob: number) => ({
    bytes: [...tokens.contentOf(id)],
    logprob: Math.max(logprob, LEAST),
  });
  const top = [];
  for (let i = row * result.maxTop; i < row * result.maxTop + numTop; i++) {
    if (result.topIds[i]! >= 0) top.push(likely(result.topIds[i]!, result.topLogprobs[i]!));
  }
  return { ...likely(result.tokenIds[row]!, result.logprobs[row]!), top };
}
