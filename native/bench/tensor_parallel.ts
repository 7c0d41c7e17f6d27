/**
 * Owns what a model should take on cards that compute each layer together: the share of each by `roofline.ts`, and what
 * goes over the links between them. Sums do not overlap with anything.
 */
import type { ModelShape } from "@tessera/shared";
import type { Card, Efficiencies } from "./cards.ts";
import { type Expectation, expectSpeed, type Load, type WeightType } from "./roofline.ts";

/** Why a decoder cannot be cut over so many devices, by the engine's own rule (`engine/model/shard.cpp`); else undefined. */
export function whyNotTogether({ decoder }: ModelShape, numDevices: number): string | undefined {
  const { heads, kvHeads, intermediate } = decoder;
  if (heads % numDevices !== 0) return `${numDevices} devices do not divide ${heads} attention heads`;
  if (kvHeads % numDevices !== 0 && numDevices % kvHeads !== 0) {
    return `${numDevices} devices do not divide ${kvHeads} key heads, nor are they a multiple of them`;
  }
  if (intermediate % numDevices !== 0) return `${numDevices} devices do not divide ${intermediate} columns of the MLP`;
  return undefined;
}

/** A decoder as one of the devices sees it; the vocabulary's share need not be whole. */
export function shareOf(shape: ModelShape, numDevices: number): ModelShape {
  const { decoder } = shape;
  return {
    ...shape,
    decoder: {
      ...decoder,
      heads: decoder.heads / numDevices,
      kvHeads: Math.max(1, decoder.kvHeads / numDevices),
      intermediate: decoder.intermediate / numDevices,
      vocab: decoder.vocab / numDevices,
    },
  };
}

/** A step's sums: behind attention and MLP of each layer, and behind the embedding. */
const numSums = ({ decoder }: ModelShape) => 2 * decoder.layers + 1;

/**
 * Bytes that each device sends, and receives, to sum a step of so many rows of fp32. A ring: the rows but for its own part,
 * twice.
 */
export function sumBytes(shape: ModelShape, rows: number, numDevices: number): number {
  return numSums(shape) * 2 * (numDevices - 1) / numDevices * 4 * rows * shape.decoder.hidden;
}

/** As `expectSpeed`, of several cards; `weightBytes` are those of one. @throws Error for what cannot be cut */
export function expectTogether(
  shape: ModelShape,
  card: Card,
  type: WeightType,
  load: Load,
  by: Efficiencies,
  numDevices: number,
): Expectation {
  if (numDevices === 1) return expectSpeed(shape, card, type, load, by);
  const why = whyNotTogether(shape, numDevices);
  if (why !== undefined) throw new Error(`Cannot expect a speed of ${shape.name}: ${why}`);
  const { decoder } = shape;
  const share = expectSpeed(shareOf(shape, numDevices), card, type, load, by);
  const link = card.link * by.link;
  const sums = (rows: number) => numSums(shape) * by.reduceSeconds + sumBytes(shape, rows, numDevices) / link;
  const logits = 4 * load.batch * decoder.vocab * (numDevices - 1) / numDevices / link;
  const stepSeconds = share.stepSeconds + sums(load.batch) + logits;
  const chunk = Math.min(2_048, load.promptTokens);
  const prefillTokenSeconds = share.prefillTokenSeconds + sums(chunk) / chunk;
  // Each card has a tower for its share of the tiles.
  const tileSeconds = share.tileSeconds / numDevices;
  const firstTokenSeconds = load.tiles * tileSeconds + load.promptTokens * prefillTokenSeconds;
  return {
    ...share,
    stepSeconds,
    tileSeconds,
    prefillTokenSeconds,
    decodeTokensPerSecond: load.batch / stepSeconds,
    imagesPerSecond: 1 / (firstTokenSeconds + load.answerTokens * stepSeconds / load.batch),
    firstTokenSeconds,
  };
}
