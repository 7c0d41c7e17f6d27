#include "model/neutral_settings.h"

namespace tessera {

namespace {

constexpr NeutralSetting kModel[] = {
    {"use_backbone_lora"}, {"use_llm_lora"},  // ranks: adapters beside the weights
    {"pruned_heads"}, {"compression_config"},
};

constexpr NeutralSetting kVision[] = {
    {"use_mask_token"}, {"quantization_config"}, {"quant_config"}, {"compression_config"}, {"pruned_heads"},
    {"window_size"}, {"use_rotary_embeddings"}, {"rope_theta"}, {"logit_scale", 1},
};

constexpr NeutralSetting kDecoder[] = {
    // Which keys a query sees.
    {"use_sliding_window"}, {"use_bidirectional_attention"}, {"is_encoder_decoder"}, {"add_cross_attention"},
    {"attention_chunk_size"}, {"no_rope_layers"}, {"alibi"}, {"use_alibi"},
    // How q, k and their positions are made.
    {"partial_rotary_factor", 1}, {"rotary_pct", 1}, {"rotary_dim"}, {"rotary_emb_fraction", 1}, {"use_mrope"},
    {"mrope_section"}, {"use_qk_norm"}, {"qk_norm"}, {"qk_layernorm"}, {"attn_output_gate"}, {"clip_qkv"},
    {"query_pre_attn_scalar"}, {"attention_multiplier", 1}, {"attn_logit_softcapping"},
    // Scales and limits on the way.
    {"embedding_multiplier", 1}, {"residual_multiplier", 1}, {"scale_emb", 1}, {"scale_depth"}, {"dim_model_base"},
    {"logits_scaling", 1}, {"logit_scale", 1}, {"final_logit_softcapping"}, {"parallel_residual"},
    {"use_parallel_residual"},
    // Other kinds of layers.
    {"num_experts"}, {"num_local_experts"}, {"n_routed_experts"}, {"kv_lora_rank"}, {"q_lora_rank"},
    {"pruned_heads"}, {"compression_config"},
};

bool is_off(const Json& value, double off) {
  switch (value.type()) {
    case Json::Type::kNull: return true;
    case Json::Type::kBool: return !value.boolean();
    case Json::Type::kInteger:
    case Json::Type::kNumber: return value.number() == off;
    case Json::Type::kString: return value.string().empty();
    case Json::Type::kArray: return value.array().empty();
    case Json::Type::kObject: return value.object().empty();
  }
  return false;
}

}  // namespace

const std::span<const NeutralSetting> kModelSettings = kModel;
const std::span<const NeutralSetting> kVisionSettings = kVision;
const std::span<const NeutralSetting> kDecoderSettings = kDecoder;

void check_neutral(const Section& section, std::span<const NeutralSetting> settings) {
  for (const NeutralSetting& setting : settings) {
    const Json* value = section.find({setting.key});
    if (value != nullptr && !is_off(*value, setting.off)) section.reject(setting.key, "set", "it off (not implemented)");
  }
  const Json* layers = section.find({"layer_types"});
  if (layers == nullptr) return;
  if (!layers->is_array()) section.reject("layer_types", "no list", "one");
  for (const Json& layer : layers->array()) {
    if (!layer.is_string() || layer.string() != "full_attention") {
      section.reject("layer_types", "of another kind", "\"full_attention\" for every layer");
    }
  }
}

}  // namespace tessera
