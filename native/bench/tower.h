/** Owns timing whole tiles through the 1B's vision tower, in bf16 and int8 by turns, and where their time goes. */
#pragma once

namespace tessera::bench {

/** One tile of 448 pixels a run, random weights. Prints medians, their ratio, and each kind of operation. */
int print_tower(int num_threads, int runs);

}  // namespace tessera::bench
