/** Speeds to be expected of one card, for the batches that fit it, by the engine's model of bytes and flops. */
import { ASSUMED, type Card, type Efficiencies, type Expectation, expectSpeed } from "@tessera/native";
import { type Plan, type PlanRequest, type Quantisation, tokensPerTile } from "./memory.ts";
import { table } from "./report.ts";

/** Sequences at once that plans are made for. */
const BATCHES = [1, 8, 64, 256] as const;
/** A picture of twelve tiles with its thumbnail, a question of some lines, an answer of a paragraph. */
const QUESTION_TOKENS = 64;
const ANSWER_TOKENS = 128;

/** What a batch of described pictures takes. */
export interface PlannedSpeed extends Expectation {
  readonly quantisation: Quantisation;
  readonly batch: number;
  readonly tiles: number;
}

/** Of each type of weights and each batch that fits. */
export function planSpeeds({ shape }: PlanRequest, plans: readonly Plan[], card: Card): PlannedSpeed[] {
  const tiles = shape.maxTiles === 1 ? 1 : shape.maxTiles + 1;
  const promptTokens = QUESTION_TOKENS + tiles * tokensPerTile(shape);
  return plans.flatMap(({ quantisation, kvTokens }) =>
    BATCHES.filter((batch) => batch * (promptTokens + ANSWER_TOKENS) <= kvTokens).map((batch) => {
      const load = { batch, tiles, promptTokens, answerTokens: ANSWER_TOKENS };
      return { quantisation, batch, tiles, ...expectSpeed(shape, card, quantisation, load, ASSUMED) };
    })
  );
}

/** A line a batch. */
export function speedText(card: Card, speeds: readonly PlannedSpeed[], by: Efficiencies): string {
  const percent = (share: number) => `${Math.round(share * 100)} %`;
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
