/** Owns the engine behind the public API: opens a checkpoint on a device and runs what the checks let through. */
#include "tessera/engine.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <utility>

#include "model/batch_check.h"
#include "model/config.h"
#include "model/decoder.h"
#include "model/id_feed.h"
#include "model/placement.h"
#include "model/rehearsal.h"
#include "model/shard.h"
#include "model/tile_slots.h"
#include "model/vision_towers.h"
#include "model/weights.h"
#include "ops/backend.h"
#include "ops/cpu/cpu_group.h"
#include "ops/cpu/cpu_ops.h"
#include "runtime/available_cpus.h"

namespace tessera {

namespace {

StepResult collect(std::span<const uint8_t> sample, int max_top, std::span<const SampledToken> sampled) {
  StepResult result;
  result.max_top = max_top;
  result.top_ids.assign(sample.size() * max_top, -1);
  result.top_logprobs.assign(sample.size() * max_top, 0);
  static const SampledToken none;
  size_t next = 0;
  for (size_t s = 0; s < sample.size(); s++) {
    const SampledToken& token = sample[s] == 0 ? none : sampled[next++];
    if (sample[s] != 0 && token.id < 0) {
      refuse("sample", "logits of sequence " + std::to_string(s) + " are not finite", "numbers");
    }
    result.token_ids.push_back(token.id);
    result.logprobs.push_back(token.logprob);
    for (size_t i = 0; i < token.top.size(); i++) {
      result.top_ids[s * max_top + i] = token.top[i].id;
      result.top_logprobs[s * max_top + i] = token.top[i].logprob;
    }
  }
  return result;
}

/** A step whose draws are on their way; counted among the engine's steps in flight until they are taken. */
class LocalStep final : public StepInFlight {
 public:
  LocalStep(const StepBatch& batch, std::atomic<int>& in_flight)
      : sample_(batch.sample.begin(), batch.sample.end()), in_flight_(in_flight) {
    for (const int32_t num_top : batch.num_top) max_top_ = std::max(max_top_, num_top);
    in_flight_++;
  }
  ~LocalStep() override { end(); }
  /** Room for what is drawn. */
  std::vector<SampledToken>& sampled() { return sampled_; }
  /** Null where it is drawn already. */
  void await(std::unique_ptr<Draws> draws) { draws_ = std::move(draws); }
  StepResult take() override {
    if (draws_ != nullptr) draws_->take(sampled_);
    end();
    return collect(sample_, max_top_, sampled_);
  }

 private:
  void end() {
    draws_ = nullptr;
    if (!std::exchange(has_ended_, true)) in_flight_--;
  }

  std::vector<uint8_t> sample_;
  int max_top_ = 0;
  std::vector<SampledToken> sampled_;
  std::unique_ptr<Draws> draws_;
  bool has_ended_ = false;
  std::atomic<int>& in_flight_;
};

class LocalEngine final : public Engine {
 public:
  explicit LocalEngine(const EngineOptions& options)
      : config_(read_checked(options)),
        placement_(options, [&](int device) { return make_ops(options, device); },
                   [&](std::span<Ops* const> devices) { return make_group(options, devices); }),
        ops_(placement_.first()),
        plan_(checked_plan(config_, options, ops_)),
        weights_(load_weights(config_, Checkpoint(options.model_path), placement_, plan_, options)),
        towers_(config_, weights_.towers, placement_),
        decoder_(config_.decoder, weights_.decoder, placement_, options.micro_batch_rows),
        slots_(ops_, options.num_tile_slots, config_.tokens_per_tile(), config_.decoder.hidden_size) {
    const bool is_bounded = options.max_step_tokens > 0 && ops_.has_own_memory();
    if (is_bounded) reserve(options);
    // Last, as it may take all that is left.
    decoder_.open_caches(options.kv_cache_bytes, ops_.has_own_memory() ? options.kv_memory_share : 0);
    info_ = {
        .device = options.device,
        .dtype = options.dtype,
        .isa = ops_.isa(),
        .num_threads = ops_.num_threads(),
        .num_devices = placement_.num_devices(),
        .tile_size = config_.tile_size,
        .tokens_per_tile = config_.tokens_per_tile(),
        .vocab_size = config_.decoder.vocab_size,
        .hidden_size = config_.decoder.hidden_size,
        .kv_block_size = kKvBlockSize,
        .num_kv_blocks = decoder_.num_kv_blocks(),
        .kv_cache_bytes = decoder_.kv_bytes(),
        .max_step_tokens = is_bounded ? options.max_step_tokens : 0,
        .max_step_sequences = is_bounded ? options.max_step_sequences : 0,
        .num_tile_slots = options.num_tile_slots,
        .steps_in_flight = kMaxStepsInFlight,
        .trained_length = config_.decoder.trained_length,
        .context_length = config_.decoder.context_length,
        .weight_bytes = weights_.bytes,
        .dtype_note = plan_.note,
        .algorithms = "off",
        .weight_cache = weights_.cache_note,
    };
    if (is_bounded && !options.algorithm_cache.empty()) info_.algorithms = rehearse_all(options.algorithm_cache);
  }

  const EngineInfo& info() const override { return info_; }

  void encode_tiles(std::span<const uint8_t> pixels, std::span<const int32_t> slots) override {
    check_tiles(info_, pixels, slots);
    towers_.encode(pixels, slots, slots_);
  }

  std::unique_ptr<StepInFlight> submit(const StepBatch& batch) override {
    check_batch(info_, batch, slots_.filled(), feed_.draw_rows());
    if (in_flight_ >= kMaxStepsInFlight) {
      refuse("step", std::to_string(in_flight_) + " steps are in flight", "at most " + std::to_string(kMaxStepsInFlight));
    }
    const std::span<const int32_t> fed = feed_.rows_of(batch);
    std::vector<int32_t> wanted;
    std::vector<SamplingParams> params;
    for (size_t s = 0; s < batch.num_sequences(); s++) {
      if (batch.sample[s] == 0) continue;
      const int32_t last = batch.query_starts[s + 1] - 1;
      wanted.push_back(last);
      params.push_back(sampling_of(batch, s, static_cast<uint64_t>(batch.positions[last]) + 1));
      if (!fed.empty()) params.back().id_from = fed[s];
    }
    auto step = std::make_unique<LocalStep>(batch, in_flight_);
    step->sampled().resize(params.size());
    StepBatch known = batch;
    std::span<const int32_t> ids_from;
    if (ops_.feeds_ids()) {
      ids_from = feed_.token_rows_of(batch, fed);
    } else if (!fed.empty()) {
      known.token_ids = feed_.resolve_ids(batch, fed);
      feed_.resolve_penalties(params);
    }
    const Rows logits = decoder_.forward(known, slots_.embeddings(), wanted, ids_from);
    if (ops_.feeds_ids()) {
      step->await(ops_.begin_draws(logits, params));
    } else {
      ops_.sample(logits, params, step->sampled());
      feed_.remember_ids(step->sampled());
    }
    feed_.remember(batch);
    return step;
  }

  void check(const StepBatch& batch) const override {
    check_batch(info_, batch, slots_.filled(), feed_.draw_rows());
  }

  std::vector<float> logits(const StepBatch& batch) override {
    check_batch(info_, batch, slots_.filled(), {});
    std::vector<int32_t> all(batch.num_tokens());
    for (size_t t = 0; t < all.size(); t++) all[t] = static_cast<int32_t>(t);
    const Rows logits = decoder_.forward(batch, slots_.embeddings(), all, {});
    std::vector<float> out(logits.rows * logits.cols);
    ops_.download(out.data(), logits.data, out.size());
    return out;
  }

  std::vector<float> tile_embeddings(std::span<const int32_t> slots) override {
    check_filled(info_, slots, slots_.filled());
    const size_t size = static_cast<size_t>(info_.tokens_per_tile) * info_.hidden_size;
    std::vector<float> out(slots.size() * size);
    for (size_t i = 0; i < slots.size(); i++) {
      ops_.download(out.data() + i * size, slots_.embeddings() + slots[i] * size, size);
    }
    return out;
  }

 private:
  /** Takes the memory of the largest step and of the most tiles at once, so that none is taken later. */
  void reserve(const EngineOptions& options) {
    const size_t patches = static_cast<size_t>(config_.grid()) * config_.grid();
    const int num_shards = placement_.num_shards();
    // The last has no fewer columns of the MLP than the others.
    const DecoderConfig share = share_of(config_.decoder, {num_shards - 1, num_shards});
    towers_.reserve();
    decoder_.reserve({
        .tokens = static_cast<size_t>(options.max_step_tokens),
        .sequences = static_cast<size_t>(options.max_step_sequences),
        .seen_tokens = static_cast<size_t>(std::min(config_.decoder.vocab_size, config_.decoder.context_length)),
        .biases = static_cast<size_t>(std::min(config_.decoder.vocab_size, kMaxBiases)),
        .max_blocks = (share.context_length + kKvBlockSize - 1) / kKvBlockSize,
        .num_heads = share.num_heads,
        .head_dim = share.head_dim,
        .vocab_size = static_cast<size_t>(share.vocab_size),
        .gate_up_cols = 2 * static_cast<size_t>(share.intermediate_size),
        .tile_rows = towers_.tiles_per_group() * (patches + 1),
        .tile_cols = static_cast<size_t>(config_.vision.hidden_size),
        .pixel_bytes = towers_.tiles_per_group() * config_.tile_size * config_.tile_size * 3,
    });
  }

  /** On all devices at once. @return what came of it on the first */
  std::string rehearse_all(const std::string& folder) {
    std::string note;
    std::function<void()> work = [&] {
      towers_.rehearse();
      rehearse_steps(info_, decoder_, ops_, slots_.embeddings());
    };
    for (int i = placement_.num_devices(); i-- > 0;) {
      work = [&, i, inner = std::move(work)] { note = placement_.device(i).rehearse(folder, inner); };
    }
    work();
    return note;
  }

  static ModelConfig read_checked(const EngineOptions& options) {
    const ModelConfig config = read_config(options.model_path);
    check_layer_devices(options.layer_devices, config.decoder.num_layers);
    check_tensor_parallel(config.decoder, options.tensor_parallel);
    return config;
  }

  static WeightPlan checked_plan(const ModelConfig& config, const EngineOptions& options, const Ops& ops) {
    ops.check_heads(config.vision.hidden_size / config.vision.num_heads, 1);
    const DecoderConfig share = share_of(config.decoder, {0, options.tensor_parallel});
    ops.check_heads(share.head_dim, share.num_heads / share.num_kv_heads);
    return plan_weights(config, options.dtype, options.int8_head);
  }

  static std::unique_ptr<Ops> make_ops(const EngineOptions& options, int device) {
    const Dtype base = is_quantised(options.dtype) ? Dtype::kBf16 : options.dtype;
    if (options.device == Device::kCuda) return cuda_backend()->make_ops(base, device);
    const int num_threads = options.num_threads == 0 ? available_cpus() : options.num_threads;
    return std::make_unique<cpu::CpuOps>(base, num_threads, cpu::choose_kernels());
  }

  static std::unique_ptr<DeviceGroup> make_group(const EngineOptions& options, std::span<Ops* const> devices) {
    if (options.device == Device::kCuda) return cuda_backend()->make_group(devices);
    return std::make_unique<cpu::CpuGroup>();
  }

  template <class T>
  static T value_or(std::span<const T> values, size_t s, T otherwise) {
    return values.empty() ? otherwise : values[s];
  }

  template <class T>
  static std::span<const T> part(std::span<const T> values, std::span<const int32_t> starts, size_t s) {
    return starts.empty() ? std::span<const T>() : values.subspan(starts[s], starts[s + 1] - starts[s]);
  }

  static SamplingParams sampling_of(const StepBatch& batch, size_t s, uint64_t position) {
    return {
        .temperature = batch.temperature[s],
        .top_p = batch.top_p[s],
        .top_k = batch.top_k[s],
        .seed = batch.seed[s],
        .position = position,
        .min_p = value_or(batch.min_p, s, 0.0f),
        .repetition_penalty = value_or(batch.repetition_penalty, s, 1.0f),
        .presence_penalty = value_or(batch.presence_penalty, s, 0.0f),
        .frequency_penalty = value_or(batch.frequency_penalty, s, 0.0f),
        .num_top = value_or(batch.num_top, s, 0),
        .seen_ids = part(batch.seen_ids, batch.seen_starts, s),
        .seen_counts = part(batch.seen_counts, batch.seen_starts, s),
        .bias_ids = part(batch.bias_ids, batch.bias_starts, s),
        .biases = part(batch.biases, batch.bias_starts, s),
    };
  }

  const ModelConfig config_;
  const Placement placement_;
  Ops& ops_;  // the first device
  const WeightPlan plan_;
  const ModelWeights weights_;
  VisionTowers towers_;
  Decoder decoder_;
  TileSlots slots_;
  EngineInfo info_;
  IdFeed feed_;
  std::atomic<int> in_flight_ = 0;
};

}  // namespace

std::unique_ptr<Engine> Engine::open(const EngineOptions& options) {
  check_options(options);
  return std::make_unique<LocalEngine>(options);
}

}  // namespace tessera
