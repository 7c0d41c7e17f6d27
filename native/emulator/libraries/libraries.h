/** Owns what stands in for the libraries that programs open at run time: found by the names dlopen and dlsym take. */
#pragma once

namespace cuemu {

/** Null where nothing stands in for it; CUEMU_LIBRARIES=none is a machine without any, a library's name one with no other. */
void* open_library(const char* path);
void* find_symbol(void* library, const char* name);

}  // namespace cuemu
