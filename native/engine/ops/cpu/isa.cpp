/** Owns the choice of instruction set: what the processor has, what the build has, what TESSERA_ISA asks for. */
#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <cstdlib>
#include <string>
#include <string_view>

#include "ops/cpu/kernels.h"
#include "tessera/error.h"

namespace tessera::cpu {

// Stand-ins for the sets a build left out; the real ones, where compiled, win.
#define TESSERA_ABSENT __attribute__((weak))
TESSERA_ABSENT const Kernels* avx2_kernels() { return nullptr; }
TESSERA_ABSENT const Kernels* avx512_kernels() { return nullptr; }
TESSERA_ABSENT const Kernels* avx512_bf16_kernels() { return nullptr; }
TESSERA_ABSENT const Kernels* neon_dot_kernels() { return nullptr; }

namespace {

constexpr const char* kNames[] = {"avx512_bf16", "avx512", "avx2", "neon_dot", "portable"};  // best first

bool machine_has(std::string_view name) {
  if (name == "portable") return true;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (name == "avx2") return avx2;
  if (name == "avx512") return avx512;
  if (name == "avx512_bf16") {
    return avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
  }
#elif defined(__aarch64__) && defined(__linux__)
  if (name == "neon_dot") return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#elif defined(__aarch64__) && defined(__APPLE__)
  if (name == "neon_dot") return true;  // every Apple processor that runs macOS
#endif
  return false;
}

const Kernels* built(std::string_view name) {
  if (name == "avx512_bf16") return avx512_bf16_kernels();
  if (name == "avx512") return avx512_kernels();
  if (name == "avx2") return avx2_kernels();
  if (name == "neon_dot") return neon_dot_kernels();
  if (name == "portable") return portable_kernels();
  return nullptr;
}

}  // namespace

const Kernels* find_kernels(const char* name) { return machine_has(name) ? built(name) : nullptr; }

const Kernels& choose_kernels() {
  const char* wanted = std::getenv("TESSERA_ISA");
  if (wanted != nullptr && *wanted != '\0') {
    const Kernels* kernels = find_kernels(wanted);
    if (kernels != nullptr) return *kernels;
    refuse("open the engine", std::string("TESSERA_ISA is \"") + wanted + "\"",
           "one this machine runs: avx512_bf16, avx512, avx2, neon_dot or portable");
  }
  for (const char* name : kNames) {
    if (const Kernels* kernels = find_kernels(name)) return *kernels;
  }
  return *portable_kernels();
}

}  // namespace tessera::cpu
