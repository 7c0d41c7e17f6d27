/** Owns how a fault is reported: what happened, where in the kernel's source, in which thread of which block. */
#pragma once

#include <string>

namespace cuemu {

/** A place in the source of a kernel. */
struct Site {
  const char* file = "?";
  int line = 0;
};

std::string to_string(Site site);

/** Prints the fault with the thread at hand and aborts: a kernel that did something undefined has no result. */
[[noreturn]] void fail(const std::string& what, Site site);

/** A note on standard error that does not end the program. */
void warn(const std::string& what);

/** The value of an environment variable as a number; `fallback` where it is not set. */
long setting(const char* name, long fallback);

}  // namespace cuemu

/** Last parameters of an operation that wants to know its caller. */
#define CUEMU_SITE const char *site_file = __builtin_FILE(), int site_line = __builtin_LINE()
#define CUEMU_HERE ::cuemu::Site{site_file, site_line}
