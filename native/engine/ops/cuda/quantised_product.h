/**
 * Owns how products with weights of few bits are made, by their number of rows: few by kernels straight from codes, many
 * by cuBLASLt, from weights expanded to bf16 a piece at a time, or from activations in 8 bits.
 */
#pragma once

#include "ops/cuda/blas/gemm.h"
#include "ops/cuda/device.h"
#include "ops/cuda/quantised_matrix.h"

namespace tessera::cuda {

/** How this GPU multiplies FP8 with FP8. */
enum class Fp8Products {
  kNone,      // below sm_89: weights are expanded
  kOneScale,  // a scale for each matrix
  kRowScales, // one for each row of weights and of activations: sm_90, cuBLASLt 12.9
};

class QuantisedProducts {
 public:
  QuantisedProducts(const Device& device, Gemm& gemm);

  Fp8Products fp8() const { return fp8_; }
  /** Counts the memory that products with the matrix need. */
  void expect(const QuantisedMatrix& w);
  /** Takes the memory for all matrices so far, before anything is recorded. */
  void reserve();
  /** Puts the product, whose weights are `w`, on the stream. `bias` is fp32 with its bf16 behind it, or null. */
  void run(const QuantisedMatrix& w, const Product& product, const float* bias);

 private:
  void run_coded(const QuantisedMatrix& w, const Product& product, const float* bias);
  void run_expanded(const CodedMatrix& w, const Product& product, const float* bias);
  void run_int8(const QuantisedMatrix& w, const Product& product, const float* bias);
  void run_fp8(const QuantisedMatrix& w, const Product& product, const float* bias);
  char* scratch() const { return static_cast<char*>(scratch_.memory.get()); }

  const Device& device_;
  Gemm& gemm_;
  Fp8Products fp8_;
  size_t wanted_bytes_ = 0;
  Buffer scratch_;  // of one product at a time
};

}  // namespace tessera::cuda
