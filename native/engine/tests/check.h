/** Owns the test macros: TEST registers, CHECK reports file and line and goes on. */
#pragma once

#include <functional>
#include <sstream>
#include <string>
#include <vector>

namespace tessera::tests {

struct Test {
  const char* name;
  void (*body)();
};

/** All registered tests. */
std::vector<Test>& all_tests();

/** Runs tests whose name contains `filter`; 0 when all passed and at least one ran. */
int run_all(const std::string& filter);

/** Reports a failure of the running test. */
void fail(const char* file, int line, const std::string& message);

struct Registration {
  Registration(const char* name, void (*body)()) { all_tests().push_back({name, body}); }
};

template <class A, class B>
void check_equal(const A& a, const B& b, const char* text, const char* file, int line) {
  if (a == b) return;
  std::ostringstream message;
  message << text << ": " << a << " != " << b;
  fail(file, line, message.str());
}

/** Text of the exception `body` throws, or an empty one. */
std::string thrown_by(const std::function<void()>& body);

}  // namespace tessera::tests

#define TEST(name)                                                              \
  static void test_##name();                                                    \
  static const tessera::tests::Registration registration_##name(#name, test_##name); \
  static void test_##name()

#define CHECK(condition) \
  do {                   \
    if (!(condition)) tessera::tests::fail(__FILE__, __LINE__, #condition); \
  } while (0)

#define CHECK_EQUAL(a, b) tessera::tests::check_equal((a), (b), #a " == " #b, __FILE__, __LINE__)

/** Checks that `body` throws an Error whose text contains `part`. */
#define CHECK_REFUSES(part, body)                                                                        \
  do {                                                                                                   \
    const std::string message = tessera::tests::thrown_by([&] { body; });                                \
    if (message.find(part) == std::string::npos) {                                                       \
      tessera::tests::fail(__FILE__, __LINE__, #body ": \"" + message + "\", expected it to name " + std::string(part)); \
    }                                                                                                    \
  } while (0)
