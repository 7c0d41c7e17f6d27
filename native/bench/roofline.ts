/**
 * Owns what a model should take on a GPU by bytes and flops alone. Every part of a step takes the longer of what its
 * bytes and its flops need, at the named efficiencies; parts do not overlap. Nothing here is measured.
 */
import type { ModelShape } from "@tessera/shared";
import type { Card, Efficiencies } from "./cards.ts";

export const WEIGHT_TYPES = ["bf16", "int8", "fp8", "4bit"] as const;
/** How linear layers of tower and decoder are held. Products of 4-bit weights run in bf16. */
export type WeightType = (typeof WEIGHT_TYPES)[number];

/** What is served. */
export interface Load {
  /** Sequences that decode at once. */
  readonly batch: number;
  /** Tokens of a sequence's prompt, its pictures' included. */
  readonly promptTokens: number;
  /** Tokens of its answer. */
  readonly answerTokens: number;
  /** Tiles of its pictures. */
  readonly tiles: number;
}

/** Expectations in seconds and rates; `largestBatch` 0 where the model does not fit the card. */
export interface Expectation {
  readonly stepSeconds: number;
  readonly tileSeconds: number;
  readonly prefillTokenSeconds: number;
  /** Of all sequences together. */
  readonly decodeTokensPerSecond: number;
  /** Whole requests: tiles encoded, prompt read, answer written, nothing overlapping. */
  readonly imagesPerSecond: number;
  /** Until a lone request's first token. */
  readonly firstTokenSeconds: number;
  readonly largestBatch: number;
  /** Of all weights. */
  readonly weightBytes: number;
}

/** Kernels of one decoder layer: two norms, four products, rotation, attention in two, activation. */
const KERNELS_PER_LAYER = 10;
/** Tiles that the tower takes at once. */
const TILES_AT_ONCE = 13;
/** Prompt tokens that one step takes. */
const CHUNK = 2_048;
const BYTES: Readonly<Record<WeightType, number>> = { bf16: 2, int8: 1, fp8: 1, "4bit": 0.5 + 4 / 64 };

/** Numbers of weights, which are also half of the flops a row of activations costs. */
export interface WeightCounts {
  /** Linear layers of the decoder, head excluded. */
  readonly decoder: number;
  readonly head: number;
  /** Linear layers of the tower. */
  readonly tower: number;
  /** The projector, which a joined patch passes, and the patches' product, which a patch passes. */
  readonly projector: number;
  readonly patches: number;
  /** What is looked up and never multiplied. */
  readonly embeddings: number;
}

export function weightCounts({ vision, decoder, downsampleRatio }: ModelShape): WeightCounts {
  const { hidden, heads, kvHeads, headDim, intermediate, layers, vocab, tiedHead } = decoder;
  const joined = vision.hidden / downsampleRatio ** 2;
  return {
    decoder: layers * hidden * ((2 * heads + 2 * kvHeads) * headDim + 3 * intermediate),
    head: vocab * hidden,
    tower: vision.layers * vision.hidden * (4 * vision.hidden + 2 * vision.intermediate),
    projector: joined * hidden + hidden ** 2,
    patches: 3 * vision.patchSize ** 2 * vision.hidden,
    embeddings: tiedHead ? 0 : vocab * hidden,
  };
}

/** Bytes of all weights; the tower with normalised q and k is never held below 8 bits. */
export function weightBytes(shape: ModelShape, type: WeightType): number {
  const counts = weightCounts(shape);
  const tower = shape.vision.qkNorm && type === "4bit" ? "int8" : type;
  return counts.decoder * BYTES[type] + counts.tower * BYTES[tower] +
    2 * (counts.head + counts.embeddings + counts.projector + counts.patches);
}

/** Bytes of keys and values that one token leaves: bf16. */
export function kvTokenBytes({ decoder }: ModelShape): number {
  return 2 * 2 * decoder.layers * decoder.kvHeads * decoder.headDim;
}

/** What one card should do with a model. @throws Error for a type of weights that the card cannot multiply */
export function expectSpeed(
  shape: ModelShape,
  card: Card,
  type: WeightType,
  load: Load,
  by: Efficiencies,
): Expectation {
  if (type === "fp8" && card.fp8 === 0) throw new Error(`Cannot expect fp8 of ${card.name}: it has no FP8 products`);
  const stepSeconds = decodeStepSeconds(shape, card, type, load, by);
  const tileSeconds = secondsPerTile(shape, card, type, by);
  const prefillTokenSeconds = secondsPerPromptToken(shape, card, type, load.promptTokens, by);
  const firstTokenSeconds = load.tiles * tileSeconds + load.promptTokens * prefillTokenSeconds;
  const requestSeconds = firstTokenSeconds + load.answerTokens * stepSeconds / load.batch;
  const all = weightBytes(shape, type);
  const room = card.memory * by.memory - all - activationBytes(shape, load.batch);
  return {
    stepSeconds,
    tileSeconds,
    prefillTokenSeconds,
    decodeTokensPerSecond: load.batch / stepSeconds,
    imagesPerSecond: 1 / requestSeconds,
    firstTokenSeconds,
    largestBatch: Math.max(0, Math.floor(room / (kvTokenBytes(shape) * (load.promptTokens + load.answerTokens)))),
    weightBytes: all,
  };
}

/** Longer of reading `bytes` and computing `flops`. */
function longer(bytes: number, bytesPerSecond: number, flops: number, flopsPerSecond: number): number {
  return Math.max(bytes / bytesPerSecond, flops / flopsPerSecond);
}

/** Multiply-add peak of products with these weights, at the assumed share. */
function productPeak(card: Card, type: WeightType, by: Efficiencies): number {
  return by.gemm * (type === "int8" ? card.int8 : type === "fp8" ? card.fp8 : card.bf16);
}

/** One step in which every sequence decodes one token, half of its answer written. */
function decodeStepSeconds(shape: ModelShape, card: Card, type: WeightType, load: Load, by: Efficiencies): number {
  const { decoder } = shape;
  const counts = weightCounts(shape);
  const reading = card.bandwidth * by.weights;
  const context = load.promptTokens + load.answerTokens / 2;
  const layers = longer(
    counts.decoder * BYTES[type],
    reading,
    2 * load.batch * counts.decoder,
    productPeak(card, type, by),
  );
  const logits = 4 * load.batch * decoder.vocab;
  const head = longer(2 * counts.head + logits, reading, 2 * load.batch * counts.head, by.gemm * card.bf16);
  const attention = longer(
    load.batch * context * kvTokenBytes(shape),
    card.bandwidth * by.pages,
    4 * load.batch * context * decoder.layers * decoder.heads * decoder.headDim,
    by.attention * card.bf16,
  );
  const sampling = logits / reading;
  return layers + head + attention + sampling + by.launchSeconds * (KERNELS_PER_LAYER * decoder.layers + 5);
}

/** One tile of a full group: tower and projector. */
function secondsPerTile(shape: ModelShape, card: Card, type: WeightType, by: Efficiencies): number {
  const { vision, downsampleRatio } = shape;
  const counts = weightCounts(shape);
  const patches = (vision.imageSize / vision.patchSize) ** 2;
  const rows = patches + 1;
  const tower = vision.qkNorm && type === "4bit" ? "int8" : type;
  const products = longer(
    counts.tower * BYTES[tower] / TILES_AT_ONCE,
    card.bandwidth * by.weights,
    2 * rows * counts.tower,
    productPeak(card, tower, by),
  );
  const small = 2 * patches * counts.patches + 2 * patches * downsampleRatio ** 2 * counts.projector;
  const attention = 4 * rows ** 2 * vision.hidden * vision.layers;
  return products + small / (by.gemm * card.bf16) + attention / (by.attention * card.bf16) +
    by.launchSeconds * KERNELS_PER_LAYER * vision.layers / TILES_AT_ONCE;
}

/** One token of a prompt of this length, read in chunks. */
function secondsPerPromptToken(
  shape: ModelShape,
  card: Card,
  type: WeightType,
  promptTokens: number,
  by: Efficiencies,
): number {
  const { decoder } = shape;
  const counts = weightCounts(shape);
  const chunk = Math.min(CHUNK, promptTokens);
  const products = longer(
    counts.decoder * BYTES[type] / chunk,
    card.bandwidth * by.weights,
    2 * counts.decoder,
    productPeak(card, type, by),
  );
  // Causal: a token sees half of the prompt on average.
  const attention = 4 * promptTokens / 2 * decoder.layers * decoder.heads * decoder.headDim;
  return products + attention / (by.attention * card.bf16) +
    by.launchSeconds * KERNELS_PER_LAYER * decoder.layers / chunk;
}

/** Logits of a batch, rows of a chunk through the widest layer and of a group of tiles. */
function activationBytes({ vision, decoder }: ModelShape, batch: number): number {
  const rows = ((vision.imageSize / vision.patchSize) ** 2 + 1) * TILES_AT_ONCE;
  return 4 * batch * decoder.vocab + CHUNK * (8 * decoder.hidden + 4 * decoder.intermediate) +
    rows * (10 * vision.hidden + 2 * vision.intermediate);
}
