/** Owns tests of the way of weights to a GPU: a piece is read while the one before is on its way, and all arrive. */
#include <cuda_runtime_api.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "ops/cuda/device.h"
#include "ops/cuda/quantise_weights.h"
#include "ops/cuda/read_ahead.h"
#include "runtime/counters.h"
#include "tests/check.h"
#include "tests/folder.h"

using namespace tessera;
using tessera::tests::Folder;

namespace {

/** Whether work of a stream runs only when somebody waits for it: then it shows who waits for what. */
bool is_lazy() {
  const auto value = [](const char* name) { return std::string(std::getenv(name) == nullptr ? "" : std::getenv(name)); };
  return value("CUEMU_STREAMS") != "eager" && (value("CUEMU_SEED").empty() || value("CUEMU_SEED") == "0");
}

char byte_at(size_t at) { return static_cast<char>(at * 31 + at / 4099); }

/** A tensor of bf16 in a mapped file of its own, of which nothing is in memory where the file system can be told so. */
struct MappedTensor {
  static constexpr size_t kRows = 3072, kCols = 2048, kBytes = kRows * kCols * 2;
  const Folder folder;
  HostTensor tensor;

  MappedTensor() {
    const std::vector<uint16_t> values(kRows * kCols, 0x3F80);
    const std::string path = folder.write("w", {reinterpret_cast<const char*>(values.data()), kBytes});
    const int fd = open(path.c_str(), O_RDONLY);
    CHECK(fd >= 0);
    (void)fsync(fd);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    tensor = {"w", mmap(nullptr, kBytes, PROT_READ, MAP_PRIVATE, fd, 0), DiskType::kBf16, kRows, kCols};
    close(fd);
  }
  ~MappedTensor() { (void)munmap(const_cast<void*>(tensor.data), kBytes); }
  /** Whether bytes [first, first + count) are in memory. */
  bool is_there(size_t first, size_t count) const {
    std::vector<unsigned char> pages((count + 4095) / 4096);
    if (mincore(static_cast<char*>(const_cast<void*>(tensor.data)) + first, count, pages.data()) != 0) return true;
    return std::all_of(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; });
  }
};

}  // namespace

TEST(what_is_read_next_is_asked_of_the_disk) {
  const MappedTensor mapped;
  const HostTensor& w = mapped.tensor;
  constexpr size_t kRow = MappedTensor::kCols;
  cuda::read_ahead(w, 1024 * kRow, 512 * kRow);
  // Nobody has touched it. Where the file system keeps files in memory it is there at once.
  for (int i = 0; i < 500 && !mapped.is_there(1024 * kRow * 2, 512 * kRow * 2); i++) usleep(10'000);
  CHECK(mapped.is_there(1024 * kRow * 2, 512 * kRow * 2));
  const uint64_t before = cuda::bytes_read_ahead();
  cuda::read_ahead(w, MappedTensor::kRows * kRow, 100);  // behind its end
  CHECK_EQUAL(cuda::bytes_read_ahead(), before);
}

TEST(weights_to_be_quantised_are_read_ahead_too) {
  const MappedTensor mapped;
  for (const WeightType type : {WeightType::kInt8, WeightType::kNf4}) {
    const uint64_t before = cuda::bytes_read_ahead();
    (void)cuda::quantise_weights({&mapped.tensor, 1}, type, false);
    // All but the first piece.
    CHECK_EQUAL(cuda::bytes_read_ahead() - before, MappedTensor::kBytes - 1024 * MappedTensor::kCols * 2);
  }
  // A slice of AWQ: of each line of codes and zeros some words, of each line of scales some numbers.
  std::vector<uint32_t> codes(256 * 8), zeros(4 * 8);
  std::vector<uint16_t> scales(4 * 64);
  HostTensor awq = {"w", codes.data(), DiskType::kF16, 16, 256, zeros.data(), scales.data(), 64};
  awq.stride = 64, awq.first_row = 24;
  const uint64_t before = cuda::bytes_read_ahead();
  (void)cuda::quantise_weights({&awq, 1}, WeightType::kAwq, false);
  CHECK_EQUAL(cuda::bytes_read_ahead() - before, uint64_t{(255 * 32 + 8) + (3 * 32 + 8) + (3 * 128 + 32)});
}

TEST(a_piece_of_weights_is_read_while_the_one_before_is_on_its_way) {
  if (cuemu::watches_races()) return;  // it would look at each byte
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
