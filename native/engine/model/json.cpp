#include "model/json.h"

#include <charconv>
#include <unordered_set>

#include "tessera/error.h"

namespace tessera {

namespace {
constexpr int kMaxDepth = 64;
constexpr size_t kMaxValues = 1 << 20;  // a value takes far more memory than text: the largest model has 30,000
constexpr size_t kManyMembers = 16;  // from here on, duplicates are found by hashing
}  // namespace

class JsonParser {
 public:
  JsonParser(std::string_view text, const std::string& what) : text_(text), what_(what) {}

  Json document() {
    Json value = parse_value(0);
    skip_space();
    if (at_ != text_.size()) fail("text after the value");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& problem) {
    refuse("read " + what_, problem + " at byte " + std::to_string(at_), "valid JSON");
  }

  char peek() { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_space() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') at_++;
  }

  void expect(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) fail("no " + std::string(word));
    at_ += word.size();
  }

  Json parse_value(int depth) {
    if (depth > kMaxDepth) fail("nesting deeper than " + std::to_string(kMaxDepth));
    if (++num_values_ > kMaxValues) fail("more than " + std::to_string(kMaxValues) + " values");
    skip_space();
    Json value;
    switch (peek()) {
      case '{': return parse_object(depth);
      case '[': return parse_array(depth);
      case '"':
        value.type_ = Json::Type::kString;
        value.string_ = parse_string();
        return value;
      case 't':
        expect("true");
        value.type_ = Json::Type::kBool;
        value.integer_ = 1;
        return value;
      case 'f':
        expect("false");
        value.type_ = Json::Type::kBool;
        return value;
      case 'n':
        expect("null");
        return value;
      default: return parse_number();
    }
  }

  Json parse_object(int depth) {
    Json value;
    value.type_ = Json::Type::kObject;
    std::unordered_set<std::string> seen;
    expect("{");
    skip_space();
    if (peek() == '}') {
      at_++;
      return value;
    }
    while (true) {
      skip_space();
      if (peek() != '"') fail("no key");
      std::string key = parse_string();
      if (is_duplicate(value, seen, key)) fail("key \"" + key + "\" twice");
      skip_space();
      expect(":");
      Json member = parse_value(depth + 1);
      value.object_.emplace_back(std::move(key), std::move(member));
      skip_space();
      if (peek() == '}') break;
      expect(",");
    }
    at_++;
    return value;
  }

  bool is_duplicate(const Json& object, std::unordered_set<std::string>& seen, const std::string& key) {
    const auto& members = object.object_;
    if (members.size() < kManyMembers) return object.find(key) != nullptr;
    if (members.size() == kManyMembers) {
      for (const auto& [name, value] : members) seen.insert(name);
    }
    return !seen.insert(key).second;
  }

  Json parse_array(int depth) {
    Json value;
    value.type_ = Json::Type::kArray;
    expect("[");
    skip_space();
    if (peek() == ']') {
      at_++;
      return value;
    }
    while (true) {
      value.array_.push_back(parse_value(depth + 1));
      skip_space();
      if (peek() == ']') break;
      expect(",");
    }
    at_++;
    return value;
  }

  uint32_t parse_hex4() {
    uint32_t code = 0;
    const std::string_view digits = text_.substr(at_, 4);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    if (error != std::errc() || end != digits.data() + 4) fail("bad \\u escape");
    at_ += 4;
    return code;
  }

  void append_utf8(std::string& out, uint32_t code) {
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xc0 | (code >> 6));
      out += static_cast<char>(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
      out += static_cast<char>(0xe0 | (code >> 12));
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
      out += static_cast<char>(0x80 | (code & 0x3f));
    } else {
      out += static_cast<char>(0xf0 | (code >> 18));
      out += static_cast<char>(0x80 | ((code >> 12) & 0x3f));
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
      out += static_cast<char>(0x80 | (code & 0x3f));
    }
  }

  void parse_escape(std::string& out) {
    const char kind = peek();
    at_++;
    switch (kind) {
      case '"': case '\\': case '/': out += kind; return;
      case 'b': out += '\b'; return;
      case 'f': out += '\f'; return;
      case 'n': out += '\n'; return;
      case 'r': out += '\r'; return;
      case 't': out += '\t'; return;
      case 'u': break;
      default: fail("bad escape");
    }
    uint32_t code = parse_hex4();
    if (code >= 0xdc00 && code < 0xe000) fail("half a surrogate pair");
    if (code >= 0xd800 && code < 0xdc00) {
      expect("\\u");
      const uint32_t low = parse_hex4();
      if (low < 0xdc00 || low >= 0xe000) fail("half a surrogate pair");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(out, code);
  }

  // Bytes above 0x7f are passed on as they are: names are compared, never shown as text of a known encoding.
  std::string parse_string() {
    expect("\"");
    std::string out;
    while (true) {
      if (at_ >= text_.size()) fail("no end of string");
      const char c = text_[at_++];
      if (c == '"') return out;
      if (static_cast<unsigned char>(c) < 0x20) fail("control character in a string");
      if (c == '\\') {
        parse_escape(out);
      } else {
        out += c;
      }
    }
  }

  void digits() {
    if (peek() < '0' || peek() > '9') fail("no value");
    while (peek() >= '0' && peek() <= '9') at_++;
  }

  Json parse_number() {
    const size_t start = at_;
    if (peek() == '-') at_++;
    if (peek() == '0') {
      at_++;
      if (peek() >= '0' && peek() <= '9') fail("a leading zero");
    } else {
      digits();
    }
    bool integer = true;
    if (peek() == '.') {
      integer = false;
      at_++;
      digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      integer = false;
      at_++;
      if (peek() == '+' || peek() == '-') at_++;
      digits();
    }
    const char* first = text_.data() + start;
    const char* last = text_.data() + at_;
    Json value;
    if (integer && std::from_chars(first, last, value.integer_).ec == std::errc()) {
      value.type_ = Json::Type::kInteger;
      return value;
    }
    value.type_ = Json::Type::kNumber;
    if (std::from_chars(first, last, value.number_).ec != std::errc()) fail("a number out of range");
    return value;
  }

  std::string_view text_;
  const std::string& what_;
  size_t at_ = 0;
  size_t num_values_ = 0;
};

Json Json::parse(std::string_view text, const std::string& what) { return JsonParser(text, what).document(); }

const Json* Json::find(std::string_view key) const {
  for (const auto& [name, value] : object_) {
    if (name == key) return &value;
  }
  return nullptr;
}

}  // namespace tessera
