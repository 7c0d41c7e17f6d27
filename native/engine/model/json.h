/** Owns reading JSON: strict (RFC 8259), bounded in depth, for hostile input. Numbers keep whether they were whole. */
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {

/** One JSON value. Objects keep their order; a key given twice is an error when parsing. */
class Json {
 public:
  enum class Type { kNull, kBool, kInteger, kNumber, kString, kArray, kObject };
  using Member = std::pair<std::string, Json>;

  /** Parses all of `text`; throws `Error` as `Cannot read <what>: ...`. */
  static Json parse(std::string_view text, const std::string& what);

  Type type() const { return type_; }
  bool is_null() const { return type_ == Type::kNull; }
  bool is_string() const { return type_ == Type::kString; }
  bool is_bool() const { return type_ == Type::kBool; }
  bool is_array() const { return type_ == Type::kArray; }
  bool is_object() const { return type_ == Type::kObject; }
  /** Written without fraction and exponent, and within 64 bits. */
  bool is_integer() const { return type_ == Type::kInteger; }
  bool is_number() const { return type_ == Type::kNumber || is_integer(); }

  // Valid for the type that is_...() tells.
  bool boolean() const { return integer_ != 0; }
  int64_t integer() const { return integer_; }
  double number() const { return is_integer() ? static_cast<double>(integer_) : number_; }
  const std::string& string() const { return string_; }
  const std::vector<Json>& array() const { return array_; }
  const std::vector<Member>& object() const { return object_; }

  /** The member of an object, or null where there is none or this is no object. */
  const Json* find(std::string_view key) const;

 private:
  friend class JsonParser;
  Type type_ = Type::kNull;
  int64_t integer_ = 0;
  double number_ = 0;
  std::string string_;
  std::vector<Json> array_;
  std::vector<Member> object_;
};

}  // namespace tessera
