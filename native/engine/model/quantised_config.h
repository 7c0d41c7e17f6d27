/** Owns what config.json says of weights that are quantised on disk. */
#pragma once

#include "model/config_section.h"

namespace tessera {

/**
 * Columns of a decoder's linear layer that share a scale in an AWQ checkpoint, or 0 where nothing is quantised on disk.
 * Looks for `quantization_config` or `quant_config` in the model's own settings and its decoder's. Any other method, and
 * any other form of AWQ than 4 bits with zero points in the layout `gemm`, is refused by its name.
 */
int read_awq_group(const Section& root, const Section& decoder);

}  // namespace tessera
