#include "model/quantised_config.h"

namespace tessera {

namespace {

/** Codes lie together in blocks of so many columns. */
constexpr int kGroupStep = 64;

int group_of(const Section& config) {
  config.only({"quant_method"}, "awq");
  const std::string version = config.text({"version"}, "gemm");
  if (version != "gemm" && version != "GEMM") config.reject("version", "\"" + version + "\"", "\"gemm\"");
  config.integer({"bits", "w_bit"}, 4, 4);
  config.only("zero_point", true);
  const int group = config.integer({"group_size", "q_group_size"}, 1, 1 << 16);
  if (group % kGroupStep != 0) config.reject("group_size", std::to_string(group), "a multiple of 64");
  return group;
}

}  // namespace

int read_awq_group(const Section& root, const Section& decoder) {
  for (const Section* section : {&root, &decoder}) {
    for (const char* key : {"quantization_config", "quant_config"}) {
      if (section->find({key}) != nullptr) return group_of(section->section({key}));
    }
  }
  return 0;
}

}  // namespace tessera
