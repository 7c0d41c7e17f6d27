/** How tokens are to be drawn and answers to end: OpenAI's fields and vLLM's, as a job's sampling. */
import {
  MAX_CHOICES,
  MAX_LOGIT_BIAS,
  MAX_REPETITION_PENALTY,
  MAX_STOP_CHARS,
  MAX_STOP_STRINGS,
  MAX_STOP_TOKEN_IDS,
  MAX_TOP_LOGPROBS,
  MIN_REPETITION_PENALTY,
  type Sampling,
  TesseraError,
} from "@tessera/shared";
import { z } from "zod";

const StopString = z.string().min(1).max(MAX_STOP_CHARS);
const TokenId = z.int().min(0).max(2 ** 31 - 1);

/** Any integer of 64 bits, as clients draw them; what of it JSON's numbers keep is what counts. */
export const Seed = z.number().min(-(2 ** 64)).max(2 ** 64).refine(Number.isInteger, "expected an integer");

/** Of a request's body. */
export const SamplingFields = {
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  /** -1 and 0 are off. */
  top_k: z.int().min(-1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  seed: Seed.nullish(),
  repetition_penalty: z.number().min(MIN_REPETITION_PENALTY).max(MAX_REPETITION_PENALTY).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  /** By token id, in decimal. */
  logit_bias: z.record(
    z.string().regex(/^(0|[1-9]\d{0,8})$/, "expected token ids as keys"),
    z.number().min(-100).max(100),
  )
    .refine((biases) => Object.keys(biases).length <= MAX_LOGIT_BIAS, `expected at most ${MAX_LOGIT_BIAS} tokens`)
    .nullish(),
  min_tokens: z.int().min(0).nullish(),
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  stop: z.union([StopString, z.array(StopString).max(MAX_STOP_STRINGS)]).nullish(),
  stop_token_ids: z.array(TokenId).max(MAX_STOP_TOKEN_IDS).nullish(),
  ignore_eos: z.boolean().nullish(),
  n: z.int().min(1).max(MAX_CHOICES).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(MAX_TOP_LOGPROBS).nullish(),
};

const Body = z.object(SamplingFields);

/** Smallest top_p that is not zero: the most likely token alone. */
const TINY_TOP_P = 1e-6;

/**
 * Without a temperature the answer is greedy, as in the vendor's quick start (OpenAI's default would be 1): the same
 * question gets the same answer unless the client asks for variety.
 * @throws TesseraError `invalid_request` where fields contradict each other
 */
export function jobSampling(body: z.infer<typeof Body>): Sampling {
  const stop = body.stop ?? [];
  const max_tokens = body.max_completion_tokens ?? body.max_tokens ?? null;
  const min_tokens = body.min_tokens ?? 0;
  if (max_tokens !== null && min_tokens > max_tokens) {
    throw contradiction("min_tokens", `min_tokens is ${min_tokens}, more than the at most ${max_tokens} wanted`);
  }
  if ((body.top_logprobs ?? 0) > 0 && body.logprobs !== true) {
    throw contradiction("top_logprobs", "top_logprobs needs logprobs to be true");
  }
  return {
    temperature: body.temperature ?? 0,
    top_p: Math.max(body.top_p ?? 1, TINY_TOP_P),
    top_k: Math.max(body.top_k ?? 0, 0),
    min_p: body.min_p ?? 0,
    // Drawn here, so that a second attempt draws the same tokens.
    seed: body.seed === null || body.seed === undefined ? randomSeed() : jobSeed(body.seed),
    repetition_penalty: body.repetition_penalty ?? 1,
    presence_penalty: body.presence_penalty ?? 0,
    frequency_penalty: body.frequency_penalty ?? 0,
    logit_bias: Object.entries(body.logit_bias ?? {}).map(([id, bias]) => [Number(id), bias]),
    min_tokens,
    max_tokens,
    stop: (typeof stop === "string" ? [stop] : stop).map((text) => text.toWellFormed()),
    stop_token_ids: [...new Set(body.stop_token_ids ?? [])],
    ignore_eos: body.ignore_eos ?? false,
    n: body.n ?? 1,
    logprobs: body.logprobs === true ? body.top_logprobs ?? 0 : null,
  };
}

/** A job's seeds are integers that a number holds exactly. */
function jobSeed(seed: number): number {
  const size = Math.abs(seed);
  if (Number.isSafeInteger(size)) return size;
  const bits = BigInt(size);
  return Number(BigInt.asUintN(53, bits ^ (bits >> 11n)));
}

function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}

function contradiction(param: string, what: string): TesseraError {
  return new TesseraError("invalid_request", { message: `${what}.`, param });
}
