/** Owns the engine's one exception type and the form of its messages. */
#pragma once

#include <stdexcept>
#include <string>

namespace tessera {

/** Anything the caller may see; its text reads `Cannot <action>: <what is>, expected <what should be>`. */
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
};

/** Throws an `Error` in the one form. */
[[noreturn]] inline void refuse(const std::string& action, const std::string& what, const std::string& expected) {
  throw Error("Cannot " + action + ": " + what + ", expected " + expected);
}

}  // namespace tessera
