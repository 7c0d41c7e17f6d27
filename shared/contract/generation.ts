/** How a checkpoint wants to be decoded where a request says nothing: of its generation_config.json, what servers honour. */
import { z } from "zod";
import { MAX_REPETITION_PENALTY, MIN_REPETITION_PENALTY } from "../limits.ts";

export const GenerationDefaults = z.object({
  /** false: greedy. */
  do_sample: z.boolean(),
  /** null: the file says nothing. */
  temperature: z.number().gt(0).max(2).nullable(),
  top_p: z.number().gt(0).max(1).nullable(),
  top_k: z.int().min(0).nullable(),
  repetition_penalty: z.number().min(MIN_REPETITION_PENALTY).max(MAX_REPETITION_PENALTY).nullable(),
  max_new_tokens: z.int().positive().nullable(),
});

export type GenerationDefaults = z.infer<typeof GenerationDefaults>;

/** Of a checkpoint that says nothing. */
export const GREEDY: GenerationDefaults = {
  do_sample: false,
  temperature: null,
  top_p: null,
  top_k: null,
  repetition_penalty: null,
  max_new_tokens: null,
};
