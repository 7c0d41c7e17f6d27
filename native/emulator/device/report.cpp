#include "device/report.h"

#include <cstdio>
#include <cstdlib>

#include "device/block.h"

namespace cuemu {

std::string to_string(Site site) { return std::string(site.file) + ":" + std::to_string(site.line); }

void fail(const std::string& what, Site site) {
  std::fflush(stdout);
  std::fprintf(stderr, "cuemu: %s at %s", what.c_str(), to_string(site).c_str());
  if (const Thread* thread = current) {
    const uint3 block = thread->block->index;
    std::fprintf(stderr, " in %s, block (%u,%u,%u), thread (%u,%u,%u)", thread->block->launch->name, block.x, block.y,
                 block.z, thread->index.x, thread->index.y, thread->index.z);
  }
  std::fputc('\n', stderr);
  std::abort();
}

void warn(const std::string& what) { std::fprintf(stderr, "cuemu: %s\n", what.c_str()); }

long setting(const char* name, long fallback) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? fallback : std::atol(value);
}

}  // namespace cuemu
