// Interleaved chunks: documents split into parts, the parts of different documents mixed.
#ifndef BITANCHOR_LIB_PROBLEM_CHUNKS_H_
#define BITANCHOR_LIB_PROBLEM_CHUNKS_H_

#include <cstdint>
#include <vector>

#include "lib/problem/layout.h"

namespace bitanchor {

// Where document `document` of window `window` is cut: ascending, in 1..length-1. None where its
// length is outside 64..2048. Else 2 or 3 parts, as likely; with low = floor(length / 5) and
// high = floor(4 length / 5)
//   2 parts: a cut in low..high-1,
//   3 parts: one in low..high-12, the next at least 12 after it and at most at high,
// each place as likely (to within length / 2^32).
//
// The draw, by integers alone: word n of Philox4x32-10 with key = (seed mod 2^32, seed / 2^32) and
// counter = (document, window, 16, 0), made a number below m by floor(word * m / 2^32): n = 0 says
// 2 or 3, n = 1 and 2 the cuts. document, window < 2^32.
std::vector<int64_t> DrawCuts(int64_t length, uint64_t seed, int64_t window, int64_t document);

// The chunks of a window whose documents have these cuts, in an order of which every one that keeps
// the chunks of each document ascending is as likely: the documents' numbers, each as often as it
// has chunks, shuffled by Fisher and Yates from the end, step i with word 0 of counter
// (i, window, 17, 0).
std::vector<Chunk> InterleavedOrder(const std::vector<int64_t>& lengths,
                                    const std::vector<std::vector<int64_t>>& cuts, uint64_t seed,
                                    int64_t window);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_PROBLEM_CHUNKS_H_
