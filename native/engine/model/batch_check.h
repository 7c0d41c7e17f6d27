/** Owns the checks of what a caller passes: everything is checked before memory is touched. */
#pragma once

#include <span>
#include <vector>

#include "tessera/engine.h"

namespace tessera {

/** Checks open options; of dtype and device, what this build offers. */
void check_options(const EngineOptions& options);

/** Checks the device of every decoder layer; none given is fine. */
void check_layer_devices(std::span<const int> layer_devices, int num_layers);

/** Checks pixels and slots of `encode_tiles`. */
void check_tiles(const EngineInfo& info, std::span<const uint8_t> pixels, std::span<const int32_t> slots);

/** Checks slots that are to be read; `slot_filled` as below. */
void check_filled(const EngineInfo& info, std::span<const int32_t> slots, const std::vector<bool>& slot_filled);

/**
 * Checks a batch; `slot_filled` [num_tile_slots] says which slots hold embeddings, `drawn` which sequences of the step
 * before draw a token (the others are -1).
 */
void check_batch(const EngineInfo& info, const StepBatch& batch, const std::vector<bool>& slot_filled,
                 std::span<const int32_t> drawn);

}  // namespace tessera
