/** Owns tests of the way of weights to a GPU: a piece is read while the one before is on its way, and all arrive. */
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "ops/cuda/device.h"
#include "runtime/counters.h"
#include "tests/check.h"

using namespace tessera;

namespace {

/** Whether work of a stream runs only when somebody waits for it: then it shows who waits for what. */
bool is_lazy() {
  const auto value = [](const char* name) { return std::string(std::getenv(name) == nullptr ? "" : std::getenv(name)); };
  return value("CUEMU_STREAMS") != "eager" && (value("CUEMU_SEED").empty() || value("CUEMU_SEED") == "0");
}

char byte_at(size_t at) { return static_cast<char>(at * 31 + at / 4099); }

}  // namespace

// The race detector would watch each byte.
#ifndef CUEMU_RACE
TEST(a_piece_of_weights_is_read_while_the_one_before_is_on_its_way) {
  cuda::Device device(0);
  const size_t bytes = 4 * cuda::Device::kPieceBytes + 12345;
  const Buffer target = device.allocate_raw(bytes);
  const uint64_t before = cuemu::counters().waits;
  size_t num_pieces = 0;
  device.upload(target.memory.get(), bytes, [&](size_t first, size_t count, char* out) {
    CHECK_EQUAL(first, num_pieces * cuda::Device::kPieceBytes);
    // One copy is behind: its memory is this one's. The one before is not waited for.
    const uint64_t waits = cuemu::counters().waits - before;
    CHECK(waits <= (num_pieces < 2 ? 0 : num_pieces - 1));
    if (num_pieces > 0 && is_lazy()) CHECK(cudaStreamQuery(device.stream()) == cudaErrorNotReady);
    for (size_t i = 0; i < count; i++) out[i] = byte_at(first + i);
    num_pieces++;
  });
  CHECK_EQUAL(num_pieces, size_t{5});
  if (is_lazy()) CHECK(cudaStreamQuery(device.stream()) == cudaErrorNotReady);
  std::vector<char> got(bytes);
  device.synchronise();
  cudaMemcpy(got.data(), target.memory.get(), bytes, cudaMemcpyDeviceToHost);
  for (size_t i = 0; i < bytes; i++) {
    if (got[i] != byte_at(i)) {
      CHECK_EQUAL(i, bytes);
      break;
    }
  }
}
#endif
