/** Owns the names of a model's tensors in each published layout. */
#pragma once

#include <string>

#include "model/config.h"
#include "model/safetensors.h"

namespace tessera {

/** Names of one checkpoint. Those of layers go behind `vision_layer(i)` and `decoder_layer(i)`. */
struct TensorNames {
  std::string vision;          // prefix of the tower
  std::string vision_layers;   // prefix of its layers, before the number
  std::string projector_norm;
  std::string projector_linear1;
  std::string projector_linear2;
  std::string decoder;         // prefix of the decoder
  std::string head;
  bool fused_qkv = false;

  const char* class_embedding = "";
  const char* positions = "";
  const char* patch = "";
  const char* norm1 = "";
  const char* norm2 = "";
  const char* attention = "";  // prefix of q_norm, k_norm and, where not fused, q_proj, k_proj, v_proj
  const char* proj = "";
  const char* scale1 = "";
  const char* scale2 = "";

  std::string vision_layer(int i) const { return vision_layers + std::to_string(i) + "."; }
  std::string embedding() const { return decoder + "embed_tokens.weight"; }
  std::string decoder_layer(int i) const { return decoder + "layers." + std::to_string(i) + "."; }
};

/** Transformers' own layout is found in its present spelling (`model.vision_tower`) and the first (`vision_tower`). */
inline TensorNames tensor_names(Layout layout, const Checkpoint& checkpoint) {
  TensorNames names;
  if (layout == Layout::kOriginal) {
    names.vision = "vision_model.";
    names.vision_layers = "vision_model.encoder.layers.";
    names.projector_norm = "mlp1.0";
    names.projector_linear1 = "mlp1.1";
    names.projector_linear2 = "mlp1.3";
    names.decoder = "language_model.model.";
    names.head = "language_model.lm_head.weight";
    names.fused_qkv = true;
    names.class_embedding = "embeddings.class_embedding";
    names.positions = "embeddings.position_embedding";
    names.patch = "embeddings.patch_embedding";
    names.norm1 = "norm1";
    names.norm2 = "norm2";
    names.attention = "attn.";
    names.proj = "attn.proj";
    names.scale1 = "ls1";
    names.scale2 = "ls2";
    return names;
  }
  const bool first_spelling = checkpoint.has("vision_tower.embeddings.cls_token");
  const std::string prefix = first_spelling ? "" : "model.";
  names.vision = prefix + "vision_tower.";
  names.vision_layers = prefix + "vision_tower.encoder.layer.";
  names.projector_norm = prefix + "multi_modal_projector.layer_norm";
  names.projector_linear1 = prefix + "multi_modal_projector.linear_1";
  names.projector_linear2 = prefix + "multi_modal_projector.linear_2";
  names.decoder = first_spelling ? "language_model.model." : "model.language_model.";
  names.head = first_spelling ? "language_model.lm_head.weight" : "lm_head.weight";
  names.class_embedding = "embeddings.cls_token";
  names.positions = "embeddings.position_embeddings";
  names.patch = "embeddings.patch_embeddings.projection";
  names.norm1 = "layernorm_before";
  names.norm2 = "layernorm_after";
  names.attention = "attention.";
  names.proj = "attention.projection_layer";
  names.scale1 = "lambda_1";
  names.scale2 = "lambda_2";
  return names;
}

}  // namespace tessera
