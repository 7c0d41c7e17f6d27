/** Log-probabilities in OpenAI's shape: each token as text and as bytes, since a token may be part of a character. */
import type { TokenLogprobs } from "@tessera/shared";

const decoder = new TextDecoder();

/** Of the tokens of one answer or of one chunk; null where the client does not want them. */
export function logprobsBody(logprobs: readonly TokenLogprobs[] | null) {
  if (logprobs === null) return null;
  return {
    content: logprobs.map(({ top, ...token }) => ({ ...tokenBody(token), top_logprobs: top.map(tokenBody) })),
    refusal: null,
  };
}

function tokenBody({ bytes, logprob }: Omit<TokenLogprobs, "top">) {
  return { token: decoder.decode(Uint8Array.from(bytes)), logprob, bytes };
}
