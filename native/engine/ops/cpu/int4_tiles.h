/**
 * Owns AWQ's 4-bit weights on their way to bf16, written for any processor. Included by kernels_*.cpp inside its own
 * namespace, after tiles.h. Each row of a group has 16 bf16 values: (code - zero) * scale rounded to fp16, as it is
 * published. Expects round_to_half(x): x as fp16 holds it.
 */

/** The 16 values of each row of the group, [32][16]. */
inline void row_values4(const float* header, uint16_t* out) {
  for (int row = 0; row < kPanelWidth; row++) {
    for (int code = 0; code < 16; code++) {
      out[row * 16 + code] = to_bf16(round_to_half(static_cast<float>(code) * header[row] + header[kPanelWidth + row]));
    }
  }
}

/** `count` groups to bf16 panels. */
void expand4(const void* groups, const Format4& format, size_t count, void* out) {
  const char* from = static_cast<const char*>(groups);
  uint16_t* to = static_cast<uint16_t*>(out);
  for (size_t g = 0; g < count; g++, from += format.group_bytes()) {
    uint16_t values[kPanelWidth * 16];
    row_values4(reinterpret_cast<const float*>(from), values);
    const uint16_t* codes = reinterpret_cast<const uint16_t*>(from + format.header_bytes());
    for (size_t block = 0; block < format.group_cols / kCodeBlock; block++, to += kCodeBlock * kPanelWidth) {
      for (int half = 0; half < 2; half++) {
        for (size_t line = 0; line < kCodeBlock / 8; line++) {
          for (int word = 0; word < 32; word++) {
            const uint32_t four = *codes++;
            for (int nibble = 0; nibble < 4; nibble++) {
              const Place4 place = place4(half, line, word, nibble);
              to[place.col / 2 * (2 * kPanelWidth) + 2 * place.row + place.col % 2] =
                  values[place.row * 16 + (four >> (4 * nibble) & 15)];
            }
          }
        }
      }
    }
  }
}

constexpr Int4Kernel kInt4Kernel = {expand4, 0, nullptr};
