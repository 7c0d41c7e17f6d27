/** Owns the proof that an engine that was closed leaves nothing in use, on one device or several. */
#if __has_include(<malloc.h>)
#include <malloc.h>
#endif

#include "tests/check.h"
#include "tests/tiny_model.h"

namespace {

using namespace tessera;
using namespace tessera::tests;

/** Bytes that the process has from malloc; 0 where that cannot be told, as under a sanitizer. */
size_t bytes_in_use() {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
#else
  return 0;
#endif
}

TEST(engines_leave_nothing_behind) {
  const Folder folder;
  write_tiny_model(folder, {.num_layers = 3});
  const auto cycle = [&](int count) {
    for (int i = 0; i < count; i++) {
      EngineOptions options = tiny_options(folder, 2);
      if (i % 2 == 0) options.layer_devices = {0, 1, 0};
      const auto engine = Engine::open(options);
      engine->encode_tiles(std::vector<uint8_t>(8 * 8 * 3), std::vector<int32_t>{0});
    }
  };
  cycle(40);
  const size_t before = bytes_in_use();
  cycle(200);
  const size_t after = bytes_in_use();
  // Some bytes a cycle stay in the allocator's own books; an engine is far more.
  CHECK(after <= before + 32 * 1024);
}

}  // namespace
