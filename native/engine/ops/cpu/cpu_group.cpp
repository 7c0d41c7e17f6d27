#include "ops/cpu/cpu_group.h"

#include <algorithm>

namespace tessera::cpu {

void CpuGroup::all_reduce(std::span<const Rows> x) {
  const size_t count = x[0].rows * x[0].cols;
  for (size_t i = 0; i < count; i++) {
    float sum = x[0].data[i];
    for (size_t device = 1; device < x.size(); device++) sum += x[device].data[i];
    x[0].data[i] = sum;
  }
  for (size_t device = 1; device < x.size(); device++) std::copy_n(x[0].data, count, x[device].data);
}

}  // namespace tessera::cpu
