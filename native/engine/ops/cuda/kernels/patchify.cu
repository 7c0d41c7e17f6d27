/**
 * Owns the patches of tiles. One thread a value, neighbours along a patch's row: reads 1 byte and writes 2 for each, so
 * memory is the limit (602 KB in, 1.2 MB out a tile of 448).
 */
#include "ops/cuda/kernels/common.cuh"
#include "ops/cuda/kernels/kernels.h"

namespace tessera::cuda {

namespace {

struct Normalisation {
  float scale[3];
  float shift[3];
};

__global__ void patchify_kernel(const uint8_t* pixels, int num_tiles, int tile_size, int patch_size,
                                Normalisation normal, bf16* patches) {
  const int grid = tile_size / patch_size;
  const int values = 3 * patch_size * patch_size;
  const size_t total = static_cast<size_t>(num_tiles) * grid * grid * values;
  const size_t stride = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < total; i += stride) {
    const size_t patch = i / values;
    const int value = static_cast<int>(i % values);
    const int channel = value / (patch_size * patch_size);
    const int y = value / patch_size % patch_size;
    const int x = value % patch_size;
    const size_t tile = patch / (grid * grid);
    const int row = static_cast<int>(patch / grid % grid) * patch_size + y;
    const int col = static_cast<int>(patch % grid) * patch_size + x;
    const uint8_t pixel = pixels[((tile * tile_size + row) * tile_size + col) * 3 + channel];
    // Chosen, not indexed: an index that the compiler does not know would put all six on the stack.
    const float scale = channel == 0 ? normal.scale[0] : channel == 1 ? normal.scale[1] : normal.scale[2];
    const float shift = channel == 0 ? normal.shift[0] : channel == 1 ? normal.shift[1] : normal.shift[2];
    patches[i] = __float2bfloat16(pixel * scale + shift);
  }
}

}  // namespace

cudaError_t patchify(const uint8_t* pixels, int num_tiles, int tile_size, int patch_size, const float mean[3],
                     const float std[3], bf16* patches, cudaStream_t stream) {
  Normalisation normal;
  for (int c = 0; c < 3; c++) {
    normal.scale[c] = 1.0f / (255.0f * std[c]);
    normal.shift[c] = -mean[c] / std[c];
  }
  const size_t grid = tile_size / patch_size;
  const size_t total = static_cast<size_t>(num_tiles) * grid * grid * 3 * patch_size * patch_size;
  const unsigned blocks = blocks_for(total, 256);
  return gpu::launch("patchify", {.grid = dim3(blocks < 65536 ? blocks : 65536), .block = dim3(256), .stream = stream},
                     patchify_kernel, pixels, num_tiles, tile_size, patch_size, normal, patches);
}

}  // namespace tessera::cuda
