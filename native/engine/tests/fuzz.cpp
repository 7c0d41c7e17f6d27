#include "tests/fuzz.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>

namespace tessera::tests {

namespace {

constexpr size_t kDefaultCases = 4000;

uint64_t from_environment(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? fallback : std::strtoull(text, nullptr, 10);
}

const char* const kNumbers[] = {
    "0", "1", "-1", "2147483647", "2147483648", "4294967295", "4294967296", "9223372036854775807",
    "9223372036854775808", "18446744073709551615", "18446744073709551616", "1e19", "1e400", "0.5", "-0", "1e-400",
};
const char* const kPieces[] = {"{", "}", "[", "]", ",", ":", "\"", "\\u", "\\ud800", "null", "true", "[[[[[[[[", "\"\":"};

/** Replaces one run of digits by a number from the list. */
void replace_number(std::string& bytes, Random& random) {
  const size_t from = random.below(bytes.size());
  const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
  const auto first = std::find_if(bytes.begin() + from, bytes.end(), is_digit);
  const auto last = std::find_if_not(first, bytes.end(), is_digit);
  if (first == last) return;
  bytes.replace(first, last, kNumbers[random.below(std::size(kNumbers))]);
}

void damage_once(std::string& bytes, Random& random) {
  if (bytes.empty()) return;
  const size_t at = random.below(bytes.size());
  const size_t length = std::min<size_t>(1 + random.below(24), bytes.size() - at);
  switch (random.below(8)) {
    case 0: bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8))); break;
    case 1: bytes[at] = static_cast<char>(random.word()); break;
    case 2: bytes.erase(at, length); break;
    case 3: bytes.insert(at, bytes.substr(random.below(bytes.size()), length)); break;
    case 4: bytes.resize(at); break;
    case 5: bytes.insert(at, kPieces[random.below(std::size(kPieces))]); break;
    default: replace_number(bytes, random); break;  // what readers add and multiply: most often
  }
}

}  // namespace

size_t fuzz_cases() { return from_environment("TESSERA_FUZZ_CASES", kDefaultCases); }
uint64_t fuzz_seed() { return from_environment("TESSERA_FUZZ_SEED", 1); }

std::string damaged(std::string bytes, Random& random) {
  for (size_t i = 0, count = 1 + random.below(3); i < count; i++) damage_once(bytes, random);
  return bytes;
}

}  // namespace tessera::tests
