// The keys that a block of queries has to look at, in ascending order, each with the lanes that see
// it.
#ifndef BITANCHOR_SIMD_KEY_ROWS_H_
#define BITANCHOR_SIMD_KEY_ROWS_H_

#include <cstdint>
#include <vector>

#include "lib/problem/blocks.h"
#include "lib/problem/mask.h"

namespace bitanchor::simd {

constexpr uint64_t kAllLanes = ~uint64_t{0};

struct KeyRows {
  std::vector<int64_t> key;  // [rows] ascending
  std::vector<uint64_t>
      lanes;  // [rows] bit i: query q0 + i sees the key. kAllLanes: every query does
  // Empty blocks are never visited; keys that no lane sees are left out.
  int64_t Size() const { return static_cast<int64_t>(key.size()); }
};

// Bit i: query q0 + i (i < nq <= 64) of batch b sees key j. Mask::Visible for a whole block at
// once.
uint64_t VisibleLanes(const Mask& mask, int64_t b, int64_t q0, int64_t nq, int64_t j);

// Collects the rows of query block `query_block` of `classifier` (block_q queries by block_k keys).
void CollectKeyRows(const Mask& mask, const BlockClassifier& classifier, int64_t b,
                    int64_t query_block, int64_t block_q, int64_t block_k, KeyRows& rows);

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_KEY_ROWS_H_
