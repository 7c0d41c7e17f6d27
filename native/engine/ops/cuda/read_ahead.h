/** Owns asking the disk for weights of a mapped file before they are read, so that they come while others are worked on. */
#pragma once

#include <cstdint>

#include "ops/ops.h"

namespace tessera::cuda {

/** Values [first, first + count) of the part, row by row, as far as there are any. From any thread. */
void read_ahead(const HostTensor& part, size_t first, size_t count);

/** All that AWQ has of the part: codes, zeros and scales. */
void read_ahead_awq(const HostTensor& part);

/** Asked for by this process. */
uint64_t bytes_read_ahead();

}  // namespace tessera::cuda
