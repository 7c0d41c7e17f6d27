/** Owns opening NVIDIA's libraries at run time; on the emulator their stand-ins take the place. */
#pragma once

#include <span>
#include <string>

namespace tessera::cuda {

class SharedLibrary {
 public:
  /**
   * Opens the first of `names` that is there; never closed. $TESSERA_CUDA_LIBRARIES is a folder to look in first.
   * @param from what brings it, for people; may be empty
   * @throws Error that names what was looked for, and why the last one did not open
   */
  explicit SharedLibrary(std::span<const char* const> names, const std::string& from = "");

  /** @throws Error where the library has no such function */
  template <class Function>
  void load(const char* name, Function& function) const {
    function = reinterpret_cast<Function>(find(name));
  }

 private:
  void* find(const char* name) const;

  std::string name_;
  void* handle_ = nullptr;
};

}  // namespace tessera::cuda
