/** Owns the proof that both forms of config.json mean the same, and that what is not implemented is refused by name. */
#include "model/config.h"

#include <algorithm>
#include <cmath>

#include "model/weights.h"
#include "tests/check.h"
#include "tests/support.h"

namespace {

using namespace tessera;
using namespace tessera::tests;

const std::string kOriginal = R"({"model_type":"internvl_chat","force_image_size":448,"downsample_ratio":0.5,
  "ps_version":"v2","select_layer":-1,
  "vision_config":{"hidden_size":1024,"num_hidden_layers":24,"num_attention_heads":16,"intermediate_size":4096,
    "image_size":448,"patch_size":14,"norm_type":"layer_norm","layer_norm_eps":1e-06,"qkv_bias":true,
    "qk_normalization":false,"hidden_act":"gelu","num_channels":3},
  "llm_config":{"model_type":"qwen2","vocab_size":151674,"hidden_size":896,"num_hidden_layers":24,
    "num_attention_heads":14,"num_key_value_heads":2,"intermediate_size":4864,"max_position_embeddings":32768,
    "rms_norm_eps":1e-06,"rope_theta":1000000.0,"rope_scaling":{"factor":2.0,"rope_type":"dynamic","type":"dynamic"},
    "tie_word_embeddings":false,"hidden_act":"silu","use_sliding_window":false,"sliding_window":null}})";

const std::string kTransformers = R"({"model_type":"internvl","downsample_ratio":0.5,"projector_hidden_act":"gelu",
  "vision_feature_layer":-1,"vision_feature_select_strategy":"default","tie_word_embeddings":false,
  "vision_config":{"hidden_size":1024,"num_hidden_layers":24,"num_attention_heads":16,"intermediate_size":4096,
    "image_size":[448,448],"patch_size":[14,14],"norm_type":"layer_norm","layer_norm_eps":1e-06,"attention_bias":true,
    "use_qk_norm":false,"hidden_act":"gelu","use_mean_pooling":true},
  "text_config":{"model_type":"qwen2","vocab_size":151674,"hidden_size":896,"num_hidden_layers":24,
    "num_attention_heads":14,"num_key_value_heads":2,"intermediate_size":4864,"max_position_embeddings":32768,
    "rms_norm_eps":1e-06,"rope_parameters":{"rope_type":"dynamic","factor":2.0,"rope_theta":1000000.0},
    "hidden_act":"silu"}})";

ModelConfig parse(const std::string& text) { return parse_config(text, "config.json"); }

/** `text` with its only `from` replaced. */
std::string with(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  if (at == std::string::npos) fail(__FILE__, __LINE__, "no " + from);
  return text.replace(at, from.size(), to);
}

TEST(config_takes_settings_that_are_off) {
  const ModelConfig config = parse(with(kOriginal, "\"hidden_act\":\"silu\"",
      R"("hidden_act":"silu","architectures":["Qwen2ForCausalLM"],"pruned_heads":{},"add_cross_attention":false,
         "num_experts":0,"logit_scale":1.0,"layer_types":["full_attention"],"clip_qkv":null)"));
  CHECK_EQUAL(config.decoder.num_layers, 24);
}

TEST(config_of_both_forms_is_the_same) {
  for (const auto& text : {kOriginal, kTransformers}) {
    const ModelConfig config = parse(text);
    CHECK_EQUAL(config.tile_size, 448);
    CHECK_EQUAL(config.grid(), 32);
    CHECK_EQUAL(config.tokens_per_tile(), 256);
    CHECK(!config.shuffle_transposed);
    CHECK_EQUAL(config.vision.num_layers, 24);
    CHECK_EQUAL(config.vision.trained_grid, 32);
    CHECK(config.vision.qkv_bias && !config.vision.qk_norm && !config.vision.rms_norm);
    CHECK_EQUAL(config.decoder.head_dim, 64);
    CHECK_EQUAL(config.decoder.num_kv_heads, 2);
    CHECK_EQUAL(config.decoder.rope_theta, 1e6);
    CHECK_EQUAL(config.decoder.trained_length, 32768);
    CHECK_EQUAL(config.decoder.context_length, 65536);
    CHECK(config.decoder.qkv_bias && !config.decoder.out_bias && !config.decoder.mlp_bias);
    CHECK(config.decoder.tied_head == false);
  }
}

TEST(config_takes_the_older_rope_names) {
  const std::string old = with(kTransformers, R"("rope_parameters":{"rope_type":"dynamic","factor":2.0,"rope_theta":1000000.0})",
                               R"("rope_theta":50000,"rope_scaling":null)");
  CHECK_EQUAL(parse(old).decoder.rope_theta, 50000.0);
}

const std::string kInternLm3 = with(kOriginal, kOriginal.substr(kOriginal.find("\"llm_config\"")),
  R"("llm_config":{"model_type":"internlm3","architectures":["InternLM3ForCausalLM"],"vocab_size":128526,
    "hidden_size":4096,"num_hidden_layers":48,"num_attention_heads":32,"num_key_value_heads":2,"head_dim":128,
    "intermediate_size":10240,"max_position_embeddings":32768,"rms_norm_eps":1e-05,"rope_theta":50000000,
    "rope_scaling":{"factor":6.0,"rope_type":"dynamic"},"qkv_bias":false,"bias":false,"hidden_act":"silu",
    "tie_word_embeddings":false}})");

TEST(config_reads_internlm3) {
  const DecoderConfig plain = parse(kInternLm3).decoder;
  CHECK_EQUAL(plain.head_dim, 128);
  CHECK_EQUAL(plain.rope_theta, 5e7);
  CHECK_EQUAL(plain.rope_factor, 6.0);
  CHECK_EQUAL(plain.trained_length, 32768);
  CHECK_EQUAL(plain.context_length, 6 * 32768);
  CHECK(!plain.qkv_bias && !plain.out_bias && !plain.mlp_bias);
  const DecoderConfig biased = parse(with(kInternLm3, "\"bias\":false", "\"bias\":true")).decoder;
  CHECK(!biased.qkv_bias && biased.out_bias && biased.mlp_bias);
  // As transformers saves the two flags.
  const std::string renamed = with(with(kInternLm3, "qkv_bias\":false", "attention_bias\":true"), "\"bias\":false",
                                   "\"mlp_bias\":false");
  const DecoderConfig other = parse(renamed).decoder;
  CHECK(other.qkv_bias && other.out_bias && !other.mlp_bias);
  CHECK_EQUAL(parse(with(kInternLm3, "\"head_dim\":128", "\"head_dim\":64")).decoder.head_dim, 64);
}

TEST(config_counts_layers_from_either_end) {
  CHECK_EQUAL(parse(with(kOriginal, "\"select_layer\":-1", "\"select_layer\":-4")).vision.num_layers, 21);
  CHECK_EQUAL(parse(with(kOriginal, "\"select_layer\":-1", "\"select_layer\":3")).vision.num_layers, 3);
  CHECK_REFUSES("select_layer", parse(with(kOriginal, "\"select_layer\":-1", "\"select_layer\":99")));
}

TEST(config_takes_ps_version_v1) {
  CHECK(parse(with(kOriginal, "\"ps_version\":\"v2\"", "\"ps_version\":\"v1\"")).shuffle_transposed);
  CHECK_REFUSES("ps_version", parse(with(kOriginal, "\"ps_version\":\"v2\"", "\"ps_version\":\"v3\"")));
}

TEST(config_refuses_by_name) {
  const auto refuses = [](const std::string& base, const char* name, const char* from, const char* to) {
    CHECK_REFUSES(name, parse(with(base, from, to)));
  };
  refuses(kOriginal, "model_type", "internvl_chat", "llava");
  refuses(kOriginal, "llm_config.model_type is \"llama\"", "qwen2", "llama");
  refuses(kOriginal, "llm_config.architectures is \"Phi3ForCausalLM\"", "\"model_type\":\"qwen2\"",
          R"("model_type":"qwen2","architectures":["Phi3ForCausalLM"])");
  refuses(kOriginal, "llm_config.qkv_bias", "\"hidden_act\":\"silu\"", R"("hidden_act":"silu","qkv_bias":false)");
  refuses(kOriginal, "llm_config.bias", "\"hidden_act\":\"silu\"", R"("hidden_act":"silu","bias":true)");
  refuses(kOriginal, "llm_config.layer_types", "\"hidden_act\":\"silu\"",
          R"("hidden_act":"silu","layer_types":["full_attention","sliding_attention"])");
  refuses(kOriginal, "llm_config.num_experts", "\"hidden_act\":\"silu\"", R"("hidden_act":"silu","num_experts":8)");
  refuses(kOriginal, "llm_config.logits_scaling", "\"hidden_act\":\"silu\"",
          R"("hidden_act":"silu","logits_scaling":2.0)");
  refuses(kOriginal, "use_llm_lora", "\"ps_version\"", R"("use_llm_lora":16,"ps_version")");
  refuses(kOriginal, "rope_scaling.mrope_section", "\"factor\":2.0", R"("factor":2.0,"mrope_section":[16,24,24])");
  refuses(kOriginal, "rope_scaling.factor", "\"factor\":2.0", "\"factor\":0.5");
  refuses(kOriginal, "rope_scaling.factor", "\"factor\":2.0,", "");
  refuses(kInternLm3, "head_dim", "\"head_dim\":128", "\"head_dim\":127");
  refuses(kTransformers, "vision_config.use_mask_token", "\"use_mean_pooling\":true",
          R"("use_mean_pooling":true,"use_mask_token":true)");
  refuses(kOriginal, "rope_scaling.rope_type", "\"rope_type\":\"dynamic\"", "\"rope_type\":\"yarn\"");
  refuses(kOriginal, "rope_scaling.type is \"linear\"", "\"type\":\"dynamic\"", "\"type\":\"linear\"");
  refuses(kTransformers, "text_config.rope_scaling is set beside rope_parameters", "\"rope_parameters\"",
          R"("rope_scaling":{"type":"default"},"rope_parameters")");
  refuses(kOriginal, "llm_config.layer_types is no list", "\"hidden_act\":\"silu\"",
          R"("hidden_act":"silu","layer_types":"sliding_attention")");
  refuses(kOriginal, "llm_config.compression_config", "\"hidden_act\":\"silu\"",
          R"("hidden_act":"silu","compression_config":{"format":"pack-quantized"})");
  refuses(kOriginal, "use_sliding_window", "\"use_sliding_window\":false", "\"use_sliding_window\":true");
  refuses(kOriginal, "llm_config.hidden_act", "\"silu\"", "\"relu\"");
  refuses(kOriginal, "vision_config.hidden_act", "\"gelu\"", "\"quick_gelu\"");
  refuses(kOriginal, "norm_type", "\"layer_norm\"", "\"group_norm\"");
  refuses(kOriginal, "num_channels", "\"num_channels\":3", "\"num_channels\":4");
  refuses(kOriginal, "downsample_ratio", "0.5", "0.4");
  refuses(kOriginal, "downsample_ratio", "0.5", "0");
  refuses(kOriginal, "force_image_size", "\"force_image_size\":448", "\"force_image_size\":450");
  refuses(kOriginal, "at most 256 patches a side", "\"force_image_size\":448", "\"force_image_size\":65520");
  refuses(kOriginal, "vision_config.image_size", "\"image_size\":448,\"patch", "\"image_size\":447,\"patch");
  refuses(kOriginal, "vocab_size", "151674", "0");
  refuses(kOriginal, "vocab_size", "151674", "99999999999");
  refuses(kOriginal, "vocab_size", "151674", "1.5");
  refuses(kOriginal, "vocab_size", "\"vocab_size\":151674,", "");
  refuses(kOriginal, "hidden_size", "\"hidden_size\":896", "\"hidden_size\":895");
  refuses(kOriginal, "num_key_value_heads", "\"num_key_value_heads\":2", "\"num_key_value_heads\":3");
  refuses(kOriginal, "rms_norm_eps", "\"rms_norm_eps\":1e-06", "\"rms_norm_eps\":-1");
  refuses(kOriginal, "rope_theta", "1000000.0", "0");
  refuses(kOriginal, "vision_config", "\"vision_config\"", "\"vision\"");
  refuses(kTransformers, "patch_size", "[14,14]", "[14,16]");
  refuses(kTransformers, "use_mean_pooling", "\"use_mean_pooling\":true", "\"use_mean_pooling\":false");
  refuses(kTransformers, "vision_feature_select_strategy", "\"default\"", "\"full\"");
  refuses(kTransformers, "vision_feature_layer", "\"vision_feature_layer\":-1", "\"vision_feature_layer\":[-1,-2]");
  refuses(kTransformers, "rope_parameters.rope_type", "\"rope_type\":\"dynamic\"", "\"rope_type\":\"llama3\"");
  CHECK_REFUSES("no object", parse("[]"));
}

TEST(positions_are_resampled_evenly) {
  // Weights of the four points add up to 1, the grid's mirror images stay mirror images, and the class row is untouched.
  const int from = 4;
  const int to = 8;
  std::vector<float> flat(1 + from * from, 3.0f);
  for (float value : interpolate_positions(flat, 1, from, to)) CHECK(std::abs(value - 3) < 1e-6);
  Random random(1);
  std::vector<float> positions = random.values(1 + from * from);
  std::vector<float> mirrored = positions;
  for (int y = 0; y < from; y++) std::reverse(mirrored.begin() + 1 + y * from, mirrored.begin() + 1 + (y + 1) * from);
  const auto out = interpolate_positions(positions, 1, from, to);
  const auto back = interpolate_positions(mirrored, 1, from, to);
  CHECK_EQUAL(out.size(), 1u + to * to);
  CHECK_EQUAL(out[0], positions[0]);
  for (int y = 0; y < to; y++) {
    for (int x = 0; x < to; x++) CHECK(std::abs(out[1 + y * to + x] - back[1 + y * to + to - 1 - x]) < 1e-6);
  }
  CHECK(same_bits(interpolate_positions(positions, 1, from, from), positions));
}

}  // namespace
