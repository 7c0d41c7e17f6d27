/** Owns the reading of a delivered job: envelope, model, prompt, whether it fits. Pure; no bus. */
import { decodeMessage, Job, JobCore, type Sampling, TesseraError, toTesseraError } from "@tessera/shared";
import type { ModelFacts } from "../config.ts";
import { buildPromptInSteps, type Prompt, PromptTooLong } from "../prompt/prompt.ts";
import { inSlices } from "../prompt/slices.ts";
import type { Tokenizer } from "../prompt/tokenizer.ts";

/** What a job has to fit. */
export interface AdmissionLimits {
  /** Prompt and answer together, in tokens. */
  readonly maxLength: number;
  readonly numTileSlots: number;
  /** Ids are below it. */
  readonly vocabSize: number;
}

/** Ids that end the answers of a job. */
export function endIdsOf(sampling: Sampling, eosIds: ReadonlySet<number>): ReadonlySet<number> {
  return new Set([...sampling.ignore_eos ? [] : eosIds, ...sampling.stop_token_ids]);
}

/** What can be told of a job that cannot be read: null when not even whose it is. */
export function readJobCore(bytes: Uint8Array): JobCore | null {
  try {
    return JobCore.parse(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return null;
  }
}

/** @throws TesseraError when the bytes are no job for this model, `incompatible_version` where a newer build may read it */
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
    checkIds("logit_bias", job.sampling.logit_bias.map(([id]) => id), limits.vocabSize);
    checkIds("stop_token_ids", job.sampling.stop_token_ids, limits.vocabSize);
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

/** @throws TesseraError `invalid_request` when one is not in the vocabulary */
function checkIds(param: string, ids: readonly number[], vocabSize: number): void {
  const bad = ids.find((id) => id >= vocabSize);
  if (bad === undefined) return;
  throw new TesseraError("invalid_request", {
    message: `${param} names token ${bad}; this model's tokens go up to ${vocabSize - 1}.`,
    param,
  });
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
