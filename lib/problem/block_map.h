// A mask as a picture has it: every block of one batch, how many there are of each kind, and where
// the documents lie.
#ifndef BITANCHOR_LIB_PROBLEM_BLOCK_MAP_H_
#define BITANCHOR_LIB_PROBLEM_BLOCK_MAP_H_

#include <cstdint>
#include <span>
#include <vector>

#include "lib/problem/blocks.h"
#include "lib/problem/mask.h"

namespace bitanchor {

struct BlockMap {
  int64_t query_blocks = 0, key_blocks = 0;
  std::vector<BlockKind> kinds;  // [query_blocks, key_blocks]

  BlockKind At(int64_t query_block, int64_t key_block) const {
    return kinds[query_block * key_blocks + key_block];
  }
};

// All blocks of batch b, as BlockClassifier has them. One byte a block. block_q, block_k >= 1.
BlockMap MapBlocks(const Mask& mask, int64_t b, int64_t block_q, int64_t block_k);

// The map of blocks `by` times as large on either side; by >= 1. Exact: it is what MapBlocks would
// give for that size.
BlockMap Coarsened(const BlockMap& map, int64_t by);

struct BlockCounts {
  int64_t full = 0, partial = 0, empty = 0;
  int64_t All() const { return full + partial + empty; }
  int64_t Visited() const { return full + partial; }  // what a block-sparse kernel computes
};

BlockCounts CountBlocks(const BlockMap& map);

// How many keys each query of batch b sees, [Sq]. They add up to CountVisible. O(S log S).
std::vector<int64_t> KeysSeenByQuery(const Mask& mask, int64_t b);

// Tokens [begin, end) of one document, no neighbour of which belongs to it.
struct DocumentRun {
  int64_t id, begin, end;
};

// The runs of ids [S], in order. A document in several pieces has several runs.
std::vector<DocumentRun> DocumentRuns(std::span<const int64_t> ids);

// The ids of batch b; empty where the rule looks at none.
std::span<const int64_t> QueryIds(const Mask& mask, int64_t b);
std::span<const int64_t> KeyIds(const Mask& mask, int64_t b);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_PROBLEM_BLOCK_MAP_H_
