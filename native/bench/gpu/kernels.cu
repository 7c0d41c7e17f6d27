/**
 * Owns the kernels' benchmark on a GPU: shapes of the 1B and the 8B, each with its bytes and flops, after the card's own
 * peaks. A JSON line each. `--small` runs tiny shapes once, to see that all of it runs.
 */
#include <cstring>

#include "measure.h"
#include "ops/cuda/kernels/kernels.h"

using namespace tessera::bench;
using namespace tessera::cuda;

namespace {

int rounds = 21;
bool is_small = false;

int sized(int full, int small) { return is_small ? small : full; }

void time_kernel(const std::string& kernel, const std::string& shape, Cost cost, const std::function<cudaError_t()>& run) {
  report(kernel, shape, milliseconds(run, rounds, is_small ? 1 << 12 : kFlushBytes), cost);
}

/** Multiplies registers with registers: nothing but mma.sync. */
__global__ void mma_peak_kernel(float* out, int count) {
  float sums[8][4] = {};
  const uint32_t one = 0x3F803F80u + threadIdx.x % 2;
  const uint32_t a[4] = {one, one, one, one};
  const uint32_t b[2] = {one, one};
  for (int i = 0; i < count; i++) {
    for (auto& sum : sums) gpu::mma_bf16(sum, a, b);
  }
  float total = 0;
  for (const auto& sum : sums) total += sum[0] + sum[1] + sum[2] + sum[3];
  out[blockIdx.x * blockDim.x + threadIdx.x] = total;
}

void peaks() {
  const size_t bytes = static_cast<size_t>(sized(1 << 29, 1 << 16));
  DeviceArray<char> from(bytes, [](size_t) { return 1; }), to(bytes, [](size_t) { return 0; });
  time_kernel("peak_copy", std::to_string(bytes) + " bytes", {2.0 * bytes, 0}, [&] {
    return cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice, nullptr);
  });
  const int blocks = sized(1056, 2), threads = sized(256, 32), count = sized(4096, 2);
  DeviceArray<float> out(static_cast<size_t>(blocks) * threads, [](size_t) { return 0.0f; });
  const double flops = 2.0 * 16 * 8 * 16 * 8 * count * blocks * (threads / 32);
  time_kernel("peak_mma_bf16", std::to_string(blocks) + " blocks", {0, flops}, [&] {
    return gpu::launch("mma_peak",
                       {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(static_cast<unsigned>(threads))},
                       mma_peak_kernel, out.data(), count);
  });
}

/** The tower of 1B to 14B over tiles of 448 pixels. */
void vision(int tiles) {
  const int tile = sized(448, 28), patch = 14, width = sized(1024, 64), wide = sized(4096, 128), heads = width / 64;
  const int grid = tile / patch, patches = grid * grid, tokens = patches + 1, rows = tiles * tokens;
  const std::string shape = std::to_string(tiles) + " tiles";
  const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
  DeviceArray<uint8_t> pixels(static_cast<size_t>(tiles) * tile * tile * 3, [](size_t i) { return static_cast<uint8_t>(i); });
  auto patched = bf16s(static_cast<size_t>(tiles) * patches * 3 * patch * patch);
  const double pixel_count = 3.0 * tiles * tile * tile;
  time_kernel("patchify", shape, {3 * pixel_count, 0}, [&] {
    return patchify(pixels.data(), tiles, tile, patch, mean, std, patched.data(), nullptr);
  });
  auto x = floats(static_cast<size_t>(rows) * width), weight = floats(wide), bias = floats(wide);
  auto delta = bf16s(static_cast<size_t>(rows) * width), y = bf16s(static_cast<size_t>(rows) * width);
  const double values = static_cast<double>(rows) * width;
  time_kernel("layer_norm", shape, {12 * values, 0}, [&] {
    return norm(x.data(), {delta.data(), weight.data()}, weight.data(), bias.data(), 1e-6f, rows, width, y.data(), nullptr);
  });
  auto mlp = bf16s(static_cast<size_t>(rows) * wide);
  time_kernel("bias_gelu", shape, {4.0 * rows * wide, 0}, [&] { return bias_gelu(mlp.data(), bias.data(), rows, wide, nullptr); });
  auto qkv = bf16s(static_cast<size_t>(rows) * 3 * width);
  const double flops = 4.0 * tiles * tokens * tokens * width;
  time_kernel("tile_attention", shape, {8 * values, flops}, [&] {
    return tile_attention(qkv.data(), tiles, tokens, heads, 64, y.data(), nullptr);
  });
  auto shuffled_weight = floats(static_cast<size_t>(4) * width);
  auto shuffled = bf16s(static_cast<size_t>(tiles) * patches * width);
  time_kernel("shuffle_norm", shape, {6.0 * tiles * patches * width, 0}, [&] {
    return shuffle_norm(x.data(), tiles, grid, 2, width, false, shuffled_weight.data(), shuffled_weight.data(), 1e-6f,
                        shuffled.data(), nullptr);
  });
}

/** A decoder's shape. */
struct Decoder {
  const char* name;
  int hidden, heads, kv_heads, head_dim, intermediate;
};

/** `sequences` of `before` tokens each get `added` new ones. */
void decoder_step(const Decoder& d, int sequences, int before, int added) {
  const std::string shape = std::string(d.name) + ", " + std::to_string(sequences) + " x " + std::to_string(added) + " after " +
                            std::to_string(before);
  const int tokens = sequences * added;
  const int keys = before + added;
  const int pages = (keys + kPageTokens - 1) / kPageTokens;
  const auto per_token = [&](const std::function<int32_t(size_t)>& at) {
    return std::make_unique<DeviceArray<int32_t>>(static_cast<size_t>(tokens), at);
  };
  const auto positions = per_token([&](size_t t) { return static_cast<int32_t>(before + t % added); });
  const auto sequence_of = per_token([&](size_t t) { return static_cast<int32_t>(t / added); });
  DeviceArray<int32_t> starts(sequences + 1, [&](size_t s) { return static_cast<int32_t>(s * added); });
  // Scattered: an odd stride visits each page once.
  const int total = sequences * pages;
  DeviceArray<int32_t> tables(total, [&](size_t i) { return static_cast<int32_t>(i * 7919 % total); });
  const StepTables step = {positions->data(), sequence_of->data(), starts.data(), tables.data(), pages, tokens,
                           sequences, added, keys};
  const size_t row = static_cast<size_t>(d.heads + 2 * d.kv_heads) * d.head_dim;
  auto qkv = bf16s(tokens * row), y = bf16s(static_cast<size_t>(tokens) * d.heads * d.head_dim);
  auto cache_pages = bf16s(static_cast<size_t>(total) * d.kv_heads * 2 * kPageTokens * d.head_dim);
  const PagedLayer cache = {cache_pages.data(), d.kv_heads, d.head_dim};
  auto cos = floats(static_cast<size_t>(tokens) * d.head_dim / 2), sin = floats(static_cast<size_t>(tokens) * d.head_dim / 2);
  time_kernel("rotate_and_store", shape, {4.0 * tokens * row, 0}, [&] {
    return rotate_and_store(qkv.data(), cos.data(), sin.data(), step, d.heads, cache, nullptr);
  });
  const double kv_bytes = 4.0 * sequences * keys * d.kv_heads * d.head_dim;
  const double seen = added == 1 ? keys : before + added / 2.0;
  const Cost cost = {kv_bytes + 4.0 * tokens * d.heads * d.head_dim, 4.0 * tokens * seen * d.heads * d.head_dim};
  if (added > 1) {
    time_kernel("prefill_attention", shape, cost, [&] {
      return prefill_attention(qkv.data(), step, d.heads, cache, y.data(), nullptr);
    });
  } else {
    DeviceArray<char> workspace(decode_workspace_bytes(sequences, keys, d.heads, d.head_dim), [](size_t) { return 0; });
    time_kernel("decode_attention", shape, cost, [&] {
      return decode_attention(qkv.data(), step, d.heads, cache, workspace.data(), y.data(), nullptr);
    });
  }
  auto x = floats(static_cast<size_t>(tokens) * d.hidden), weight = floats(d.hidden);
  auto delta = bf16s(static_cast<size_t>(tokens) * d.hidden), normal = bf16s(static_cast<size_t>(tokens) * d.hidden);
  time_kernel("rms_norm", shape, {12.0 * tokens * d.hidden, 0}, [&] {
    return norm(x.data(), {delta.data(), nullptr}, weight.data(), nullptr, 1e-6f, tokens, d.hidden, normal.data(), nullptr);
  });
  auto gate_up = bf16s(static_cast<size_t>(tokens) * 2 * d.intermediate);
  auto activated = bf16s(static_cast<size_t>(tokens) * d.intermediate);
  time_kernel("swiglu", shape, {6.0 * tokens * d.intermediate, 0}, [&] {
    return swiglu(gate_up.data(), tokens, d.intermediate, activated.data(), nullptr);
  });
}

void draws(int rows, const char* how, SamplingRow row) {
  const int vocab = sized(151'674, 5'000);
  DeviceArray<float> logits(static_cast<size_t>(rows) * vocab, [](size_t i) { return 12 * noise(i) * noise(i / 3); });
  DeviceArray<SamplingRow> params(rows, [&](size_t r) {
    SamplingRow own = row;
    own.seed = r;
    return own;
  });
  DeviceArray<char> workspace(sampling_workspace_bytes(rows, vocab, 0, 0), [](size_t) { return 0; });
  DeviceArray<int32_t> ids(rows, [](size_t) { return 0; });
  auto logprobs = floats(rows);
  const SamplingTables tables = {.rows = params.data()};
  time_kernel("sample", std::to_string(rows) + " rows, " + how, {4.0 * rows * vocab, 0}, [&] {
    return sample(logits.data(), vocab, rows, vocab, tables, workspace.data(), {ids.data(), logprobs.data()}, nullptr);
  });
}

/** Products of few rows with the largest matrix of a layer: gate and up. */
void coded_products(const Decoder& d, int rows) {
  const int n = sized(2 * d.intermediate, 96), k = sized(d.hidden, 128);
  const std::string shape = std::string(d.name) + " gate and up, " + std::to_string(rows) + " rows";
  const double weights = static_cast<double>(n) * k, flops = 2 * weights * rows;
  auto x = bf16s(static_cast<size_t>(rows) * k), y = bf16s(static_cast<size_t>(rows) * n);
  auto expanded = bf16s(static_cast<size_t>(n) * k);
  DeviceArray<uint8_t> codes(static_cast<size_t>(n) * k, [](size_t i) { return static_cast<uint8_t>(i * 37 & 0x77); });
  auto scales = floats(static_cast<size_t>(n) * k / 64), table = floats(16);
  const auto time_kind = [&](const char* name, CodedMatrix::Kind kind, double bytes) {
    const CodedMatrix w = {kind, n, k, codes.data(), scales.data(), codes.data(), 64, table.data()};
    time_kernel(std::string("product_") + name, shape, {bytes + 2.0 * rows * (n + k), flops}, [&] {
      return multiply_coded(w, x.data(), k, rows, {y.data(), static_cast<size_t>(n)}, nullptr);
    });
    if (rows > 1) return;
    time_kernel(std::string("expand_") + name, shape, {bytes + 2 * weights, 0}, [&] {
      return expand_coded(w, expanded.data(), nullptr);
    });
  };
  time_kind("nf4", CodedMatrix::Kind::kTable4, weights * 9 / 16);
  time_kind("awq", CodedMatrix::Kind::kAwq4, weights * (9.0 / 16 + 1.0 / 64));
  time_kind("fp8", CodedMatrix::Kind::kFp8, weights);
  time_kind("int8_head", CodedMatrix::Kind::kInt8, weights);
  DeviceArray<int8_t> row_codes(static_cast<size_t>(rows) * k, [](size_t) { return 0; });
  DeviceArray<int32_t> counts(rows, [](size_t) { return 0; }), outliers(static_cast<size_t>(rows) * kMaxOutliers, [](size_t) { return 0; });
  auto row_scales = floats(rows);
  const Int8Rows coded = {row_codes.data(), row_scales.data(), counts.data(), outliers.data()};
  time_kernel("quantise_rows", shape, {3.0 * rows * k, 0}, [&] { return quantise_rows(x.data(), k, rows, k, coded, nullptr); });
  DeviceArray<uint8_t> fp8_codes(static_cast<size_t>(rows) * k, [](size_t) { return 0; });
  auto largest = floats(rows);
  const Fp8Rows fp8 = {fp8_codes.data(), row_scales.data()};
  time_kernel("fp8_rows", shape, {3.0 * rows * k, 0}, [&] { return quantise_fp8_rows(x.data(), k, rows, k, fp8, nullptr); });
  time_kernel("fp8_together", shape, {5.0 * rows * k, 0}, [&] {
    return quantise_fp8_together(x.data(), k, rows, k, largest.data(), fp8, nullptr);
  });
  const Int8Matrix w = {reinterpret_cast<const int8_t*>(codes.data()), scales.data(), n, k};
  time_kernel("product_int8", shape, {weights + rows * (k + 2.0 * n), flops}, [&] {
    return multiply_int8(w, x.data(), k, coded, rows, {y.data(), static_cast<size_t>(n)}, nullptr);
  });
}

}  // namespace

int main(int argc, char** argv) {
  is_small = argc > 1 && std::strcmp(argv[1], "--small") == 0;
  if (is_small) rounds = 1;
  peaks();
  vision(1);
  vision(sized(13, 2));
  const Decoder decoders[] = {{"1B", 896, 14, 2, 64, 4864}, {"8B", 3584, 28, 4, 128, 18'944}};
  for (const Decoder& decoder : decoders) {
    decoder_step(decoder, 1, 0, sized(2048, 40));
    for (const int batch : {1, 8, 64, 256}) {
      if (is_small && batch > 8) continue;
      decoder_step(decoder, batch, sized(3400, 70), 1);
    }
  }
  for (const Decoder& decoder : decoders) {
    for (const int rows : {1, 4, 8}) coded_products(decoder, rows);
  }
  for (const int rows : {1, 64}) {
    if (is_small && rows > 1) continue;
    draws(rows, "greedy", {});
    draws(rows, "top_p 0.9", {.temperature = 1, .top_p = 0.9f});
    draws(rows, "top_k 50", {.temperature = 1, .top_k = 50});
    draws(rows, "temperature alone", {.temperature = 1});
  }
  return 0;
}
