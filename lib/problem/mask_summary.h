// A mask in numbers: how many pairs it keeps and what a block-sparse kernel saves by it.
#ifndef BITANCHOR_LIB_PROBLEM_MASK_SUMMARY_H_
#define BITANCHOR_LIB_PROBLEM_MASK_SUMMARY_H_

#include <cstdint>
#include <optional>

#include "lib/problem/block_map.h"
#include "lib/problem/mask.h"

namespace bitanchor {

// The work of a mask, counted in two ways. A kernel that skips empty blocks and takes the same time
// for every other one does `visited_blocks`; no kernel can do less than `kept_pairs`.
struct MaskWork {
  int64_t visited_blocks = 0, kept_pairs = 0;
};

struct MaskSummary {
  int64_t pairs = 0;  // Sq * Skv
  BlockCounts blocks;
  MaskWork work;   // of this mask
  MaskWork dense;  // of all blocks and pairs
  std::optional<MaskWork>
      dense_causal;                    // of rule full at the same corner, where the mask is causal
  int64_t blind_queries = 0;           // that see no key
  std::optional<int64_t> first_blind;  // the first of them
  int64_t documents = 0;               // distinct ids of keys but the anchor's; 0 for rule full
  int64_t anchors = 0;                 // keys that all documents see; 0 but for rule anchor
};

// Of batch b, whose map with this size of blocks is `map`.
MaskSummary Summarise(const Mask& mask, int64_t b, int64_t block_q, int64_t block_k,
                      const BlockMap& map);

// How many times `work` goes into `whole`; nullopt where there is no work.
std::optional<double> SpeedUp(int64_t whole, int64_t work);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_PROBLEM_MASK_SUMMARY_H_
