/** Speeds to be expected of cards, for the batches that fit them, by the engine's model of bytes and flops. */
import { ASSUMED, type Card, type Efficiencies, type Expectation, expectTogether, type Load } from "@tessera/native";
import type { ModelShape } from "@tessera/shared";
import { type Plan, type PlanRequest, type Quantisation, tokensPerTile } from "./memory.ts";
import { table } from "./report.ts";

/** Sequences at once that plans are made for. */
export const BATCHES = [1, 8, 64, 256] as const;
/** A picture of twelve tiles with its thumbnail, a question of some lines, an answer of a paragraph. */
const QUESTION_TOKENS = 64;
const ANSWER_TOKENS = 128;

export const percent = (share: number): string => `${Math.round(share * 100)} %`;

/** What a batch of described pictures takes. */
export interface PlannedSpeed extends Expectation {
  readonly quantisation: Quantisation;
  readonly batch: number;
  readonly tiles: number;
}

/** One request of the load that speeds are told for. */
export function plannedRequest(shape: ModelShape): Omit<Load, "batch"> {
  const tiles = shape.maxTiles === 1 ? 1 : shape.maxTiles + 1;
  return { tiles, promptTokens: QUESTION_TOKENS + tiles * tokensPerTile(shape), answerTokens: ANSWER_TOKENS };
}

/** Of each type of weights and each batch that fits, on one card or several that compute each layer together. */
export function planSpeeds({ shape, numGpus }: PlanRequest, plans: readonly Plan[], card: Card): PlannedSpeed[] {
  const one = plannedRequest(shape);
  return plans.flatMap(({ quantisation, kvTokens }) =>
    BATCHES.filter((batch) => batch * (one.promptTokens + one.answerTokens) <= kvTokens).map((batch) => ({
      quantisation,
      batch,
      tiles: one.tiles,
      ...expectTogether(shape, card, quantisation, { batch, ...one }, ASSUMED, numGpus),
    }))
  );
}

/** A line a batch. */
export function speedText(card: Card, speeds: readonly PlannedSpeed[], by: Efficiencies): string {
  const head =
    `Expected of one ${card.name} by bytes and flops, not measured (${percent(by.weights)} of its bandwidth, ` +
    `${percent(by.gemm)} of its multiply-add peak),\nfor pictures of ${speeds[0]?.tiles ?? 0} tiles and answers of ` +
    `${ANSWER_TOKENS} tokens:`;
  const rows = speeds.map((speed, i) => [
    speed.quantisation === speeds[i - 1]?.quantisation ? "" : speed.quantisation,
    String(speed.batch),
    speed.decodeTokensPerSecond.toFixed(0),
    (speed.firstTokenSeconds * 1e3).toFixed(0),
    speed.imagesPerSecond.toFixed(2),
  ]);
  return `${head}\n${table([["", "batch", "tokens/s", "first token, ms", "pictures/s"], ...rows])}`;
}
