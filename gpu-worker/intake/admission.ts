/** Owns the reading of a delivered job: envelope, model, prompt, whether it fits. Pure; no bus. */
import { decodeMessage, Job, TesseraError, toTesseraError } from "@tessera/shared";
import type { ModelFacts } from "../config.ts";
import { buildPromptInSteps, type Prompt, PromptTooLong } from "../prompt/prompt.ts";
import { inSlices } from "../prompt/slices.ts";
import type { Tokenizer } from "../prompt/tokenizer.ts";

/** What a job has to fit. */
export interface AdmissionLimits {
  /** Prompt and answer together, in tokens. */
  readonly maxLength: number;
  readonly numTileSlots: number;
}

/** @throws TesseraError when the bytes are no job for this model */
export function readJob(bytes: Uint8Array, model: string): Job {
  const job = decodeMessage(Job, bytes);
  if (job.model !== model) {
    throw new TesseraError("internal_error", { diagnostic: `Cannot run job for ${job.model}: this is ${model}` });
  }
  return job;
}

/**
 * The prompt of a job, or what is wrong with the job. Long texts take a second, in slices.
 * @returns undefined when `isUnwanted` said so before the end
 */
export async function preparePrompt(
  job: Job,
  tokenizer: Tokenizer,
  facts: ModelFacts,
  limits: AdmissionLimits,
  isUnwanted: () => boolean,
): Promise<Prompt | TesseraError | undefined> {
  try {
    const prompt = await inSlices(buildPromptInSteps(job, tokenizer, facts, limits.maxLength - 1), isUnwanted);
    if (prompt === undefined) return undefined;
    const numTiles = new Set(prompt.tiles).size;
    if (numTiles > limits.numTileSlots) {
      return new TesseraError("too_many_images", {
        message: `The pictures make ${numTiles} tiles; at most ${limits.numTileSlots} fit. Send fewer pictures.`,
        param: "messages",
      });
    }
    return prompt;
  } catch (error) {
    return error instanceof PromptTooLong ? tooLong(job, facts, limits) : toTesseraError(error);
  }
}

function tooLong(job: Job, facts: ModelFacts, { maxLength }: AdmissionLimits): TesseraError {
  const images = job.messages.flatMap(({ parts }) =>
    parts.flatMap((part) => part.type === "image" ? [part.image] : part.type === "images" ? part.images : [])
  );
  const numTiles = images.reduce((sum, image) => sum + (job.images[image]?.tiles.length ?? 0), 0);
  return new TesseraError("context_length_exceeded", {
    message: `The prompt is longer than the model's context: ${maxLength} tokens, answer included, and the pictures ` +
      `take ${numTiles * facts.tokensPerTile} of them. Shorten the text or send fewer pictures.`,
    param: "messages",
  });
}
