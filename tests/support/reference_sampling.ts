/** The plain truth of sampling: the distribution a token is drawn from, as native/engine/ops/sampling.h defines it. */
import type { DriverSampling } from "./engine_driver.ts";

/** Logits after biases and penalties. */
export function changedLogits(logits: ArrayLike<number>, sampling: DriverSampling): number[] {
  const { repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0, seen = [], biases = [] } = sampling;
  const out = Array.from(logits);
  for (const [id, bias] of biases) out[id]! += bias;
  for (const [id, count] of seen) {
    const logit = out[id]!;
    out[id] = logit < 0 ? logit * repetitionPenalty : logit / repetitionPenalty;
    if (count > 0) out[id]! -= presencePenalty + count * frequencyPenalty;
  }
  return out;
}

/** Tokens that may be drawn, likeliest first, with their probabilities. Not for temperature 0. */
export function distribution(logits: ArrayLike<number>, sampling: DriverSampling): Map<number, number> {
  const { temperature = 1, topK = 0, topP = 1, minP = 0 } = sampling;
  const changed = changedLogits(logits, sampling);
  const order = Array.from(changed.keys()).sort((a, b) => changed[b]! - changed[a]!);
  const kept = topK > 0 ? order.slice(0, topK) : order;
  const weights = kept.map((id) => Math.exp((changed[id]! - changed[order[0]!]!) / temperature));
  const total = weights.reduce((a, b) => a + b, 0);
  const out = new Map<number, number>();
  let reached = 0;
  for (const [i, id] of kept.entries()) {
    if (reached >= topP) break;
    reached += weights[i]! / total;
    if (weights[i]! > 0 && weights[i]! >= minP) out.set(id, weights[i]!);
  }
  const mass = out.values().reduce((a, b) => a + b, 0);
  return new Map([...out].map(([id, weight]) => [id, weight / mass]));
}
