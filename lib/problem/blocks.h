// Which blocks of a mask are worth visiting.
#ifndef BITANCHOR_LIB_PROBLEM_BLOCKS_H_
#define BITANCHOR_LIB_PROBLEM_BLOCKS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/problem/mask.h"

namespace bitanchor {

// Of the pairs of a block: all visible, some, none. Exact, not conservative.
enum class BlockKind : uint8_t { kEmpty, kPartial, kFull };

// Classifies blocks of `block_q` queries by `block_k` keys of one mask; the last ones may be ragged
// and are classified by the pairs they really have. Building costs O(B (Sq + Skv)). A call costs
// O(1) unless the block mixes documents and either the causal or the window edge crosses it or the
// documents of the two sides interleave; then O((block_q + block_k) log block_q). Thread-safe once
// built; `mask` must outlive it and not change.
class BlockClassifier {
 public:
  BlockClassifier(const Mask& mask, int64_t block_q, int64_t block_k);  // both >= 1
  BlockClassifier(const Mask&&, int64_t, int64_t) = delete;             // would dangle

  int64_t QueryBlocks() const;
  int64_t KeyBlocks() const;
  BlockKind Classify(int64_t b, int64_t query_block, int64_t key_block) const;
  // Of all blocks of a row, [KeyBlocks()]: the same, but the queries are sorted only once, which is
  // most of the work where documents interleave.
  std::vector<BlockKind> ClassifyRow(int64_t b, int64_t query_block) const;

 private:
  struct Summary {  // of one block of ids
    int64_t min_id, max_id;
    int64_t min_nonzero, max_nonzero;  // over ids != 0; min > max where there is none
    bool has_zero;
  };
  enum class RuleAnswer { kNone, kSome, kAll, kUnknown };  // kUnknown: none or some

  static std::vector<Summary> Summarise(const std::vector<int64_t>& ids, int64_t B, int64_t S,
                                        int64_t block);
  // nullopt: partial or empty, only the pairs can tell.
  std::optional<BlockKind> ClassifyByRanges(int64_t b, int64_t query_block,
                                            int64_t key_block) const;
  RuleAnswer AskRule(const Summary& q, const Summary& k) const;

  const Mask& mask_;
  int64_t block_q_, block_k_;
  std::vector<Summary> queries_, keys_;  // [B, blocks]; empty for rule full
};

// The exact number of visible pairs of batch b. O((Sq + Skv) log Sq).
int64_t CountVisible(const Mask& mask, int64_t b);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_PROBLEM_BLOCKS_H_
