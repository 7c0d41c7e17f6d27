/** The vendor's `generation_config` as request fields, and what a checkpoint's own says where a request says nothing. */
import { type GenerationDefaults, TesseraError } from "@tessera/shared";
import { z } from "zod";

/** Of a request's body; the names are transformers'. */
export const GenerationFields = {
  max_new_tokens: z.int().min(1).nullish(),
  do_sample: z.boolean().nullish(),
  num_beams: z.int().min(1).nullish(),
};

/** The fields of a body that are read and filled in here. */
interface SamplingWishes {
  readonly max_new_tokens?: number | null | undefined;
  readonly do_sample?: boolean | null | undefined;
  readonly num_beams?: number | null | undefined;
  readonly max_completion_tokens?: number | null | undefined;
  readonly max_tokens?: number | null | undefined;
  readonly temperature?: number | null | undefined;
  readonly top_p?: number | null | undefined;
  readonly top_k?: number | null | undefined;
  readonly repetition_penalty?: number | null | undefined;
}

/** What transformers takes where `do_sample` is true and nobody says more. */
const TRANSFORMERS = { temperature: 1, topK: 50 } as const;

/**
 * The body with OpenAI's fields filled in. A request that names a temperature is OpenAI's and is taken at its word; one
 * that says `do_sample` is the vendor's and means what it means to transformers; one that says neither is decoded as the
 * checkpoint's generation_config.json asks, which is greedily for every published InternVL3.
 * @throws TesseraError `unsupported_parameter` for beams, `invalid_request` for a contradiction
 */
export function withGeneration<B extends SamplingWishes>(body: B, defaults: GenerationDefaults) {
  if ((body.num_beams ?? 1) > 1) {
    throw new TesseraError("unsupported_parameter", {
      message: "This server does not search with beams: num_beams must be 1. Leave it out.",
      param: "num_beams",
    });
  }
  if (body.do_sample === true && body.temperature === 0) {
    throw new TesseraError("invalid_request", {
      message: "do_sample is true and temperature is 0, which is greedy. Set one of them alone.",
      param: "temperature",
    });
  }
  const samples = body.do_sample ?? ((body.temperature ?? null) !== null || defaults.do_sample);
  const topK = defaults.top_k ?? (body.do_sample === true ? TRANSFORMERS.topK : null);
  const maxTokens = body.max_completion_tokens ?? body.max_tokens ?? body.max_new_tokens ?? defaults.max_new_tokens;
  return {
    ...body,
    max_completion_tokens: maxTokens,
    temperature: samples ? body.temperature ?? defaults.temperature ?? TRANSFORMERS.temperature : 0,
    top_p: body.top_p ?? defaults.top_p,
    top_k: body.top_k ?? topK,
    repetition_penalty: body.repetition_penalty ?? defaults.repetition_penalty,
  };
}
