#include "model/rope.h"

#include <algorithm>
#include <cmath>

namespace tessera {

Rope::Rope(const DecoderConfig& config) : config_(config), trained_(frequencies(config.trained_length)) {}

// In fp32, operation by operation as transformers has it: at long distances the last bit of a base shows.
std::vector<float> Rope::frequencies(int length) const {
  const float dim = static_cast<float>(config_.head_dim);
  float base = static_cast<float>(config_.rope_theta);
  if (length > config_.trained_length && config_.rope_factor > 1) {
    const float factor = static_cast<float>(config_.rope_factor);
    const float stretch = factor * static_cast<float>(length) / static_cast<float>(config_.trained_length) -
                          (factor - 1);
    base *= std::pow(stretch, static_cast<float>(config_.head_dim / (config_.head_dim - 2.0)));
  }
  std::vector<float> out(config_.head_dim / 2);
  for (size_t i = 0; i < out.size(); i++) out[i] = 1.0f / std::pow(base, static_cast<float>(2 * i) / dim);
  return out;
}

void Rope::angles(const StepBatch& batch, std::vector<float>& cos, std::vector<float>& sin) const {
  const size_t half = trained_.size();
  cos.resize(batch.num_tokens() * half);
  sin.resize(batch.num_tokens() * half);
  for (size_t s = 0; s < batch.num_sequences(); s++) {
    int length = config_.trained_length;  // the one `scaled` is for
    std::vector<float> scaled;
    for (int32_t t = batch.query_starts[s]; t < batch.query_starts[s + 1]; t++) {
      const int needed = std::max({config_.trained_length, batch.prompt_lengths[s], batch.positions[t] + 1});
      if (needed != length) scaled = frequencies(needed);
      length = needed;
      const std::vector<float>& used = length == config_.trained_length ? trained_ : scaled;
      for (size_t i = 0; i < half; i++) {
        const float angle = static_cast<float>(batch.positions[t]) * used[i];
        cos[t * half + i] = std::cos(angle);
        sin[t * half + i] = std::sin(angle);
      }
    }
  }
}

}  // namespace tessera
