// Everything here rests on two facts. First, causality and the window look at a pair only through
// the distance d = i' - j, and ask that it lie in one interval. The pairs of a rectangle take every
// distance between its smallest and its largest, so a block is inside, outside or across that
// interval in O(1). Second, the rule looks at a pair only through its two ids. Only a block that is
// mixed in ids, and not settled by their ranges, is looked at pair by pair, through queries sorted
// by (id, place).
#include "lib/problem/blocks.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

namespace bitanchor {
namespace {

// The distances d = i' - j that causality and the window allow.
struct DistanceRange {
  int64_t low, high;
  bool Meets(int64_t from, int64_t to) const { return from <= high && low <= to; }
  bool Covers(int64_t from, int64_t to) const { return low <= from && to <= high; }
};

// Unlimited is a number no distance reaches, small enough that adding a place to it cannot
// overflow.
DistanceRange AllowedDistances(const Mask& mask) {
  const int64_t unlimited = mask.Sq + mask.Skv;
  return {mask.spec.causal ? 0 : -unlimited,
          mask.spec.window_keys ? std::min(*mask.spec.window_keys - 1, unlimited) : unlimited};
}

// Tokens [begin, end).
struct Range {
  int64_t begin, end;
};

// The tokens of block n of a sequence.
Range BlockRange(int64_t n, int64_t block, int64_t tokens) {
  return {n * block, tokens - n * block <= block ? tokens : (n + 1) * block};
}

// Finds, for a key, the queries of a range that see it, in O(log queries).
class QueryIndex {
 public:
  QueryIndex(const Mask& mask, int64_t b, const Range& q)
      : mask_(mask),
        b_(b),
        first_(q.begin + mask.Offset()),
        last_(q.end - 1 + mask.Offset()),
        allowed_(AllowedDistances(mask)) {
    if (mask.spec.rule == MaskRule::kFull) return;
    by_id_.reserve(q.end - q.begin);
    for (int64_t i = q.begin; i < q.end; ++i) {
      by_id_.emplace_back(mask.q_ids[b * mask.Sq + i], i + mask.Offset());
    }
    // Documents mostly lie in order already.
    if (!std::is_sorted(by_id_.begin(), by_id_.end())) std::sort(by_id_.begin(), by_id_.end());
  }

  int64_t CountSeeing(int64_t j) const {
    const int64_t from = std::max(first_, j + allowed_.low);
    const int64_t to = std::min(last_, j + allowed_.high);
    if (from > to) return 0;
    if (mask_.spec.rule == MaskRule::kFull) return to - from + 1;
    const int64_t id = mask_.k_ids[b_ * mask_.Skv + j];
    if (mask_.spec.rule == MaskRule::kAnchor && id == 0) return to - from + 1;
    const auto begin = std::lower_bound(by_id_.begin(), by_id_.end(), std::pair(id, from));
    const auto end = std::upper_bound(begin, by_id_.end(), std::pair(id, to));
    return end - begin;
  }

 private:
  const Mask& mask_;
  int64_t b_, first_, last_;  // first_, last_: where the outermost queries stand, i'
  DistanceRange allowed_;
  std::vector<std::pair<int64_t, int64_t>> by_id_;  // (document id, i')
};

bool AnySeen(const QueryIndex& queries, const Range& keys) {
  for (int64_t j = keys.begin; j < keys.end; ++j) {
    if (queries.CountSeeing(j) > 0) return true;
  }
  return false;
}

// ceil(size / block) without the sum that could overflow; size >= 1.
int64_t BlocksOf(int64_t size, int64_t block) { return (size - 1) / block + 1; }

}  // namespace

BlockClassifier::BlockClassifier(const Mask& mask, int64_t block_q, int64_t block_k)
    : mask_(mask), block_q_(block_q), block_k_(block_k) {
  assert(block_q >= 1 && block_k >= 1);
  if (mask.spec.rule == MaskRule::kFull) return;
  queries_ = Summarise(mask.q_ids, mask.B, mask.Sq, block_q_);
  keys_ = Summarise(mask.k_ids, mask.B, mask.Skv, block_k_);
}

int64_t BlockClassifier::QueryBlocks() const { return BlocksOf(mask_.Sq, block_q_); }
int64_t BlockClassifier::KeyBlocks() const { return BlocksOf(mask_.Skv, block_k_); }

std::vector<BlockClassifier::Summary> BlockClassifier::Summarise(const std::vector<int64_t>& ids,
                                                                 int64_t B, int64_t S,
                                                                 int64_t block) {
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const int64_t blocks = BlocksOf(S, block);
  std::vector<Summary> summaries(B * blocks, Summary{kMost, kLeast, kMost, kLeast, false});
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t s = 0; s < S; ++s) {
      const int64_t id = ids[b * S + s];
      Summary& summary = summaries[b * blocks + s / block];
      summary.min_id = std::min(summary.min_id, id);
      summary.max_id = std::max(summary.max_id, id);
      if (id == 0) {
        summary.has_zero = true;
      } else {
        summary.min_nonzero = std::min(summary.min_nonzero, id);
        summary.max_nonzero = std::max(summary.max_nonzero, id);
      }
    }
  }
  return summaries;
}

// What the rule says of all pairs of two blocks, causality and window aside. The ends of a range
// are ids that do occur, so ranges that share an end hold a pair that matches.
BlockClassifier::RuleAnswer BlockClassifier::AskRule(const Summary& q, const Summary& k) const {
  const bool one_query_id = q.min_id == q.max_id;
  const bool anchor = mask_.spec.rule == MaskRule::kAnchor;
  const bool seen_by_all = anchor && k.has_zero;  // at least one key is
  const int64_t k_min = anchor ? k.min_nonzero : k.min_id;
  const int64_t k_max = anchor ? k.max_nonzero : k.max_id;
  if (k_min > k_max) return RuleAnswer::kAll;  // rule anchor, and nothing but anchors
  if (one_query_id && k_min == k_max && k_min == q.min_id) return RuleAnswer::kAll;
  if (seen_by_all) return RuleAnswer::kSome;
  if (q.max_id < k_min || k_max < q.min_id) return RuleAnswer::kNone;
  const bool shared_end =
      k_min == q.min_id || k_min == q.max_id || k_max == q.min_id || k_max == q.max_id;
  return shared_end ? RuleAnswer::kSome : RuleAnswer::kUnknown;
}

std::optional<BlockKind> BlockClassifier::ClassifyByRanges(int64_t b, int64_t query_block,
                                                           int64_t key_block) const {
  assert(0 <= b && b < mask_.B);
  assert(0 <= query_block && query_block < QueryBlocks());
  assert(0 <= key_block && key_block < KeyBlocks());
  const Range q = BlockRange(query_block, block_q_, mask_.Sq);
  const Range k = BlockRange(key_block, block_k_, mask_.Skv);
  const DistanceRange allowed = AllowedDistances(mask_);
  const int64_t nearest = q.begin + mask_.Offset() - (k.end - 1);
  const int64_t farthest = q.end - 1 + mask_.Offset() - k.begin;
  if (!allowed.Meets(nearest, farthest)) return BlockKind::kEmpty;
  const bool all_near = allowed.Covers(nearest, farthest);
  if (mask_.spec.rule == MaskRule::kFull) {
    return all_near ? BlockKind::kFull : BlockKind::kPartial;
  }

  switch (AskRule(queries_[b * QueryBlocks() + query_block], keys_[b * KeyBlocks() + key_block])) {
    case RuleAnswer::kAll:
      return all_near ? BlockKind::kFull : BlockKind::kPartial;
    case RuleAnswer::kNone:
      return BlockKind::kEmpty;
    case RuleAnswer::kSome:
      if (all_near) return BlockKind::kPartial;
      break;  // the pairs that match may be the ones out of reach
    case RuleAnswer::kUnknown:
      break;
  }
  return std::nullopt;
}

BlockKind BlockClassifier::Classify(int64_t b, int64_t query_block, int64_t key_block) const {
  const std::optional<BlockKind> kind = ClassifyByRanges(b, query_block, key_block);
  if (kind) return *kind;
  const QueryIndex queries(mask_, b, BlockRange(query_block, block_q_, mask_.Sq));
  const bool any = AnySeen(queries, BlockRange(key_block, block_k_, mask_.Skv));
  return any ? BlockKind::kPartial : BlockKind::kEmpty;
}

std::vector<BlockKind> BlockClassifier::ClassifyRow(int64_t b, int64_t query_block) const {
  std::vector<BlockKind> kinds;
  kinds.reserve(KeyBlocks());
  std::optional<QueryIndex> queries;  // made where it is needed
  for (int64_t k = 0; k < KeyBlocks(); ++k) {
    std::optional<BlockKind> kind = ClassifyByRanges(b, query_block, k);
    if (!kind) {
      if (!queries) queries.emplace(mask_, b, BlockRange(query_block, block_q_, mask_.Sq));
      const bool any = AnySeen(*queries, BlockRange(k, block_k_, mask_.Skv));
      kind = any ? BlockKind::kPartial : BlockKind::kEmpty;
    }
    kinds.push_back(*kind);
  }
  return kinds;
}

int64_t CountVisible(const Mask& mask, int64_t b) {
  const QueryIndex queries(mask, b, {0, mask.Sq});
  int64_t count = 0;
  for (int64_t j = 0; j < mask.Skv; ++j) count += queries.CountSeeing(j);
  return count;
}

}  // namespace bitanchor
