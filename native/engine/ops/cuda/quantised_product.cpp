#include "ops/cuda/quantised_product.h"

#include <algorithm>
#include <string>

#include "ops/cuda/cuda_error.h"

namespace tessera::cuda {

namespace {

/**
 * Rows up to which weights are multiplied straight from codes, eight rows a pass. A pass reads 0.6 bytes a weight of 4
 * bits; to expand it reads those, writes 2 and reads 2 again, but after that products run at tensor cores' speed.
 */
constexpr size_t kFewRows = 32;
/** Of weights that are expanded at once: as much as a large GPU's L2 holds, so that they are read from there. */
constexpr size_t kExpandedBytes = size_t{64} << 20;
/** Of sums in int32 at once. */
constexpr size_t kSumsBytes = size_t{64} << 20;
/** Rows of activations that are in 8 bits at once. */
constexpr size_t kMostRows = 4096;

size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

/** Rows of weights that are expanded at once: whole 64s, or all. */
size_t expanded_rows(const CodedMatrix& w) {
  const size_t most = std::max<size_t>(kExpandedBytes / (2 * static_cast<size_t>(w.k)) / 64 * 64, 64);
  return std::min<size_t>(most, w.n);
}

/** Rows of activations that go through a product with int8 weights at once. */
size_t int8_rows(const Int8Matrix& w) {
  return std::clamp<size_t>(kSumsBytes / (sizeof(int32_t) * static_cast<size_t>(w.n)), 64, kMostRows);
}

/** Arrays of a product, one after the other in scratch memory. */
class Arrays {
 public:
  explicit Arrays(char* base) : base_(base) {}
  template <class T>
  T* take(size_t count) {
    T* out = reinterpret_cast<T*>(base_ + bytes_);
    bytes_ += aligned(count * sizeof(T));
    return out;
  }
  size_t bytes() const { return bytes_; }

 private:
  char* base_;
  size_t bytes_ = 0;
};

struct Int8Arrays {
  Int8Rows rows;
  int32_t* sums;

  Int8Arrays(Arrays& arrays, const Int8Matrix& w, size_t num_rows) {
    rows = {arrays.take<int8_t>(num_rows * w.k), arrays.take<float>(num_rows), arrays.take<int32_t>(num_rows),
            arrays.take<int32_t>(num_rows * kMaxOutliers)};
    sums = arrays.take<int32_t>(num_rows * w.n);
  }
};

struct Fp8Arrays {
  Fp8Rows rows;
  float* largest;

  Fp8Arrays(Arrays& arrays, const CodedMatrix& w, size_t num_rows) {
    rows = {arrays.take<uint8_t>(num_rows * w.k), arrays.take<float>(num_rows)};
    largest = arrays.take<float>(num_rows);
  }
};

const __nv_bfloat16* x_at(const Product& product, size_t row) {
  return static_cast<const __nv_bfloat16*>(product.x) + row * product.x_stride;
}

char* y_at(const Product& product, size_t row, size_t col) {
  return static_cast<char*>(product.y) + (row * product.y_stride + col) * element_bytes(product.y_type);
}

ProductTarget target_at(const Product& product, const float* bias, size_t row) {
  return {y_at(product, row, 0), product.y_stride, product.y_type == Element::kF32, product.adds, bias};
}

/** The same product of some rows. */
Product rows_of(Product product, size_t first, size_t count) {
  product.x = x_at(product, first);
  product.y = y_at(product, first, 0);
  product.m = count;
  return product;
}

int count(size_t value) { return static_cast<int>(value); }

/** The bias as bf16, which lies behind it. */
const __nv_bfloat16* narrow(const float* bias, const CodedMatrix& w) {
  return reinterpret_cast<const __nv_bfloat16*>(bias + w.n);
}

Fp8Products fp8_of(const Device& device) {
  const int capability = std::stoi(device.arch().substr(3));
  if (capability < 89) return Fp8Products::kNone;
  const bool has_row_scales = capability == 90 && lt::library().version() >= lt::kScaleLinesVersion;
  return has_row_scales ? Fp8Products::kRowScales : Fp8Products::kOneScale;
}

}  // namespace

QuantisedProducts::QuantisedProducts(const Device& device, Gemm& gemm)
    : device_(device), gemm_(gemm), fp8_(fp8_of(device)) {}

void QuantisedProducts::expect(const QuantisedMatrix& w) {
  Arrays arrays(nullptr);
  switch (w.activations()) {
    case QuantisedMatrix::Activations::kBf16: arrays.take<__nv_bfloat16>(expanded_rows(w.coded()) * w.coded().k); break;
    case QuantisedMatrix::Activations::kInt8: Int8Arrays(arrays, w.int8(), int8_rows(w.int8())); break;
    case QuantisedMatrix::Activations::kFp8: Fp8Arrays(arrays, w.coded(), kMostRows); break;
  }
  wanted_bytes_ = std::max(wanted_bytes_, arrays.bytes());
}

void QuantisedProducts::reserve() {
  if (scratch_.bytes >= wanted_bytes_) return;
  scratch_ = {};
  scratch_ = device_.allocate_raw(wanted_bytes_);
}

void QuantisedProducts::run(const QuantisedMatrix& w, const Product& product, const float* bias) {
  reserve();
  switch (w.activations()) {
    case QuantisedMatrix::Activations::kBf16: return run_coded(w, product, bias);
    case QuantisedMatrix::Activations::kInt8: return run_int8(w, product, bias);
    case QuantisedMatrix::Activations::kFp8: return run_fp8(w, product, bias);
  }
}

void QuantisedProducts::run_coded(const QuantisedMatrix& w, const Product& product, const float* bias) {
  if (product.m > kFewRows) return run_expanded(w.coded(), product, bias);
  for (size_t first = 0; first < product.m; first += kMaxCodedRows) {
    const size_t rows = std::min<size_t>(kMaxCodedRows, product.m - first);
    must(multiply_coded(w.coded(), x_at(product, first), product.x_stride, count(rows), target_at(product, bias, first),
                        device_.stream()),
         "multiply by weights of few bits");
  }
}

void QuantisedProducts::run_expanded(const CodedMatrix& w, const Product& product, const float* bias) {
  const bool scales_sums = w.kind == CodedMatrix::Kind::kInt8;
  expects(!scales_sums || (bias == nullptr && !product.adds && product.y_type == Element::kF32),
          "sums of int8 weights that nothing was added to");
  const size_t at_once = expanded_rows(w);
  const size_t row_bytes = w.kind == CodedMatrix::Kind::kTable4 || w.kind == CodedMatrix::Kind::kAwq4 ? w.k / 2 : w.k;
  const size_t row_scales = row_bytes == static_cast<size_t>(w.k) ? 1 : w.k / w.group_cols;
  auto* expanded = reinterpret_cast<__nv_bfloat16*>(scratch());
  for (size_t first = 0; first < static_cast<size_t>(w.n); first += at_once) {
    CodedMatrix part = w;
    part.n = count(std::min<size_t>(at_once, w.n - first));
    part.codes += first * row_bytes;
    part.scales += first * row_scales;
    if (part.zeros != nullptr) part.zeros += first * row_scales;
    must(expand_coded(part, expanded, device_.stream()), "expand weights");
    Product piece = product;
    piece.n = part.n;
    piece.w = expanded;
    piece.y = y_at(product, 0, first);
    if (bias != nullptr) {
      piece.bias = product.y_type == Element::kF32 ? static_cast<const void*>(bias + first) : narrow(bias, w) + first;
    }
    gemm_.run(piece);
  }
  if (!scales_sums) return;
  must(scale_sums(reinterpret_cast<float*>(y_at(product, 0, 0)), product.y_stride, count(product.m), w.n, w.scales,
                  device_.stream()),
       "scale sums");
}

void QuantisedProducts::run_int8(const QuantisedMatrix& matrix, const Product& product, const float* bias) {
  const Int8Matrix w = matrix.int8();
  const size_t at_once = int8_rows(w);
  Arrays arrays(scratch());
  const Int8Arrays own(arrays, w, at_once);
  for (size_t first = 0; first < product.m; first += at_once) {
    const size_t rows = std::min(at_once, product.m - first);
    const __nv_bfloat16* x = x_at(product, first);
    const ProductTarget y = target_at(product, bias, first);
    must(quantise_rows(x, product.x_stride, count(rows), w.k, own.rows, device_.stream()), "quantise activations");
    if (rows <= kMaxCodedRows) {
      must(multiply_int8(w, x, product.x_stride, own.rows, count(rows), y, device_.stream()), "multiply by int8");
      continue;
    }
    gemm_.run({.m = rows, .n = static_cast<size_t>(w.n), .k = static_cast<size_t>(w.k), .x = own.rows.codes,
               .x_stride = static_cast<size_t>(w.k), .w = w.codes, .y = own.sums, .y_stride = static_cast<size_t>(w.n),
               .factors = Factors::kInt8});
    must(finish_int8(own.sums, w, x, product.x_stride, own.rows, count(rows), y, device_.stream()), "scale sums");
  }
}

void QuantisedProducts::run_fp8(const QuantisedMatrix& matrix, const Product& product, const float* bias) {
  if (product.m <= kMaxCodedRows) return run_coded(matrix, product, bias);
  const CodedMatrix& w = matrix.coded();
  Arrays arrays(scratch());
  const Fp8Arrays own(arrays, w, kMostRows);
  for (size_t first = 0; first < product.m; first += kMostRows) {
    Product piece = rows_of(product, first, std::min(kMostRows, product.m - first));
    const auto* x = static_cast<const __nv_bfloat16*>(piece.x);
    must(fp8_ == Fp8Products::kRowScales
             ? quantise_fp8_rows(x, piece.x_stride, count(piece.m), w.k, own.rows, device_.stream())
             : quantise_fp8_together(x, piece.x_stride, count(piece.m), w.k, own.largest, own.rows, device_.stream()),
         "quantise activations");
    piece.x = own.rows.codes;
    piece.x_stride = w.k;
    piece.w = w.codes;
    piece.bias = bias == nullptr ? nullptr : narrow(bias, w);
    piece.factors = Factors::kFp8;
    piece.w_scales = w.scales;
    piece.x_scales = own.rows.scales;
    piece.scales_rows = fp8_ == Fp8Products::kRowScales;
    gemm_.run(piece);
  }
}

}  // namespace tessera::cuda
