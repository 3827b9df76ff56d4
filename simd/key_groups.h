// The keys that a block of queries has to look at: aligned groups of eight, in ascending order,
// each with the lanes that see each of its keys.
#ifndef BITANCHOR_SIMD_KEY_GROUPS_H_
#define BITANCHOR_SIMD_KEY_GROUPS_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "lib/problem/blocks.h"
#include "lib/problem/mask.h"

namespace bitanchor::simd {

constexpr int64_t kGroupKeys = 8;
constexpr uint64_t kAllLanes = ~uint64_t{0};

struct KeyGroup {
  int64_t key;    // the first of its keys, a multiple of kGroupKeys; the last may lie past the end
  int64_t lanes;  // kEveryone, or where in KeyGroups::lanes its eight masks begin
};
constexpr int64_t kEveryone = -1;

// Groups [begin, end) lie in one key block.
struct KeyChunk {
  int64_t key_block;
  int64_t begin, end;
};

struct KeyGroups {
  std::vector<KeyGroup> groups;  // ascending; groups that no lane sees are left out
  // Bit i: query q0 + i sees the key; kAllLanes where every query of the block does.
  std::vector<uint64_t> lanes;
  std::vector<KeyChunk> chunks;  // ascending, at most one a key block

  int64_t Rows() const { return static_cast<int64_t>(groups.size()) * kGroupKeys; }
};

// Hands out the chunks of a KeyGroups, key block by key block in ascending order.
class ChunkCursor {
 public:
  explicit ChunkCursor(const KeyGroups& groups) : chunks_(groups.chunks) {}

  bool Sees(int64_t key_block) const {
    return next_ < chunks_.size() && chunks_[next_].key_block == key_block;
  }
  // The key block's chunk; nullptr: no query sees anything there.
  const KeyChunk* Next(int64_t key_block) { return Sees(key_block) ? &chunks_[next_++] : nullptr; }
  void Rewind() { next_ = 0; }

 private:
  const std::vector<KeyChunk>& chunks_;
  size_t next_ = 0;
};

// Calls run(begin, count) for each run of set bits, ascending.
template <typename Run>
void ForRunsOfBits(uint64_t bits, const Run& run) {
  while (bits != 0) {
    const int begin = std::countr_zero(bits), count = std::countr_one(bits >> begin);
    run(begin, count);
    if (begin + count >= 64) return;
    bits &= kAllLanes << (begin + count);
  }
}

// Bit i: query q0 + i (i < nq <= 64) of batch b sees key j. Mask::Visible for a whole block at
// once.
uint64_t VisibleLanes(const Mask& mask, int64_t b, int64_t q0, int64_t nq, int64_t j);

// Bit n: query i of batch b sees key j0 + n (n < nk <= 64).
uint64_t VisibleKeys(const Mask& mask, int64_t b, int64_t i, int64_t j0, int64_t nk);

// The groups of query block `query_block` of `classifier` (block_q queries by block_k keys, a
// multiple of kGroupKeys). Empty blocks are not visited.
void CollectKeyGroups(const Mask& mask, const BlockClassifier& classifier, int64_t b,
                      int64_t query_block, int64_t block_q, int64_t block_k, KeyGroups& out);

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_KEY_GROUPS_H_
