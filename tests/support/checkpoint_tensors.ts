/** Owns the list of tensors an InternVL checkpoint has, with the range of each one's random values, and their names in both layouts. */
import { type ChatConfig, headDim } from "./checkpoint_config.ts";

/** A tensor by its original name; values are uniform in mean ± halfRange. */
export interface TensorSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly mean: number;
  readonly halfRange: number;
}

/** A tensor with its values. */
export interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

const spec = (name: string, shape: readonly number[], mean: number, halfRange: number): TensorSpec => ({
  name,
  shape,
  mean,
  halfRange,
});

/** Standard deviation gain / sqrt(fan in); a uniform's half range is sqrt(3) standard deviations. */
function matrix(name: string, shape: readonly number[], gain = 1): TensorSpec {
  const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
  return spec(name, shape, 0, gain * Math.sqrt(3 / fanIn));
}

const normWeight = (name: string, size: number): TensorSpec => spec(name, [size], 1, 0.25);
const bias = (name: string, size: number, halfRange = 0.1): TensorSpec => spec(name, [size], 0, halfRange);

/** A linear layer's weight and bias. */
function linear(name: string, out: number, fanIn: number, gain = 1, biasRange = 0.1): TensorSpec[] {
  return [matrix(`${name}.weight`, [out, fanIn], gain), bias(`${name}.bias`, out, biasRange)];
}

/** Above 1 makes attention peaked, so that a wrong position or head shows; much above amplifies rounding beyond bf16 tests. */
const GAIN = 1.25;

function visionTensors(config: ChatConfig): TensorSpec[] {
  const vision = config.vision_config;
  const hidden = vision.hidden_size;
  const grid = vision.image_size / vision.patch_size;
  const norm = (name: string): TensorSpec[] =>
    vision.norm_type === "rms_norm"
      ? [normWeight(`${name}.weight`, hidden)]
      : [normWeight(`${name}.weight`, hidden), bias(`${name}.bias`, hidden)];
  const out = [
    spec("vision_model.embeddings.class_embedding", [1, 1, hidden], 0, 1),
    spec("vision_model.embeddings.position_embedding", [1, grid * grid + 1, hidden], 0, 1),
    matrix("vision_model.embeddings.patch_embedding.weight", [hidden, 3, vision.patch_size, vision.patch_size]),
    bias("vision_model.embeddings.patch_embedding.bias", hidden),
  ];
  for (let layer = 0; layer < vision.num_hidden_layers; layer++) {
    const prefix = `vision_model.encoder.layers.${layer}`;
    out.push(...norm(`${prefix}.norm1`));
    const qkv = linear(`${prefix}.attn.qkv`, 3 * hidden, hidden, GAIN, 0.3);
    out.push(...(vision.qkv_bias ? qkv : qkv.slice(0, 1)));
    if (vision.qk_normalization) {
      out.push(normWeight(`${prefix}.attn.q_norm.weight`, hidden), normWeight(`${prefix}.attn.k_norm.weight`, hidden));
    }
    out.push(...linear(`${prefix}.attn.proj`, hidden, hidden));
    out.push(...norm(`${prefix}.norm2`));
    out.push(...linear(`${prefix}.mlp.fc1`, vision.intermediate_size, hidden));
    out.push(...linear(`${prefix}.mlp.fc2`, hidden, vision.intermediate_size));
    out.push(spec(`${prefix}.ls1`, [hidden], 0.75, 0.25), spec(`${prefix}.ls2`, [hidden], 0.75, 0.25));
  }
  return out;
}

function projectorTensors(config: ChatConfig): TensorSpec[] {
  const shuffled = config.vision_config.hidden_size * Math.round(1 / config.downsample_ratio) ** 2;
  const hidden = config.llm_config.hidden_size;
  return [
    normWeight("mlp1.0.weight", shuffled),
    bias("mlp1.0.bias", shuffled),
    ...linear("mlp1.1", hidden, shuffled),
    ...linear("mlp1.3", hidden, hidden),
  ];
}

function decoderTensors(config: ChatConfig): TensorSpec[] {
  const decoder = config.llm_config;
  const hidden = decoder.hidden_size;
  const qSize = headDim(decoder) * decoder.num_attention_heads;
  const kvSize = headDim(decoder) * decoder.num_key_value_heads;
  const hasQkvBias = decoder.model_type === "qwen2" || decoder.qkv_bias === true;
  const projection = (name: string, out: number, fanIn: number, hasBias: boolean, gain?: number, range?: number) =>
    linear(name, out, fanIn, gain, range).slice(0, hasBias ? 2 : 1);
  const bias = decoder.bias === true;
  const out = [spec("language_model.model.embed_tokens.weight", [decoder.vocab_size, hidden], 0, 0.5)];
  for (let layer = 0; layer < decoder.num_hidden_layers; layer++) {
    const prefix = `language_model.model.layers.${layer}`;
    out.push(
      normWeight(`${prefix}.input_layernorm.weight`, hidden),
      ...projection(`${prefix}.self_attn.q_proj`, qSize, hidden, hasQkvBias, GAIN, 0.3),
      ...projection(`${prefix}.self_attn.k_proj`, kvSize, hidden, hasQkvBias, GAIN, 0.3),
      ...projection(`${prefix}.self_attn.v_proj`, kvSize, hidden, hasQkvBias, 1, 0.3),
      ...projection(`${prefix}.self_attn.o_proj`, hidden, qSize, bias),
      normWeight(`${prefix}.post_attention_layernorm.weight`, hidden),
      ...projection(`${prefix}.mlp.gate_proj`, decoder.intermediate_size, hidden, bias, GAIN),
      ...projection(`${prefix}.mlp.up_proj`, decoder.intermediate_size, hidden, bias, GAIN),
      ...projection(`${prefix}.mlp.down_proj`, hidden, decoder.intermediate_size, bias),
    );
  }
  out.push(normWeight("language_model.model.norm.weight", hidden));
  if (!decoder.tie_word_embeddings) out.push(matrix("language_model.lm_head.weight", [decoder.vocab_size, hidden], 2));
  return out;
}

/** Every tensor of a configuration, by its original name. */
export function checkpointTensors(config: ChatConfig): TensorSpec[] {
  return [...visionTensors(config), ...projectorTensors(config), ...decoderTensors(config)];
}

const TRANSFORMERS_NAMES: ReadonlyArray<readonly [RegExp, string]> = [
  [/^vision_model\.embeddings\.class_embedding$/, "vision_tower.embeddings.cls_token"],
  [/^vision_model\.embeddings\.position_embedding$/, "vision_tower.embeddings.position_embeddings"],
  [/^vision_model\.embeddings\.patch_embedding\./, "vision_tower.embeddings.patch_embeddings.projection."],
  [/^vision_model\.encoder\.layers\./, "vision_tower.encoder.layer."],
  [/\.attn\.(?=[qk]_norm)/, ".attention."],
  [/\.attn\.proj\./, ".attention.projection_layer."],
  [/\.norm1\./, ".layernorm_before."],
  [/\.norm2\./, ".layernorm_after."],
  [/\.ls([12])$/, ".lambda_$1"],
  [/^mlp1\.0\./, "multi_modal_projector.layer_norm."],
  [/^mlp1\.1\./, "multi_modal_projector.linear_1."],
  [/^mlp1\.3\./, "multi_modal_projector.linear_2."],
];

/** The same values under transformers' names: `attn.qkv` becomes three tensors, the rest is renamed. */
export function toTransformersTensors(tensor: Tensor): Tensor[] {
  const name = TRANSFORMERS_NAMES.reduce((text, [pattern, to]) => text.replace(pattern, to), tensor.name);
  if (!name.includes(".attn.qkv.")) return [{ ...tensor, name }];
  const rows = tensor.shape[0]! / 3;
  const size = tensor.values.length / 3;
  return ["q", "k", "v"].map((part, i) => ({
    name: name.replace(".attn.qkv.", `.attention.${part}_proj.`),
    shape: [rows, ...tensor.shape.slice(1)],
    values: tensor.values.subarray(i * size, (i + 1) * size),
  }));
}
