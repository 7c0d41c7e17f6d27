/** Memory of a model on each GPU: weights by type, tile slots, activations, and the tokens of KV cache that the rest holds. */
import type { ModelShape } from "@tessera/shared";
import { shareOf, whyNotTogether } from "@tessera/native";
import { splitLayers } from "../../gpu-worker/plan/split_layers.ts";

export const QUANTISATIONS = ["bf16", "int8", "4bit"] as const;
export type Quantisation = (typeof QUANTISATIONS)[number];

/** Bytes of driver, kernels and libraries on each GPU, before anything of ours. */
const RUNTIME_BYTES = 1 * 2 ** 30;
/** 4-bit weights stand in blocks of this many columns, each with a fp32 scale. */
const BLOCK = 64;
/** Rows of the vision tower computed at once. */
const TOWER_ROWS = 4_096;
/** Activations and tile embeddings are fp32, keys and values bf16. */
const ACTIVATION_BYTES = 4;
const KV_BYTES = 2;

export interface PlanRequest {
  readonly shape: ModelShape;
  readonly numGpus: number;
  /** Of one GPU. */
  readonly gpuBytes: number;
  /** Tokens of one sequence, prompt and answer. */
  readonly context: number;
  readonly tileSlots: number;
  /** New tokens of one step. */
  readonly tokenBudget: number;
  readonly maxSequences: number;
  /** What the KV cache takes of what is left. */
  readonly kvShare: number;
  /** All GPUs compute each layer together, instead of having layers of their own. */
  readonly isTensorParallel?: boolean;
}

export interface GpuPlan {
  /** Decoder layers, as indices. */
  readonly layers: readonly number[];
  readonly weightBytes: number;
  readonly tileSlotBytes: number;
  readonly activationBytes: number;
  readonly runtimeBytes: number;
  /** The KV cache's share of what is left; negative when the rest does not fit already. */
  readonly kvRoomBytes: number;
  /** Of one token. */
  readonly kvTokenBytes: number;
}

export interface Plan {
  readonly quantisation: Quantisation;
  /** The 6B tower stays at 8 bits where the decoder has 4. */
  readonly towerQuantisation: Quantisation;
  readonly gpus: readonly GpuPlan[];
  /** Tokens all sequences together may have: the least of all GPUs. */
  readonly kvTokens: number;
  /** Of one sequence alone; 0 when nothing fits. */
  readonly largestContext: number;
  /** Sequences of the asked context at once. */
  readonly largestBatch: number;
  readonly fits: boolean;
}

/** What lies on a GPU beside layers. */
interface GpuParts {
  readonly layers: readonly number[];
  /** The model as this GPU sees it. */
  readonly shape: ModelShape;
  readonly hasTower: boolean;
  readonly hasEmbeddings: boolean;
  /** Where logits are whole, and embeddings of tiles. */
  readonly isFirst: boolean;
}

/** @throws Error when the split is impossible */
export function planMemory(request: PlanRequest, quantisation: Quantisation): Plan {
  const { shape, context } = request;
  const tower = quantisation === "4bit" && shape.vision.qkNorm ? "int8" : quantisation;
  const gpus = partsOf(request).map((parts) => planGpu(request, parts, quantisation, tower));
  const kvTokens = Math.max(0, Math.min(...gpus.map(tokensThatFit)));
  return {
    quantisation,
    towerQuantisation: tower,
    gpus,
    kvTokens,
    largestContext: Math.min(kvTokens, shape.contextLength),
    largestBatch: Math.floor(kvTokens / context),
    fits: kvTokens >= context,
  };
}

function partsOf({ shape, numGpus, isTensorParallel = false }: PlanRequest): GpuParts[] {
  const numLayers = shape.decoder.layers;
  const all = Array.from({ length: numGpus }, (_, gpu) => gpu);
  if (!isTensorParallel) {
    const device = splitLayers(numLayers, numGpus);
    return all.map((gpu) => {
      const layers = device.flatMap((at, layer) => at === gpu ? [layer] : []);
      return { layers, shape, hasTower: gpu === 0, hasEmbeddings: gpu === 0, isFirst: gpu === 0 };
    });
  }
  const why = whyNotTogether(shape, numGpus);
  if (why !== undefined) throw new Error(`Cannot plan ${shape.name}: ${why}`);
  // As the engine does of itself, each has a tower for its share of the tiles.
  const layers = Array.from({ length: numLayers }, (_, layer) => layer);
  const share = shareOf(shape, numGpus);
  return all.map((gpu) => ({ layers, shape: share, hasTower: true, hasEmbeddings: true, isFirst: gpu === 0 }));
}

function planGpu(request: PlanRequest, parts: GpuParts, quantisation: Quantisation, tower: Quantisation): GpuPlan {
  const { layers, shape, hasTower, hasEmbeddings, isFirst } = parts;
  const { decoder } = shape;
  const measure = bytesIn(tower);
  const weightBytes = Math.ceil(
    layers.length * decoderLayerBytes(shape, quantisation) +
      (hasTower ? towerSize(shape, measure) + projectorSize(shape, measure) : 0) +
      (hasEmbeddings ? embeddingSize(shape, measure) : 0),
  );
  const tileSlotBytes = isFirst ? request.tileSlots * tokensPerTile(shape) * decoder.hidden * ACTIVATION_BYTES : 0;
  const logits = isFirst ? request.shape.decoder.vocab : hasEmbeddings ? decoder.vocab : 0;
  const activationBytes = Math.ceil(
    decoderActivationBytes(request, shape, logits) + (hasTower ? towerActivationBytes(shape) : 0),
  );
  const leftBytes = request.gpuBytes - RUNTIME_BYTES - weightBytes - tileSlotBytes - activationBytes;
  return {
    layers,
    weightBytes,
    tileSlotBytes,
    activationBytes,
    runtimeBytes: RUNTIME_BYTES,
    kvRoomBytes: leftBytes > 0 ? Math.floor(leftBytes * request.kvShare) : leftBytes,
    kvTokenBytes: layers.length * 2 * decoder.kvHeads * decoder.headDim * KV_BYTES,
  };
}

function tokensThatFit({ kvRoomBytes, kvTokenBytes }: GpuPlan): number {
  if (kvRoomBytes < 0) return 0;
  return kvTokenBytes === 0 ? Infinity : Math.floor(kvRoomBytes / kvTokenBytes);
}

/** Parameters of the whole model. */
export function numParameters(shape: ModelShape): number {
  const params = { matrix: (rows: number, cols: number) => rows * cols, plain: (count: number) => count };
  return towerSize(shape, params) + projectorSize(shape, params) + embeddingSize(shape, params) +
    shape.decoder.layers * decoderLayerSize(shape, params);
}

/** Bytes of all weights on one GPU. */
export function numWeightBytes(shape: ModelShape, quantisation: Quantisation): number {
  const tower = quantisation === "4bit" && shape.vision.qkNorm ? "int8" : quantisation;
  return firstGpuBytes(shape, tower) + shape.decoder.layers * decoderLayerBytes(shape, quantisation);
}

export function tokensPerTile({ vision, downsampleRatio }: ModelShape): number {
  return Math.floor(vision.imageSize / vision.patchSize * downsampleRatio) ** 2;
}

/** How large a part is, counted in whatever unit. */
interface Measure {
  /** A linear layer's weights, which quantisation makes smaller. */
  matrix(rows: number, cols: number): number;
  /** Everything else: embeddings, norms, biases, patches, projector, head. */
  plain(count: number): number;
}

function bytesIn(quantisation: Quantisation): Measure {
  return {
    plain: (count) => 2 * count,
    matrix: (rows, cols) => {
      if (quantisation === "int8") return rows * cols + 4 * rows;
      const isBlocked = quantisation === "4bit" && cols % BLOCK === 0;
      return isBlocked ? rows * cols / 2 + 4 * rows * cols / BLOCK : 2 * rows * cols;
    },
  };
}

function firstGpuBytes(shape: ModelShape, tower: Quantisation): number {
  const measure = bytesIn(tower);
  return towerSize(shape, measure) + projectorSize(shape, measure) + embeddingSize(shape, measure);
}

const decoderLayerBytes = (shape: ModelShape, quantisation: Quantisation) =>
  decoderLayerSize(shape, bytesIn(quantisation));

function towerSize({ vision }: ModelShape, { matrix, plain }: Measure): number {
  const { hidden, intermediate, layers, patchSize, imageSize, qkvBias, qkNorm, norm } = vision;
  const numPatches = (imageSize / patchSize) ** 2;
  const embedding = plain((3 * patchSize ** 2 + 1) * hidden + hidden + (numPatches + 1) * hidden);
  const norms = (norm === "layer_norm" ? 4 : 2) + (qkNorm ? 2 : 0);
  // Biases of output and second MLP layer, two layer scales, norms, biases of q, k and v.
  const small = plain((2 + 2 + norms + (qkvBias ? 3 : 0)) * hidden + intermediate);
  const matrices = matrix(3 * hidden, hidden) + matrix(hidden, hidden) + matrix(intermediate, hidden) +
    matrix(hidden, intermediate);
  return embedding + layers * (matrices + small);
}

function projectorSize({ vision, decoder, downsampleRatio }: ModelShape, { plain }: Measure): number {
  const input = vision.hidden / downsampleRatio ** 2;
  return plain(2 * input + (input + 1) * decoder.hidden + (decoder.hidden + 1) * decoder.hidden);
}

function embeddingSize({ decoder }: ModelShape, { plain }: Measure): number {
  return plain((decoder.tiedHead ? 1 : 2) * decoder.vocab * decoder.hidden + decoder.hidden);
}

function decoderLayerSize({ decoder }: ModelShape, { matrix, plain }: Measure): number {
  const { hidden, heads, kvHeads, headDim, intermediate, qkvBias } = decoder;
  const queries = heads * headDim;
  const keys = kvHeads * headDim;
  return matrix(queries, hidden) + 2 * matrix(keys, hidden) + matrix(hidden, queries) +
    2 * matrix(intermediate, hidden) +
    matrix(hidden, intermediate) + plain(2 * hidden + (qkvBias ? queries + 2 * keys : 0));
}

/** Residual, normalised, attended, q/k/v and MLP rows of a step; logits of so many words where there are any. */
function decoderActivationBytes({ tokenBudget, maxSequences }: PlanRequest, shape: ModelShape, logits: number): number {
  const { hidden, heads, kvHeads, headDim, intermediate } = shape.decoder;
  const row = 3 * hidden + (heads + 2 * kvHeads) * headDim + intermediate;
  return ACTIVATION_BYTES * (tokenBudget * row + (logits > 0 ? maxSequences * (logits + hidden) : 0));
}

/** The same of a group of tiles in the tower. */
function towerActivationBytes({ vision }: ModelShape): number {
  const rows = Math.max(TOWER_ROWS, (vision.imageSize / vision.patchSize) ** 2) + 4;
  return ACTIVATION_BYTES * rows * (3 * vision.hidden + Math.max(3 * vision.hidden, vision.intermediate));
}
