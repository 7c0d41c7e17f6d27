/** Owns the shape of an InternVL `config.json` as published, and a tiny default one that tests vary. */

/** Vision tower part of the original `internvl_chat` configuration. */
export interface VisionConfig {
  readonly model_type: "intern_vit_6b";
  readonly architectures: readonly string[];
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly intermediate_size: number;
  /** Edge in pixels of the tiles the position embedding was trained on; `force_image_size` is what tiles have. */
  readonly image_size: number;
  readonly patch_size: number;
  readonly num_channels: 3;
  readonly norm_type: "layer_norm" | "rms_norm";
  readonly layer_norm_eps: number;
  readonly qkv_bias: boolean;
  readonly qk_normalization: boolean;
  readonly hidden_act: "gelu";
}

/** Decoder part. */
export interface DecoderConfig {
  readonly model_type: "qwen2" | "internlm3";
  readonly architectures: readonly string[];
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  /** Default: hidden_size / num_attention_heads. */
  readonly head_dim?: number;
  /** InternLM3 alone: biases of q, k and v, and of all other projections. */
  readonly qkv_bias?: boolean;
  readonly bias?: boolean;
  readonly intermediate_size: number;
  readonly max_position_embeddings: number;
  readonly rms_norm_eps: number;
  readonly rope_theta: number;
  readonly rope_scaling: { readonly factor: number; readonly rope_type: "dynamic"; readonly type?: "dynamic" } | null;
  readonly tie_word_embeddings: boolean;
  readonly hidden_act: "silu";
}

/** The original `internvl_chat` configuration, reduced to what decides the numbers. */
export interface ChatConfig {
  readonly model_type: "internvl_chat";
  readonly architectures: readonly string[];
  readonly vision_config: VisionConfig;
  readonly llm_config: DecoderConfig;
  readonly force_image_size: number;
  readonly downsample_ratio: number;
  readonly ps_version: "v1" | "v2";
  readonly select_layer: number;
  readonly template: "internvl2_5";
  readonly tie_word_embeddings: boolean;
}

/** What a test may vary; everything else is as in a published checkpoint. */
export interface TinyConfigOptions {
  readonly tileSize?: number;
  readonly vision?: Partial<VisionConfig>;
  readonly decoder?: Partial<DecoderConfig>;
}

/** A model of about 50,000 parameters: 28 px tiles, 4 x 4 patches, 4 tokens a tile. */
export function tinyConfig(options: TinyConfigOptions = {}): ChatConfig {
  const tileSize = options.tileSize ?? 28;
  const decoder: DecoderConfig = {
    model_type: "qwen2",
    architectures: ["Qwen2ForCausalLM"],
    vocab_size: 211,
    hidden_size: 64,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    intermediate_size: 96,
    max_position_embeddings: 512,
    rms_norm_eps: 1e-6,
    rope_theta: 1e6,
    rope_scaling: null,
    tie_word_embeddings: false,
    hidden_act: "silu",
    ...options.decoder,
  };
  return {
    model_type: "internvl_chat",
    architectures: ["InternVLChatModel"],
    vision_config: {
      model_type: "intern_vit_6b",
      architectures: ["InternVisionModel"],
      hidden_size: 48,
      num_hidden_layers: 2,
      num_attention_heads: 3,
      intermediate_size: 80,
      image_size: tileSize,
      patch_size: 7,
      num_channels: 3,
      norm_type: "layer_norm",
      layer_norm_eps: 1e-6,
      qkv_bias: true,
      qk_normalization: false,
      hidden_act: "gelu",
      ...options.vision,
    },
    llm_config: decoder,
    force_image_size: tileSize,
    downsample_ratio: 0.5,
    ps_version: "v2",
    select_layer: -1,
    template: "internvl2_5",
    tie_word_embeddings: decoder.tie_word_embeddings,
  };
}

/** Size of one attention head of the decoder. */
export function headDim(decoder: DecoderConfig): number {
  return decoder.head_dim ?? decoder.hidden_size / decoder.num_attention_heads;
}

/** Tokens that dynamic scaling reaches. */
export function contextLength({ llm_config: { rope_scaling, max_position_embeddings } }: ChatConfig): number {
  return max_position_embeddings * (rope_scaling?.factor ?? 1);
}

/** Layers of the tower that run. */
export function selectedLayers({ select_layer, vision_config }: ChatConfig): number {
  return select_layer < 0 ? vision_config.num_hidden_layers + 1 + select_layer : select_layer;
}

/** Embeddings one tile becomes after the pixel shuffle. */
export function tokensPerTile(config: ChatConfig): number {
  const grid = config.force_image_size / config.vision_config.patch_size;
  return (grid * config.downsample_ratio) ** 2;
}

/** How `config.json` is written: the original, or transformers' own as published (v4 names) or as saved today (v5). */
export type CheckpointLayout = "internvl_chat" | "transformers_v4" | "transformers_v5";

/** The `config.json` of a layout. Image token ids are placeholders: the engine is told of images by `embeddingRows`. */
export function configJson(config: ChatConfig, layout: CheckpointLayout): unknown {
  if (layout === "internvl_chat") return config;
  const { vision_config: vision, llm_config: decoder } = config;
  const { rope_theta, rope_scaling, qkv_bias, bias, ...text } = decoder;
  if (config.ps_version !== "v2") throw new Error(`Cannot write ${layout}: ps_version v1, expected v2`);
  if ((qkv_bias ?? false) !== (bias ?? false)) throw new Error(`Cannot write ${layout}: one bias alone, expected both`);
  const biases = qkv_bias === undefined ? {} : { attention_bias: qkv_bias, mlp_bias: qkv_bias };
  const rope = rope_scaling === null
    ? { rope_type: "default", rope_theta }
    : { rope_type: rope_scaling.rope_type, factor: rope_scaling.factor, rope_theta };
  // No second size: transformers' own layout keeps the grid of its position embedding as the tile's.
  if (vision.image_size !== config.force_image_size) {
    throw new Error(`Cannot write ${layout}: image_size ${vision.image_size}, expected ${config.force_image_size}`);
  }
  return {
    model_type: "internvl",
    architectures: ["InternVLForConditionalGeneration"],
    downsample_ratio: config.downsample_ratio,
    image_seq_length: tokensPerTile(config),
    image_token_id: decoder.vocab_size - 1,
    projector_hidden_act: "gelu",
    tie_word_embeddings: decoder.tie_word_embeddings,
    vision_feature_layer: config.select_layer,
    vision_feature_select_strategy: "default",
    text_config: layout === "transformers_v5"
      ? { ...text, ...biases, rope_parameters: rope }
      : { ...text, ...biases, rope_theta, rope_scaling: rope_scaling },
    vision_config: {
      model_type: "internvl_vision",
      hidden_size: vision.hidden_size,
      num_hidden_layers: vision.num_hidden_layers,
      num_attention_heads: vision.num_attention_heads,
      intermediate_size: vision.intermediate_size,
      image_size: [vision.image_size, vision.image_size],
      patch_size: [vision.patch_size, vision.patch_size],
      num_channels: 3,
      norm_type: vision.norm_type,
      layer_norm_eps: vision.layer_norm_eps,
      attention_bias: vision.qkv_bias,
      use_qk_norm: vision.qk_normalization,
      hidden_act: vision.hidden_act,
      use_absolute_position_embeddings: true,
      use_mask_token: false,
      use_mean_pooling: true,
    },
  };
}
