/** Owns the settings that other models use to change results and this engine does not implement: refused unless off. */
#pragma once

#include <span>

#include "model/config_section.h"

namespace tessera {

/**
 * A key, and the number that means "off" for it where 0 does not. Off, for every key, are also absent, null, false, an
 * empty list, object or string.
 */
struct NeutralSetting {
  const char* key;
  double off = 0;
};

/** Of the outermost object. */
extern const std::span<const NeutralSetting> kModelSettings;
/** Of the vision tower. */
extern const std::span<const NeutralSetting> kVisionSettings;
/** Of the decoder. */
extern const std::span<const NeutralSetting> kDecoderSettings;

/** Refuses, by its name, the first of `settings` that is not off; sliding layers in `layer_types` too. */
void check_neutral(const Section& section, std::span<const NeutralSetting> settings);

}  // namespace tessera
