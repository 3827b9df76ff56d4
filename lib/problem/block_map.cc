#include "lib/problem/block_map.h"

#include <algorithm>
#include <cassert>
#include <optional>
#include <utility>

namespace bitanchor {
namespace {

// What two neighbouring blocks are together.
BlockKind Together(BlockKind one, BlockKind other) {
  return one == other ? one : BlockKind::kPartial;
}

// How many of keys [from, to] have this id. `by_id`: (id, key) of every key, ascending.
int64_t CountOfDocument(const std::vector<std::pair<int64_t, int64_t>>& by_id, int64_t id,
                        int64_t from, int64_t to) {
  const auto begin = std::lower_bound(by_id.begin(), by_id.end(), std::pair(id, from));
  return std::upper_bound(begin, by_id.end(), std::pair(id, to)) - begin;
}

std::span<const int64_t> OfBatch(const std::vector<int64_t>& ids, int64_t b, int64_t S) {
  return std::span(ids).subspan(b * S, S);
}

// A classifier of all batches would look at the ids of the others, for each of them anew.
Mask OneBatch(const Mask& mask, int64_t b) {
  const auto q_ids = QueryIds(mask, b), k_ids = KeyIds(mask, b);
  return {
      mask.spec, 1, mask.Sq, mask.Skv, {q_ids.begin(), q_ids.end()}, {k_ids.begin(), k_ids.end()}};
}

}  // namespace

BlockMap MapBlocks(const Mask& mask, int64_t b, int64_t block_q, int64_t block_k) {
  const Mask one = OneBatch(mask, b);
  const BlockClassifier classifier(one, block_q, block_k);
  BlockMap map{classifier.QueryBlocks(), classifier.KeyBlocks(), {}};
  map.kinds.reserve(map.query_blocks * map.key_blocks);
  for (int64_t q = 0; q < map.query_blocks; ++q) {
    const std::vector<BlockKind> row = classifier.ClassifyRow(0, q);
    map.kinds.insert(map.kinds.end(), row.begin(), row.end());
  }
  return map;
}

BlockMap Coarsened(const BlockMap& map, int64_t by) {
  assert(by >= 1);
  BlockMap coarse{(map.query_blocks - 1) / by + 1, (map.key_blocks - 1) / by + 1, {}};
  coarse.kinds.resize(coarse.query_blocks * coarse.key_blocks);
  for (int64_t q = 0; q < map.query_blocks; ++q) {
    for (int64_t k = 0; k < map.key_blocks; ++k) {
      BlockKind& kind = coarse.kinds[q / by * coarse.key_blocks + k / by];
      const bool first = q % by == 0 && k % by == 0;
      kind = first ? map.At(q, k) : Together(kind, map.At(q, k));
    }
  }
  return coarse;
}

BlockCounts CountBlocks(const BlockMap& map) {
  BlockCounts counts;
  counts.full = std::count(map.kinds.begin(), map.kinds.end(), BlockKind::kFull);
  counts.partial = std::count(map.kinds.begin(), map.kinds.end(), BlockKind::kPartial);
  counts.empty = static_cast<int64_t>(map.kinds.size()) - counts.full - counts.partial;
  return counts;
}

std::vector<int64_t> KeysSeenByQuery(const Mask& mask, int64_t b) {
  const std::span<const int64_t> q_ids = QueryIds(mask, b), k_ids = KeyIds(mask, b);
  std::vector<std::pair<int64_t, int64_t>> by_id;
  for (size_t j = 0; j < k_ids.size(); ++j) by_id.emplace_back(k_ids[j], j);
  std::sort(by_id.begin(), by_id.end());

  std::optional<int64_t> window = mask.spec.window_keys;
  if (window) window = std::min(*window, mask.Sq + mask.Skv);  // no more, and no overflow below
  std::vector<int64_t> seen(mask.Sq, 0);
  for (int64_t i = 0; i < mask.Sq; ++i) {
    const int64_t at = i + mask.Offset();
    const int64_t to = mask.spec.causal ? std::min(at, mask.Skv - 1) : mask.Skv - 1;
    const int64_t from = window ? std::max<int64_t>(at - *window + 1, 0) : 0;
    if (from > to) continue;
    if (mask.spec.rule == MaskRule::kFull) {
      seen[i] = to - from + 1;
      continue;
    }
    seen[i] = CountOfDocument(by_id, q_ids[i], from, to);
    if (mask.spec.rule == MaskRule::kAnchor && q_ids[i] != 0) {
      seen[i] += CountOfDocument(by_id, 0, from, to);
    }
  }
  return seen;
}

std::vector<DocumentRun> DocumentRuns(std::span<const int64_t> ids) {
  std::vector<DocumentRun> runs;
  for (size_t s = 0; s < ids.size(); ++s) {
    const int64_t at = static_cast<int64_t>(s);
    if (s == 0 || ids[s] != ids[s - 1]) runs.push_back({ids[s], at, at});
    runs.back().end = at + 1;
  }
  return runs;
}

std::span<const int64_t> QueryIds(const Mask& mask, int64_t b) {
  if (mask.spec.rule == MaskRule::kFull) return {};
  return OfBatch(mask.q_ids, b, mask.Sq);
}

std::span<const int64_t> KeyIds(const Mask& mask, int64_t b) {
  if (mask.spec.rule == MaskRule::kFull) return {};
  return OfBatch(mask.k_ids, b, mask.Skv);
}

}  // namespace bitanchor
