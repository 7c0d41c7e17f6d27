#include "ops/cuda/shared_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <vector>

#include "tessera/error.h"

#ifdef TESSERA_EMULATED_GPU
#include "libraries/libraries.h"
#endif

namespace tessera::cuda {

namespace {

#ifdef TESSERA_EMULATED_GPU
void* open(const std::string& path) { return ::cuemu::open_library(path.c_str()); }
void* symbol(void* handle, const char* name) { return ::cuemu::find_symbol(handle, name); }
std::string reason() { return "the emulator has no such library"; }
#else
void* open(const std::string& path) { return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL); }
void* symbol(void* handle, const char* name) { return dlsym(handle, name); }
std::string reason() {
  const char* text = dlerror();
  return text == nullptr ? "no reason given" : text;
}
#endif

}  // namespace

SharedLibrary::SharedLibrary(std::span<const char* const> names, const std::string& from) {
  std::vector<std::string> paths;
  if (const char* folder = std::getenv("TESSERA_CUDA_LIBRARIES"); folder != nullptr && *folder != 0) {
    for (const char* name : names) paths.push_back(std::string(folder) + "/" + name);
  }
  for (const char* name : names) paths.push_back(name);
  std::string looked_for;
  for (const std::string& path : paths) {
    handle_ = open(path);
    name_ = path;
    if (handle_ != nullptr) return;
    looked_for += (looked_for.empty() ? "" : ", ") + path;
  }
  refuse("open " + std::string(names[0]), "none of " + looked_for + " opens (" + reason() + ")",
         "it on the library path or in the folder $TESSERA_CUDA_LIBRARIES" + (from.empty() ? "" : ": " + from));
}

void* SharedLibrary::find(const char* name) const {
  void* function = symbol(handle_, name);
  if (function == nullptr) refuse("use " + name_, std::string("it has no ") + name, "a version that has");
  return function;
}

}  // namespace tessera::cuda
