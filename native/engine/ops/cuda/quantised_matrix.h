/** Owns weights in few bits in device memory, as the kernels of products take them. */
#pragma once

#include "ops/cuda/device_matrix.h"
#include "ops/cuda/kernels/kernels.h"

namespace tessera::cuda {

class QuantisedMatrix final : public DeviceMatrix {
 public:
  /** Bits that activations have in products of many rows; `coded` and what it points to is in `memory`. */
  enum class Activations {
    kBf16,
    kInt8,  // LLM.int8, for few rows too
    kFp8,
  };

  QuantisedMatrix(Buffer memory, const CodedMatrix& coded, Activations activations)
      : DeviceMatrix(memory, coded.n, coded.k), coded_(coded), activations_(activations) {
    bytes = memory.bytes;
  }
  const QuantisedMatrix* quantised() const override { return this; }

  const CodedMatrix& coded() const { return coded_; }
  Int8Matrix int8() const {
    return {reinterpret_cast<const int8_t*>(coded_.codes), coded_.scales, coded_.n, coded_.k};
  }
  Activations activations() const { return activations_; }

 private:
  CodedMatrix coded_;
  Activations activations_;
};

}  // namespace tessera::cuda
