/** The published InternVL3 checkpoints as data: names, shapes, context. A checkpoint's own config.json comes before this. */

/** The vision tower's sizes. */
export interface VisionShape {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly intermediate: number;
  readonly imageSize: number;
  readonly patchSize: number;
  readonly qkvBias: boolean;
  readonly qkNorm: boolean;
  readonly norm: "layer_norm" | "rms_norm";
}

/** The decoder's sizes. */
export interface DecoderShape {
  readonly family: "qwen2" | "internlm3";
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly intermediate: number;
  readonly vocab: number;
  readonly tiedHead: boolean;
  readonly qkvBias: boolean;
}

/** Everything of a model that decides what memory it takes. */
export interface ModelShape {
  readonly name: string;
  readonly vision: VisionShape;
  readonly decoder: DecoderShape;
  /** Pixel shuffle joins (1 / ratio)^2 patches into one token. */
  readonly downsampleRatio: number;
  readonly maxTiles: number;
  /** Positions the decoder was trained for. */
  readonly contextLength: number;
}

/** The organisation on the hub that publishes them. */
export const INTERNVL3_ORGANISATION = "OpenGVLab";

const VIT_300M: VisionShape = {
  hidden: 1024,
  layers: 24,
  heads: 16,
  intermediate: 4096,
  imageSize: 448,
  patchSize: 14,
  qkvBias: true,
  qkNorm: false,
  norm: "layer_norm",
};
const VIT_6B: VisionShape = {
  hidden: 3200,
  layers: 45,
  heads: 25,
  intermediate: 12_800,
  imageSize: 448,
  patchSize: 14,
  qkvBias: false,
  qkNorm: true,
  norm: "rms_norm",
};

function qwen2(hidden: number, layers: number, heads: number, kvHeads: number, intermediate: number): DecoderShape {
  return {
    family: "qwen2",
    hidden,
    layers,
    heads,
    kvHeads,
    headDim: hidden / heads,
    intermediate,
    vocab: 151_674,
    tiedHead: false,
    qkvBias: true,
  };
}

const INTERNLM3_8B: DecoderShape = {
  family: "internlm3",
  hidden: 4096,
  layers: 48,
  heads: 32,
  kvHeads: 2,
  headDim: 128,
  intermediate: 10_240,
  vocab: 128_522,
  tiedHead: false,
  qkvBias: false,
};

function model(name: string, vision: VisionShape, decoder: DecoderShape): ModelShape {
  return { name, vision, decoder, downsampleRatio: 0.5, maxTiles: 12, contextLength: 32_768 };
}

/** All seven, smallest first. */
export const INTERNVL3_MODELS: readonly ModelShape[] = [
  model("InternVL3-1B", VIT_300M, qwen2(896, 24, 14, 2, 4864)),
  model("InternVL3-2B", VIT_300M, qwen2(1536, 28, 12, 2, 8960)),
  model("InternVL3-8B", VIT_300M, qwen2(3584, 28, 28, 4, 18_944)),
  model("InternVL3-9B", VIT_300M, INTERNLM3_8B),
  model("InternVL3-14B", VIT_300M, qwen2(5120, 48, 40, 8, 13_824)),
  model("InternVL3-38B", VIT_6B, qwen2(5120, 64, 40, 8, 27_648)),
  model("InternVL3-78B", VIT_6B, qwen2(8192, 80, 64, 8, 29_568)),
];

/** The published model of a short name or repository id, whatever its case; undefined for any other. */
export function findInternVL3(name: string): ModelShape | undefined {
  const short = name.toLowerCase().replace(`${INTERNVL3_ORGANISATION.toLowerCase()}/`, "");
  return INTERNVL3_MODELS.find((each) => each.name.toLowerCase() === short);
}
