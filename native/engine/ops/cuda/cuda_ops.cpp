#include "ops/cuda/cuda_ops.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "ops/cuda/cuda_error.h"
#include "ops/cuda/device_matrix.h"
#include "ops/cuda/paged_kv.h"

namespace tessera::cuda {

namespace {

__nv_bfloat16* bf16_of(const Rows& rows) {
  expects(rows.element == Element::kBf16, "rows of bf16");
  return reinterpret_cast<__nv_bfloat16*>(rows.data);
}

float* f32_of(const Rows& rows) {
  expects(rows.element == Element::kF32 && rows.stride == rows.cols, "rows of fp32 without gaps");
  return rows.data;
}

int count(size_t value) { return static_cast<int>(value); }

/** fp32 rows, with gaps or without, to another device. */
void copy_from_peer(const Rows& x, int from, const Rows& y, int to, cudaStream_t stream) {
  expects(x.element == Element::kF32 && y.element == Element::kF32, "rows of fp32");
  if (x.stride == x.cols && y.stride == y.cols) {
    const size_t bytes = x.rows * x.cols * sizeof(float);
    return must(cudaMemcpyPeerAsync(y.data, to, x.data, from, bytes, stream), "copy from another device");
  }
  cudaMemcpy3DPeerParms copy = {};
  const auto pitched = [](const Rows& rows) {
    return cudaPitchedPtr{rows.data, rows.stride * sizeof(float), rows.cols * sizeof(float), rows.rows};
  };
  copy.srcPtr = pitched(x), copy.srcDevice = from;
  copy.dstPtr = pitched(y), copy.dstDevice = to;
  copy.extent = {x.cols * sizeof(float), x.rows, 1};
  must(cudaMemcpy3DPeerAsync(&copy, stream), "copy from another device");
}

}  // namespace

CudaOps::CudaOps(int device) : device_(device), gemm_(device_), quantised_(device_, gemm_), inputs_(device_), sampler_(device_) {}

CudaOps::~CudaOps() {
  (void)cudaSetDevice(device_.index());
  (void)cudaStreamSynchronize(device_.stream());
}

void CudaOps::check_heads(int head_dim, int group) const {
  if (head_dim % 8 != 0 || head_dim > kMaxHeadDim) {
    refuse("open the engine", "attention's heads have " + std::to_string(head_dim) + " values",
           "a multiple of 8 up to " + std::to_string(kMaxHeadDim) + " on device cuda");
  }
  if (group > kMaxHeadGroup) {
    refuse("open the engine", std::to_string(group) + " query heads share a key head",
           "at most " + std::to_string(kMaxHeadGroup) + " on device cuda");
  }
}

Buffer CudaOps::allocate(size_t bytes) {
  // Whoever asks gives other memory up, or did: what was recorded may be over that.
  graphs_.forget();
  return device_.allocate(bytes);
}

void CudaOps::reserve(const WorkLimits& limits) {
  const size_t decode_rows = padded_tokens(limits.sequences);
  const size_t rows = std::max(limits.tokens, decode_rows);
  const auto bytes = [&](Scratch& scratch, size_t count) { scratch.rows(*this, 1, (count + 3) / 4); };
  gate_up_.rows(*this, rows, limits.gate_up_cols, Element::kBf16);
  delta(limits.tile_rows, limits.tile_cols);
  bytes(pixels_, limits.pixel_bytes);
  // Padded steps attend as far as their tables reach, which callers make sixteen wide at least.
  const int max_blocks = static_cast<int>(std::bit_ceil(static_cast<unsigned>(std::max(limits.max_blocks, 16))));
  bytes(workspace_, decode_workspace_bytes(count(decode_rows), max_blocks * kPageTokens, limits.num_heads, limits.head_dim));
  inputs_.reserve(rows, std::max(limits.sequences, decode_rows), max_blocks, limits.head_dim);
  sampler_.reserve(*this, limits);
  device_.reserve_stages(limits.pixel_bytes);
  quantised_.reserve();
}

std::string CudaOps::rehearse(const std::string& folder, const std::function<void()>& work) {
  device_.use();
  return gemm_.tune(folder, work);
}

void CudaOps::download(void* host, const float* device, size_t count) {
  settle();
  device_.use();
  must(cudaMemcpyAsync(host, device, count * sizeof(float), cudaMemcpyDeviceToHost, device_.stream()), "copy results");
  device_.synchronise();
}

void CudaOps::copy(const float* from, size_t count, float* to) {
  settle();
  device_.use();
  must(cudaMemcpyAsync(to, from, count * sizeof(float), cudaMemcpyDeviceToDevice, device_.stream()), "copy");
}

void CudaOps::receive(const Rows& x, Ops& from, const Rows& y) {
  auto& other = static_cast<CudaOps&>(from);
  other.settle();
  settle();
  copy_between(other, [&] { copy_from_peer(x, other.device_.index(), y, device_.index(), device_.stream()); });
}

void CudaOps::take_ids(CudaOps& from) {
  const size_t bytes = static_cast<size_t>(inputs_.tables().num_tokens) * sizeof(int32_t);
  copy_between(from, [&] {
    must(cudaMemcpyPeerAsync(inputs_.token_ids(), device_.index(), from.inputs_.token_ids(), from.device_.index(), bytes,
                             device_.stream()),
         "copy drawn tokens");
  });
}

void CudaOps::copy_between(CudaOps& from, const std::function<void()>& copy) {
  from.device_.use();
  from.computed_.record(from.device_.stream());
  device_.use();
  must(cudaStreamWaitEvent(device_.stream(), from.computed_.get(), 0), "wait for another device");
  copy();
  taken_.record(device_.stream());
  from.device_.use();
  must(cudaStreamWaitEvent(from.device_.stream(), taken_.get(), 0), "wait for another device");
}

void CudaOps::linear(const Rows& x, const Matrix& w, const Epilogue& epilogue, const Rows& y) {
  device_.use();
  const auto& matrix = static_cast<const DeviceMatrix&>(w);
  const bool has_delta = epilogue.scale != nullptr;
  expects(epilogue.residual == nullptr ? !has_delta : epilogue.residual == y.data && epilogue.residual_stride == y.stride,
          "a residual that is the result's own rows, and layer scale nowhere else");
  settle();
  const Rows out = has_delta ? delta(y.rows, y.cols) : y;
  Product product = {
      .m = x.rows, .n = w.rows, .k = w.cols, .x = bf16_of(x), .x_stride = x.stride, .w = matrix.data(),
      .y = out.data, .y_stride = out.stride, .y_type = out.element,
      .adds = epilogue.residual != nullptr && !has_delta,
  };
  if (epilogue.bias != nullptr) {
    product.bias = out.element == Element::kF32 ? static_cast<const void*>(epilogue.bias) : epilogue.bias + w.rows;
  }
  if (const QuantisedMatrix* quantised = matrix.quantised(); quantised != nullptr) {
    product.bias = nullptr;
    quantised_.run(*quantised, product, epilogue.bias);
  } else {
    gemm_.run(product);
  }
  if (epilogue.activation == Activation::kGelu) {
    must(bias_gelu(bf16_of(y), nullptr, y.rows, count(y.cols), device_.stream()), "run GELU");
  }
  if (has_delta) pending_ = {y, epilogue.scale};
}

void CudaOps::linear_swiglu(const Rows& x, const Matrix& gate_up, const float* bias, const Rows& y) {
  const Rows wide = gate_up_.rows(*this, x.rows, gate_up.rows, Element::kBf16);
  linear(x, gate_up, {.bias = bias}, wide);
  must(swiglu(bf16_of(wide), y.rows, count(y.cols), bf16_of(y), device_.stream()), "run SwiGLU");
}

void CudaOps::settle() {
  if (pending_.x.data == nullptr) return;
  device_.use();
  const Rows x = pending_.x;
  const ResidualUpdate update = {bf16_of(delta(x.rows, x.cols)), pending_.scale};
  pending_ = {};
  must(add_update(f32_of(x), update, count(x.rows), count(x.cols), device_.stream()), "add to the residual stream");
}

void CudaOps::norm(const Rows& x, const float* weight, const float* bias, float eps, const Rows& y) {
  device_.use();
  if (x.element == Element::kBf16) {
    expects(bias == nullptr && x.data == y.data && x.stride == y.stride, "an RMSNorm in place");
    must(norm_in_place(bf16_of(x), weight, eps, count(x.rows), count(x.cols), count(x.stride), device_.stream()),
         "normalise");
    return;
  }
  ResidualUpdate update;
  if (pending_.x.data == x.data) {
    update = {bf16_of(delta(x.rows, x.cols)), pending_.scale};
    pending_ = {};
  } else {
    settle();
  }
  must(cuda::norm(f32_of(x), update, weight, bias, eps, count(x.rows), count(x.cols), bf16_of(y), device_.stream()),
       "normalise");
}

void CudaOps::layer_norm(const Rows& x, const float* weight, const float* bias, float eps, const Rows& y) {
  norm(x, weight, bias, eps, y);
}

void CudaOps::rms_norm(const Rows& x, const float* weight, float eps, const Rows& y) {
  norm(x, weight, nullptr, eps, y);
}

void CudaOps::patchify(std::span<const uint8_t> pixels, int tile_size, int patch_size, const float mean[3],
                       const float std[3], const Rows& patches) {
  const Rows target = pixels_.rows(*this, 1, (pixels.size() + 3) / 4);
  device_.upload(target.data, pixels.size(), [&](size_t first, size_t piece, char* out) {
    std::memcpy(out, pixels.data() + first, piece);
  });
  const int num_tiles = count(pixels.size()) / (tile_size * tile_size * 3);
  must(cuda::patchify(reinterpret_cast<const uint8_t*>(target.data), num_tiles, tile_size, patch_size, mean, std,
                      bf16_of(patches), device_.stream()),
       "cut patches");
}

void CudaOps::add_positions(const Rows& patches, const float* class_embedding, const float* positions,
                            size_t patches_per_tile, const Rows& x) {
  settle();
  device_.use();
  must(cuda::add_positions(bf16_of(patches), class_embedding, positions, count(patches.rows / patches_per_tile),
                           count(patches_per_tile), count(x.cols), f32_of(x), device_.stream()),
       "add positions");
}

void CudaOps::tile_attention(const Rows& qkv, size_t tokens, int num_heads, WeightType, const Rows& y) {
  device_.use();
  must(cuda::tile_attention(bf16_of(qkv), count(qkv.rows / tokens), count(tokens), num_heads,
                            count(y.cols) / num_heads, bf16_of(y), device_.stream()),
       "attend over tiles");
}

void CudaOps::shuffle_norm(const Rows& x, const PixelShuffle& shuffle, const float* weight, const float* bias,
                           float eps, const Rows& y) {
  settle();
  device_.use();
  const size_t tokens = shuffle.grid * shuffle.grid + 1;
  must(cuda::shuffle_norm(f32_of(x), count(x.rows / tokens), count(shuffle.grid), count(shuffle.factor), count(x.cols),
                          shuffle.transposed, weight, bias, eps, bf16_of(y), device_.stream()),
       "gather the projector's rows");
}

size_t CudaOps::begin_step(const StepLayout& step) {
  if (inputs_.send(step)) graphs_.forget();
  if (inputs_.ids_from() != nullptr) {
    expects(sampler_.last_ids() != nullptr, "draws before a step that goes on from them");
    must(feed_ids(sampler_.last_ids(), inputs_.ids_from(), inputs_.tables().num_tokens, inputs_.token_ids(),
                  device_.stream()),
         "feed drawn tokens");
  }
  return inputs_.tables().num_tokens;
}

std::optional<Graphs::Shape> CudaOps::decode_shape() const {
  if (!inputs_.is_decode()) return std::nullopt;
  return Graphs::Shape(inputs_.tables().num_tokens, inputs_.tables().max_pages);
}

void CudaOps::repeat(const std::function<void()>& body) {
  settle();
  device_.use();
  const auto shape = decode_shape();
  if (!shape) return body();
  graphs_.run(*shape, device_.stream(), body);
}

void CudaOps::embed(const EmbeddingTable& table, const StepLayout&, const float* tiles, const Rows& y) {
  settle();
  device_.use();
  const auto& matrix = static_cast<const DeviceMatrix&>(table.rows);
  const Embeddings embeddings = {matrix.data(), table.first_id, count(matrix.rows), tiles};
  must(cuda::embed(embeddings, inputs_.token_ids(), inputs_.embedding_rows(), count(y.rows), count(y.cols), f32_of(y),
                   device_.stream()),
       "embed tokens");
}

std::unique_ptr<KvCache> CudaOps::make_kv_cache(const KvShape& shape, uint64_t budget_bytes, int min_blocks) {
  quantised_.reserve();  // all weights are there, and the cache takes what is left
  return std::make_unique<PagedKv>(device_, shape, budget_bytes, min_blocks);
}

void CudaOps::rotate_and_store(const Rows& qkv, const StepLayout& step, KvCache& cache, int layer) {
  device_.use();
  must(cuda::rotate_and_store(bf16_of(qkv), inputs_.cos(), inputs_.sin(), inputs_.tables(), step.num_heads,
                              static_cast<const PagedKv&>(cache).layer(layer), device_.stream()),
       "write the KV cache");
}

void CudaOps::paged_attention(const Rows& qkv, const StepLayout& step, const KvCache& cache, int layer, const Rows& y) {
  device_.use();
  const PagedLayer& pages = static_cast<const PagedKv&>(cache).layer(layer);
  if (inputs_.has_prompts()) {
    must(prefill_attention(bf16_of(qkv), inputs_.tables(), step.num_heads, pages, bf16_of(y), device_.stream()),
         "attend over prompts");
  }
  if (inputs_.max_decode_keys() == 0) return;
  StepTables tables = inputs_.tables();
  tables.max_keys = inputs_.max_decode_keys();
  const size_t bytes = decode_workspace_bytes(tables.num_sequences, tables.max_keys, step.num_heads, pages.head_dim);
  const Rows workspace = workspace_.rows(*this, 1, (bytes + 3) / 4);
  must(decode_attention(bf16_of(qkv), tables, step.num_heads, pages, workspace.data, bf16_of(y), device_.stream()),
       "attend");
}

void CudaOps::gather_rows(const Rows& x, const StepLayout&, const Rows& y) {
  settle();
  device_.use();
  must(cuda::gather_rows(f32_of(x), inputs_.wanted(), count(y.rows), count(y.cols), f32_of(y), device_.stream()),
       "gather rows");
}

void CudaOps::sample(const Rows& logits, std::span<const SamplingParams> params, std::span<SampledToken> out) {
  begin_draws(logits, params)->take(out);
}

std::unique_ptr<Draws> CudaOps::begin_draws(const Rows& logits, std::span<const SamplingParams> params) {
  settle();
  device_.use();
  expects(logits.rows == 0 || logits.element == Element::kF32, "logits of fp32");
  return sampler_.begin(*this, logits, params);
}

}  // namespace tessera::cuda
