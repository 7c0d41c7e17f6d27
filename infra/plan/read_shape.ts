/** The shape of a checkpoint on disk, from its config.json in the vendor's layout or transformers' own. */
import type { ModelShape } from "@tessera/shared";
import { basename } from "node:path";
import { z } from "zod";
import { UsageError } from "../cli/usage.ts";

const Size = z.union([
  z.int().positive(),
  z.tuple([z.int().positive(), z.int().positive()]).transform(([side]) => side),
]);
const Vision = z.looseObject({
  hidden_size: z.int().positive(),
  num_hidden_layers: z.int().positive(),
  num_attention_heads: z.int().positive(),
  intermediate_size: z.int().positive(),
  image_size: Size,
  patch_size: Size,
  qkv_bias: z.boolean().optional(),
  attention_bias: z.boolean().optional(),
  qk_normalization: z.boolean().optional(),
  use_qk_norm: z.boolean().optional(),
  norm_type: z.enum(["layer_norm", "rms_norm"]).default("layer_norm"),
});
const Decoder = z.looseObject({
  model_type: z.string().optional(),
  hidden_size: z.int().positive(),
  num_hidden_layers: z.int().positive(),
  num_attention_heads: z.int().positive(),
  num_key_value_heads: z.int().positive().optional(),
  head_dim: z.int().positive().nullish(),
  intermediate_size: z.int().positive(),
  vocab_size: z.int().positive(),
  max_position_embeddings: z.int().positive(),
  tie_word_embeddings: z.boolean().optional(),
  qkv_bias: z.boolean().optional(),
});
const Config = z.looseObject({
  vision_config: Vision,
  llm_config: Decoder.optional(),
  text_config: Decoder.optional(),
  force_image_size: z.int().positive().nullish(),
  downsample_ratio: z.number().positive().default(0.5),
  max_dynamic_patch: z.int().positive().nullish(),
  tie_word_embeddings: z.boolean().optional(),
});

/** @throws UsageError when the folder holds no InternVL checkpoint */
export async function readShape(folder: string): Promise<ModelShape> {
  const path = `${folder}/config.json`;
  let json: unknown;
  try {
    json = JSON.parse(await Deno.readTextFile(path));
  } catch (cause) {
    throw new UsageError(`Cannot read ${path}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
  const parsed = Config.safeParse(json);
  const decoder = parsed.data?.llm_config ?? parsed.data?.text_config;
  if (!parsed.success || decoder === undefined) {
    const issue = parsed.error?.issues[0];
    const what = issue === undefined ? "no llm_config" : `${issue.path.join(".")}: ${issue.message}`;
    throw new UsageError(`Cannot read ${path}: ${what}, expected an InternVL3 checkpoint's`);
  }
  const config = parsed.data;
  const { vision_config: vision } = config;
  const heads = decoder.num_attention_heads;
  const family = decoder.model_type?.startsWith("internlm3") ? "internlm3" : "qwen2";
  return {
    name: basename(folder),
    vision: {
      hidden: vision.hidden_size,
      layers: vision.num_hidden_layers,
      heads: vision.num_attention_heads,
      intermediate: vision.intermediate_size,
      imageSize: config.force_image_size ?? vision.image_size,
      patchSize: vision.patch_size,
      qkvBias: vision.qkv_bias ?? vision.attention_bias ?? false,
      qkNorm: vision.qk_normalization ?? vision.use_qk_norm ?? false,
      norm: vision.norm_type,
    },
    decoder: {
      family,
      hidden: decoder.hidden_size,
      layers: decoder.num_hidden_layers,
      heads,
      kvHeads: decoder.num_key_value_heads ?? heads,
      headDim: decoder.head_dim ?? decoder.hidden_size / heads,
      intermediate: decoder.intermediate_size,
      vocab: decoder.vocab_size,
      tiedHead: decoder.tie_word_embeddings ?? config.tie_word_embeddings ?? false,
      qkvBias: family === "qwen2" || (decoder.qkv_bias ?? false),
    },
    downsampleRatio: config.downsample_ratio,
    maxTiles: config.max_dynamic_patch ?? 12,
    contextLength: decoder.max_position_embeddings,
  };
}
