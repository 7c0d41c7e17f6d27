/** Owns a request's sampling as the engine takes it: what its 32-bit fields cannot hold is brought to what means the same. */
import type { Sampling } from "@tessera/shared";

/** How the engine draws the tokens of one sequence; see `StepBatch`. */
export interface SequenceSampling {
  /** 0 is greedy. */
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly seed: bigint;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  /** Likeliest tokens told with each. */
  readonly numTop: number;
  /** [B] each. */
  readonly biasIds: Int32Array;
  readonly biases: Float32Array;
  /** Ids that are not drawn before the answer has `minTokens`. */
  readonly forbiddenIds: Int32Array;
  readonly minTokens: number;
}

/** Greedy, and nothing else. */
export const PLAIN_SAMPLING: SequenceSampling = {
  temperature: 0,
  topP: 1,
  topK: 0,
  seed: 0n,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  numTop: 0,
  biasIds: new Int32Array(0),
  biases: new Float32Array(0),
  forbiddenIds: new Int32Array(0),
  minTokens: 0,
};

/** Below these, only the likeliest token is ever drawn. */
const MIN_TEMPERATURE = 1e-4;
const MIN_TOP_P = 1e-6;
/** SplitMix64's step: seeds that far apart give streams that are not related. */
const SEED_STEP = 0x9e3779b97f4a7c15n;

/**
 * @param choice which of the answers to the prompt; the first has the request's own seed
 * @param endIds ids that end the answer
 */
export function engineSampling(
  sampling: Sampling,
  vocabSize: number,
  choice: number,
  endIds: Iterable<number>,
): SequenceSampling {
  const { temperature, top_p, top_k, seed, logit_bias, min_tokens } = sampling;
  return {
    temperature: temperature < MIN_TEMPERATURE ? 0 : temperature,
    topP: Math.max(top_p, MIN_TOP_P),
    topK: Math.min(top_k, vocabSize),
    seed: BigInt.asUintN(64, BigInt(seed) + BigInt(choice) * SEED_STEP),
    minP: sampling.min_p,
    repetitionPenalty: sampling.repetition_penalty,
    presencePenalty: sampling.presence_penalty,
    frequencyPenalty: sampling.frequency_penalty,
    numTop: sampling.logprobs ?? 0,
    biasIds: Int32Array.from(logit_bias, ([id]) => id),
    biases: Float32Array.from(logit_bias, ([, bias]) => bias),
    forbiddenIds: min_tokens === 0 ? PLAIN_SAMPLING.forbiddenIds : Int32Array.from(below(endIds, vocabSize)),
    minTokens: min_tokens,
  };
}

/** Whether penalties need to know which tokens there were. */
export function hasPenalties(sampling: SequenceSampling): boolean {
  return sampling.repetitionPenalty !== 1 || sampling.presencePenalty !== 0 || sampling.frequencyPenalty !== 0;
}

/** Whether temperature, topP, topK and seed are all there is. */
export function isPlain(sampling: SequenceSampling): boolean {
  const { minP, numTop, biasIds, minTokens } = sampling;
  return minP === 0 && numTop === 0 && biasIds.length === 0 && minTokens === 0 && !hasPenalties(sampling);
}

function* below(ids: Iterable<number>, bound: number): Generator<number> {
  for (const id of ids) if (id < bound) yield id;
}
