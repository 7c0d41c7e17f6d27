/** Owns a rehearsal: a step of each frequent shape, run before the first real one; what it computes is thrown away. */
#pragma once

#include "model/decoder.h"
#include "ops/ops.h"
#include "tessera/engine.h"

namespace tessera {

/**
 * Decoding at each padded size, and a prompt of a whole step, up to the limits that `info` tells. Writes blocks of the
 * cache. `tiles`: the tile slots.
 */
void rehearse_steps(const EngineInfo& info, Decoder& decoder, Ops& ops, const float* tiles);

}  // namespace tessera
