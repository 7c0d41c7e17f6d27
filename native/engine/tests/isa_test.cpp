/** Owns the proof that the best instruction set of build and machine is taken, a lower one where asked, no unknown one. */
#include <cstdlib>
#include <string>

#include "ops/cpu/kernels.h"
#include "tests/check.h"

namespace {

using namespace tessera;
using namespace tessera::cpu;

/** Sets TESSERA_ISA, and back what it was. */
class Wanted {
 public:
  explicit Wanted(const char* value) {
    const char* before = std::getenv("TESSERA_ISA");
    if (before != nullptr) before_ = before;
    setenv("TESSERA_ISA", value, 1);
  }
  ~Wanted() { setenv("TESSERA_ISA", before_.c_str(), 1); }

 private:
  std::string before_;
};

TEST(isa_takes_the_best_by_default) {
  const Wanted none("");
  const std::string chosen = choose_kernels().name;
  for (const char* name : {"avx512_bf16", "avx512", "avx2", "neon_dot", "portable"}) {
    if (find_kernels(name) == nullptr) continue;
    CHECK_EQUAL(chosen, std::string(name));
    break;
  }
}

TEST(isa_takes_a_lower_one_where_asked_and_refuses_the_unknown) {
  for (const char* name : {"avx512_bf16", "avx512", "avx2", "neon_dot", "portable"}) {
    const Wanted wanted(name);
    if (find_kernels(name) == nullptr) {
      CHECK_REFUSES(std::string("TESSERA_ISA is \"") + name, choose_kernels());
    } else {
      CHECK_EQUAL(std::string(choose_kernels().name), std::string(name));
    }
  }
  CHECK(find_kernels("portable") != nullptr);
  CHECK(find_kernels("sse9") == nullptr);
  const Wanted wanted("sse9");
  CHECK_REFUSES("TESSERA_ISA is \"sse9\"", choose_kernels());
}

}  // namespace
