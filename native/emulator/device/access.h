/** Owns what the emulator itself tells the race detector; without it (the usual build) all of this is nothing. */
#pragma once

#include <cstddef>

#include "device/report.h"

namespace cuemu {

struct Block;
struct Thread;

#ifdef CUEMU_RACE
/** The emulator reads or writes for the thread at hand. */
void note_read(const void* at, size_t bytes, Site site);
void note_write(void* at, size_t bytes, Site site);
/** A launch starts: all before it is in order with all in it. */
void note_launch();
void note_block(const Block& block);
/** These threads have met: what each did before happens before what each does next. */
void note_join(Thread* const* threads, int count);
/** Device memory comes or goes; the host has written some of it. */
void note_memory(char* at, size_t bytes, bool exists);
void note_host_write(void* at, size_t bytes);
#else
inline void note_read(const void*, size_t, Site) {}
inline void note_write(void*, size_t, Site) {}
inline void note_launch() {}
inline void note_block(const Block&) {}
inline void note_join(Thread* const*, int) {}
inline void note_memory(char*, size_t, bool) {}
inline void note_host_write(void*, size_t) {}
#endif

}  // namespace cuemu
