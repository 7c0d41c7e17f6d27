#include "tests/check.h"

#include <chrono>
#include <cstdio>

#include "tessera/error.h"

namespace tessera::tests {

namespace {
int failures = 0;
}  // namespace

std::vector<Test>& all_tests() {
  static std::vector<Test> tests;
  return tests;
}

void fail(const char* file, int line, const std::string& message) {
  // A loop that fails everywhere should not bury the first lines.
  if (++failures <= 20) std::printf("  %s:%d: %s\n", file, line, message.c_str());
}

int run_all(const std::string& filter) {
  int ran = 0;
  int failed = 0;
  for (const Test& test : all_tests()) {
    if (std::string(test.name).find(filter) == std::string::npos) continue;
    failures = 0;
    const auto start = std::chrono::steady_clock::now();
    try {
      test.body();
    } catch (const std::exception& error) {
      fail(test.name, 0, std::string("threw: ") + error.what());
    }
    const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    std::printf("%s %s (%.0f ms)\n", failures == 0 ? "ok    " : "FAILED", test.name, ms);
    std::fflush(stdout);
    ran++;
    failed += failures != 0;
  }
  std::printf("%d tests, %d failed\n", ran, failed);
  return ran > 0 && failed == 0 ? 0 : 1;
}

std::string thrown_by(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace tessera::tests
