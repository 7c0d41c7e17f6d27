#include "ops/cuda/blas/algorithms.h"

#include <unistd.h>

#include <cctype>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>

#include "runtime/checksum.h"

namespace tessera::cuda {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTitle = "tessera-algorithms 1";
constexpr size_t kHexDigits = 16;

std::string hex(uint64_t value) {
  char text[kHexDigits + 1];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

bool read_hex(std::string_view text, uint64_t& value) {
  value = 0;
  if (text.size() != kHexDigits) return false;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return false;
    value = value << 4 | static_cast<uint64_t>(digit);
  }
  return true;
}

std::string sum_line(std::string_view text) { return "sum " + hex(checksum(text.data(), text.size())) + "\n"; }

/** One line: the product, a tab, eight numbers. */
bool read_entry(std::string_view line, std::string& product, lt::Algorithm& algorithm) {
  const size_t tab = line.find('\t');
  if (tab == std::string_view::npos || tab == 0) return false;
  product = line.substr(0, tab);
  std::string_view rest = line.substr(tab + 1);
  for (uint64_t& word : algorithm.data) {
    if (!read_hex(rest.substr(0, kHexDigits), word)) return false;
    rest.remove_prefix(kHexDigits);
    if (!rest.empty() && rest[0] == ' ') rest.remove_prefix(1);
  }
  return rest.empty();
}

}  // namespace

void Algorithms::open(const std::string& folder, const Machine& machine) {
  head_ = std::string(kTitle) + "\n" + machine.gpu + "\ndriver " + std::to_string(machine.driver) + ", cuBLASLt " +
          std::to_string(machine.library) + "\n";
  std::string name = machine.gpu.substr(0, 64);
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '-';
  }
  path_ = folder + "/" + name + "-" + hex(checksum(head_.data(), head_.size())).substr(0, 8) + ".algorithms";
  entries_ = read();
  kept_.clear();
}

const lt::Algorithm* Algorithms::find(const std::string& product) const {
  const auto found = entries_.find(product);
  return found == entries_.end() ? nullptr : &found->second;
}

void Algorithms::keep(const std::string& product, const lt::Algorithm& algorithm) {
  entries_[product] = algorithm;
  kept_[product] = algorithm;
}

Algorithms::Entries Algorithms::read() const {
  std::error_code error;
  const auto bytes = fs::file_size(path_, error);
  if (error || bytes > kMaxFileBytes) return {};
  std::ifstream file(path_, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t sum_at = text.rfind("sum ");
  if (text.compare(0, head_.size(), head_) != 0 || sum_at == std::string::npos || sum_at < head_.size() ||
      text.substr(sum_at) != sum_line(std::string_view(text).substr(0, sum_at))) {
    return {};
  }
  Entries entries;
  std::string_view rest = std::string_view(text).substr(head_.size(), sum_at - head_.size());
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    std::string product;
    lt::Algorithm algorithm;
    if (end == std::string_view::npos || !read_entry(rest.substr(0, end), product, algorithm)) return {};
    entries[product] = algorithm;
    rest.remove_prefix(end + 1);
  }
  return entries;
}

std::string Algorithms::text_of(const Entries& entries) const {
  std::string text = head_;
  for (const auto& [product, algorithm] : entries) {
    text += product;
    for (size_t i = 0; i < std::size(algorithm.data); i++) text += (i == 0 ? "\t" : " ") + hex(algorithm.data[i]);
    text += "\n";
  }
  return text + sum_line(text);
}

void Algorithms::save() {
  if (kept_.empty()) return;
  Entries all = read();
  for (const auto& [product, algorithm] : kept_) all[product] = algorithm;
  if (all.size() > kMaxEntries) all = kept_;
  std::error_code error;
  fs::create_directories(fs::path(path_).parent_path(), error);
  // Beside its place and then renamed, so that nobody ever reads half of it.
  const std::string temporary = path_ + "." + std::to_string(getpid()) + ".tmp";
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file << text_of(all) << std::flush;
    if (!file) {
      file.close();
      fs::remove(temporary, error);
      return;
    }
  }
  fs::rename(temporary, path_, error);
  if (error) fs::remove(temporary, error);
  kept_.clear();
}

}  // namespace tessera::cuda
