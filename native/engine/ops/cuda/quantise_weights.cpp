#include "ops/cuda/quantise_weights.h"

#include <cuda_fp8.h>

#include <algorithm>
#include <cmath>

#include "ops/awq.h"
#include "ops/cpu/convert.h"
#include "ops/cpu/joined.h"
#include "ops/cuda/read_ahead.h"
#include "ops/quantise.h"
#include "runtime/available_cpus.h"
#include "runtime/thread_pool.h"
#include "tessera/error.h"

namespace tessera::cuda {

namespace {

/** The largest number of E4M3. */
constexpr float kLargestFp8 = 448;
/** Rows of weights and their columns, for the library's products of bytes. */
constexpr size_t kByteStep = 16;

/** Values that a thread asks the disk for while it is at as many before them. */
constexpr size_t kAhead = size_t{2} << 20;

/** Weights below which threads would cost more than they save. */
constexpr size_t kWorthThreads = size_t{1} << 20;

/** Rows of several tensors on their way from the checkpoint, a thread pool around them. */
class Source {
 public:
  explicit Source(std::span<const HostTensor> parts)
      : rows_(parts, Join::kStacked), faults_(parts), pool_(rows() * cols() < kWorthThreads ? 1 : available_cpus()) {}

  size_t rows() const { return rows_.rows(); }
  size_t cols() const { return rows_.cols(); }
  std::span<const HostTensor> parts() const { return rows_.parts(); }
  ThreadPool& pool() { return pool_; }

  /** work(row of all, where it is from, its finite values) for each row, on all threads. */
  template <class Work>
  void each_row(const char* type_name, const Work& work) {
    const size_t rows_ahead = std::max<size_t>(1, kAhead / cols());
    pool_.parallel_for(rows(), [&](size_t row, int) {
      std::vector<float> values(cols());
      const cpu::SourceRow from = rows_.at(row);
      if (from.row % rows_ahead == 0) read_ahead(*from.part, (from.row + rows_ahead) * cols(), rows_ahead * cols());
      cpu::to_floats(from.data(), from.part->type, 0, cols(), values.data());
      if (std::isinf(cpu::largest_magnitude(values.data(), cols()))) {
        faults_.add(from.index);
      } else {
        work(row, from, values);
      }
    });
    faults_.refuse_any("a value is not finite", (std::string("numbers, to make them ") + type_name).c_str());
  }

 private:
  cpu::Joined rows_;
  cpu::Faults faults_;
  ThreadPool pool_;
};

HostWeights to_int8(std::span<const HostTensor> parts) {
  Source source(parts);
  const size_t cols = source.cols();
  HostWeights out = {.codes = std::vector<uint8_t>(source.rows() * cols), .scales = std::vector<float>(source.rows())};
  const cpu::Int8Kernel& kernel = cpu::choose_kernels().int8;
  source.each_row("int8", [&](size_t row, const cpu::SourceRow&, const std::vector<float>& values) {
    uint8_t* codes = &out.codes[row * cols];
    out.scales[row] = kernel.quantise(values.data(), cols, 0, 1, codes);
    for (size_t i = 0; i < cols; i++) codes[i] ^= 0x80;  // the CPU's kernels take them 128 too large
  });
  return out;
}

HostWeights to_4_bits(std::span<const HostTensor> parts, WeightType type) {
  Source source(parts);
  const size_t cols = source.cols();
  const size_t num_blocks = cols / kBlock4;
  HostWeights out = {.codes = std::vector<uint8_t>(source.rows() * cols / 2)};
  std::vector<std::vector<float>> absmax;  // of each tensor's blocks
  for (const HostTensor& part : parts) absmax.emplace_back(part.rows * num_blocks);
  source.each_row("4 bits", [&](size_t row, const cpu::SourceRow& from, const std::vector<float>& values) {
    for (size_t block = 0; block < num_blocks; block++) {
      uint8_t codes[kBlock4];
      absmax[from.index][from.row * num_blocks + block] = encode_block4(type, &values[block * kBlock4], codes);
      uint8_t* pairs = &out.codes[(row * cols + block * kBlock4) / 2];
      for (size_t i = 0; i < kBlock4 / 2; i++) pairs[i] = static_cast<uint8_t>(codes[i * 2] | codes[i * 2 + 1] << 4);
    }
  });
  for (const auto& values : absmax) {
    const QuantisedScales scales = quantise_scales(values, [&](size_t count, const auto& work) {
      source.pool().parallel_for(count, [&](size_t index, int) { work(index); });
    });
    for (size_t i = 0; i < values.size(); i++) out.scales.push_back(scales.at(i));
  }
  return out;
}

HostWeights from_awq(std::span<const HostTensor> parts) {
  Source source(parts);
  const size_t cols = source.cols(), group_cols = parts[0].group_cols, num_groups = cols / group_cols;
  HostWeights out = {.codes = std::vector<uint8_t>(source.rows() * cols / 2),
                     .scales = std::vector<float>(source.rows() * num_groups),
                     .zeros = std::vector<uint8_t>(source.rows() * num_groups),
                     .group_cols = group_cols};
  cpu::Faults faults(parts);
  for (const HostTensor& part : parts) read_ahead_awq(part);  // a row has something of every line
  size_t first = 0;  // row of all
  for (size_t index = 0; index < parts.size(); first += parts[index++].rows) {
    const HostTensor& part = parts[index];
    source.pool().parallel_for(part.rows, [&](size_t row, int) {
      for (size_t group = 0; group < num_groups; group++) {
        const size_t at = (first + row) * num_groups + group;
        out.scales[at] = awq::scale_at(part, group, row);
        out.zeros[at] = awq::code_at(part.zeros, part, group, row);
        if (!awq::is_usable(out.scales[at])) faults.add(index);
      }
      for (size_t col = 0; col < cols; col += 2) {
        const int low = awq::code_at(part.data, part, col, row), high = awq::code_at(part.data, part, col + 1, row);
        out.codes[((first + row) * cols + col) / 2] = static_cast<uint8_t>(low | high << 4);
      }
    });
  }
  faults.refuse_any(awq::kUnusable, awq::kExpected);
  return out;
}

HostWeights to_fp8(std::span<const HostTensor> parts, bool one_scale) {
  Source source(parts);
  const size_t cols = source.cols();
  std::vector<float> largest(source.rows());
  source.each_row("FP8", [&](size_t row, const cpu::SourceRow&, const std::vector<float>& values) {
    largest[row] = cpu::largest_magnitude(values.data(), cols);
  });
  if (one_scale) std::fill(largest.begin(), largest.end(), *std::max_element(largest.begin(), largest.end()));
  HostWeights out = {.codes = std::vector<uint8_t>(source.rows() * cols), .scales = std::vector<float>(source.rows())};
  source.each_row("FP8", [&](size_t row, const cpu::SourceRow&, const std::vector<float>& values) {
    // As activations are, in fp8_rows.cu.
    const float factor = largest[row] > 1e-30f ? kLargestFp8 / largest[row] : 0.0f;
    out.scales[row] = largest[row] / kLargestFp8;
    for (size_t i = 0; i < cols; i++) {
      out.codes[row * cols + i] = __nv_cvt_float_to_fp8(values[i] * factor, __NV_SATFINITE, __NV_E4M3);
    }
  });
  return out;
}

}  // namespace

bool takes_shape(size_t rows, size_t cols, WeightType type) {
  switch (type) {
    case WeightType::kInt8: return rows % kByteStep == 0 && cols % kByteStep == 0;
    case WeightType::kFp8: return rows % kByteStep == 0 && cols % kBlock4 == 0;
    default: return cols % kBlock4 == 0;
  }
}

HostWeights quantise_weights(std::span<const HostTensor> parts, WeightType type, bool one_scale) {
  switch (type) {
    case WeightType::kInt8:
    case WeightType::kInt8Head: return to_int8(parts);
    case WeightType::kAwq: return from_awq(parts);
    case WeightType::kFp8: return to_fp8(parts, one_scale);
    default: return to_4_bits(parts, type);
  }
}

std::vector<std::vector<float>> expand_weights(std::span<const HostTensor> parts, WeightType type) {
  std::vector<std::vector<float>> out;
  for (const HostTensor& part : parts) {
    Source source({&part, 1});
    std::vector<float> values(part.rows * part.cols);
    source.each_row("few bits", [&](size_t row, const cpu::SourceRow&, const std::vector<float>& own) {
      std::copy(own.begin(), own.end(), &values[row * part.cols]);
    });
    if (type == WeightType::kNf4 || type == WeightType::kFp4) {
      const auto read = [&](size_t first, size_t count, float* to) { std::copy_n(&values[first], count, to); };
      const auto each = [&](size_t count, const auto& work) {
        source.pool().parallel_for(count, [&](size_t index, int) { work(index); });
      };
      const Tensor4 tensor(type, values.size(), read, each);
      for (size_t i = 0; i < values.size(); i++) values[i] = tensor.value(i);
    } else {
      source.pool().parallel_for(part.rows, [&](size_t row, int) {
        float* own = &values[row * part.cols];
        const float largest = cpu::largest_magnitude(own, part.cols);
        if (type == WeightType::kFp8) {
          const float factor = largest > 1e-30f ? kLargestFp8 / largest : 0.0f;
          for (size_t i = 0; i < part.cols; i++) {
            const auto code = __nv_cvt_float_to_fp8(own[i] * factor, __NV_SATFINITE, __NV_E4M3);
            own[i] = static_cast<float>(__half(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3))) * (largest / kLargestFp8);
          }
          return;
        }
        const float factor = 1.0f / largest * 127.0f;
        for (size_t i = 0; i < part.cols; i++) {
          own[i] = largest > 0 ? std::nearbyint(own[i] * factor) * (largest / 127.0f) : 0.0f;
        }
      });
    }
    out.push_back(std::move(values));
  }
  return out;
}

}  // namespace tessera::cuda
