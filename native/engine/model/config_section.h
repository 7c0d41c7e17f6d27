/** Owns reading one object of config.json: typed values within ranges, and the form of what is refused. */
#pragma once

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string>

#include "model/json.h"
#include "tessera/error.h"

namespace tessera {

/** One object of config.json, with the messages for what is wrong in it. */
class Section {
 public:
  Section(const Json& object, std::string path, std::string name)
      : object_(object), path_(std::move(path)), name_(std::move(name)) {}

  [[noreturn]] void reject(const std::string& key, const std::string& what, const std::string& expected) const {
    refuse("open " + path_, name_ + key + " is " + what, expected);
  }

  /** The value of the first of `keys` that is there and not null. */
  const Json* find(std::initializer_list<const char*> keys) const {
    for (const char* key : keys) {
      const Json* value = object_.find(key);
      if (value != nullptr && !value->is_null()) return value;
    }
    return nullptr;
  }

  int integer(std::initializer_list<const char*> keys, int least, int most, int fallback = -1) const {
    const Json* value = find(keys);
    if (value == nullptr && fallback >= 0) return fallback;
    return checked(value, *keys.begin(), least, most);
  }

  /** A size that may be written as a number or as two equal ones. */
  int square(const char* key, int most) const {
    const Json* value = find({key});
    if (value == nullptr || !value->is_array()) return checked(value, key, 1, most);
    const auto& sides = value->array();
    if (sides.size() != 2) reject(key, "a list of " + std::to_string(sides.size()), "a number or two");
    const int height = checked(&sides[0], key, 1, most);
    if (checked(&sides[1], key, 1, most) != height) reject(key, "not square", "two equal sizes");
    return height;
  }

  double number(std::initializer_list<const char*> keys, double fallback) const {
    const Json* value = find(keys);
    if (value == nullptr) return fallback;
    if (!value->is_number() || !std::isfinite(value->number())) reject(*keys.begin(), "no number", "one");
    return value->number();
  }

  bool boolean(std::initializer_list<const char*> keys, bool fallback) const {
    const Json* value = find(keys);
    if (value == nullptr) return fallback;
    if (!value->is_bool()) reject(*keys.begin(), "no boolean", "true or false");
    return value->boolean();
  }

  std::string text(std::initializer_list<const char*> keys, const char* fallback) const {
    const Json* value = find(keys);
    if (value == nullptr) return fallback;
    if (!value->is_string()) reject(*keys.begin(), "no string", "one");
    return value->string();
  }

  /** Refuses any text but `supported`. */
  void only(std::initializer_list<const char*> keys, const char* supported) const {
    const std::string value = text(keys, supported);
    if (value != supported) reject(*keys.begin(), "\"" + value + "\"", std::string("\"") + supported + "\"");
  }

  void only(const char* key, bool supported) const {
    if (boolean({key}, supported) != supported) {
      reject(key, supported ? "false" : "true", supported ? "true" : "false (not implemented)");
    }
  }

  /** Refuses members other than these. */
  void only_keys(std::initializer_list<const char*> keys) const {
    for (const auto& [name, value] : object_.object()) {
      const bool is_known = std::any_of(keys.begin(), keys.end(), [&](const char* key) { return name == key; });
      if (!is_known && !value.is_null()) reject(name, "not implemented", "it absent");
    }
  }

  /** Refuses an `architectures` that names another family than `prefix`: the vendor's code goes by it. */
  void architecture(const std::string& prefix) const {
    const Json* value = find({"architectures"});
    if (value == nullptr || !value->is_array()) return;
    for (const Json& name : value->array()) {
      if (name.is_string() && name.string().rfind(prefix, 0) == 0) continue;
      reject("architectures", name.is_string() ? "\"" + name.string() + "\"" : "no string", prefix + "ForCausalLM");
    }
  }

  Section section(std::initializer_list<const char*> keys) const {
    const Json* value = find(keys);
    if (value == nullptr || !value->is_object()) reject(*keys.begin(), "missing", "an object");
    return {*value, path_, name_ + *keys.begin() + "."};
  }

 private:
  int checked(const Json* value, const char* key, int least, int most) const {
    const std::string range = "an integer in [" + std::to_string(least) + ", " + std::to_string(most) + "]";
    if (value == nullptr) reject(key, "missing", range);
    if (!value->is_integer()) reject(key, "no integer", range);
    if (value->integer() < least || value->integer() > most) reject(key, std::to_string(value->integer()), range);
    return static_cast<int>(value->integer());
  }

  const Json& object_;
  std::string path_;
  std::string name_;
};

}  // namespace tessera
