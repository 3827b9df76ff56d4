// What a packing gives, in numbers.
#ifndef BITANCHOR_LIB_PROBLEM_PACKING_SUMMARY_H_
#define BITANCHOR_LIB_PROBLEM_PACKING_SUMMARY_H_

#include <cstdint>

#include "lib/problem/mask_summary.h"
#include "lib/problem/packing.h"

namespace bitanchor {

// Of all windows together.
struct PackingSummary {
  int64_t windows = 0, tokens = 0;  // tokens: windows x S, everything counted
  int64_t anchors = 0;              // the shared ones, or the copies
  int64_t tags = 0, padding = 0;    // tokens
  int64_t segments = 0, chunks = 0;
  int64_t pairs = 0;  // windows x S x S
  BlockCounts blocks;
  MaskWork work;         // of the packing's mask, padding included, as a kernel has it
  MaskWork full_causal;  // of the same windows, each one causal sequence
};

// block_q, block_k >= 1.
PackingSummary Summarise(const Packing& packing, int64_t block_q, int64_t block_k);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_PROBLEM_PACKING_SUMMARY_H_
