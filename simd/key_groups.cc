#include "simd/key_groups.h"

#include <algorithm>
#include <array>

namespace bitanchor::simd {
namespace {

// Bits [begin, end) of a word, each clamped to 0..64.
uint64_t BitRange(int64_t begin, int64_t end) {
  begin = std::clamp<int64_t>(begin, 0, 64);
  end = std::clamp<int64_t>(end, 0, 64);
  if (begin >= end) return 0;
  const uint64_t below_end = end == 64 ? kAllLanes : (uint64_t{1} << end) - 1;
  return below_end & ~((uint64_t{1} << begin) - 1);
}

// A group of a block that is not fully visible.
void AddPartialGroup(const Mask& mask, int64_t b, int64_t q0, int64_t nq, int64_t key,
                     KeyGroups& out) {
  const uint64_t everyone = BitRange(0, nq);
  std::array<uint64_t, kGroupKeys> lanes = {};
  bool any = false, all = true;
  for (int64_t n = 0; n < kGroupKeys; ++n) {
    const uint64_t seen = key + n < mask.Skv ? VisibleLanes(mask, b, q0, nq, key + n) : uint64_t{0};
    lanes[n] = seen == everyone ? kAllLanes : seen;
    any |= seen != 0;
    all &= seen == everyone;
  }
  if (!any) return;
  out.groups.push_back({key, all ? kEveryone : static_cast<int64_t>(out.lanes.size())});
  if (!all) out.lanes.insert(out.lanes.end(), lanes.begin(), lanes.end());
}

}  // namespace

uint64_t VisibleLanes(const Mask& mask, int64_t b, int64_t q0, int64_t nq, int64_t j) {
  const MaskSpec& spec = mask.spec;
  const int64_t at = q0 + mask.Offset();  // lane i stands at key at + i
  const int64_t begin = spec.causal ? j - at : 0;
  const int64_t end = spec.window_keys ? std::min(nq, j - at + *spec.window_keys) : nq;
  uint64_t lanes = BitRange(begin, std::min(end, nq));
  if (spec.rule == MaskRule::kFull || lanes == 0) return lanes;
  const int64_t key_id = mask.k_ids[b * mask.Skv + j];
  if (spec.rule == MaskRule::kAnchor && key_id == 0) return lanes;
  const int64_t* q_ids = &mask.q_ids[b * mask.Sq + q0];
  uint64_t same = 0;
  for (int64_t i = 0; i < nq; ++i) same |= uint64_t{q_ids[i] == key_id} << i;
  return lanes & same;
}

uint64_t VisibleKeys(const Mask& mask, int64_t b, int64_t i, int64_t j0, int64_t nk) {
  const MaskSpec& spec = mask.spec;
  const int64_t at = i + mask.Offset();
  const int64_t end = spec.causal ? std::min(nk, at + 1 - j0) : nk;
  const int64_t begin = spec.window_keys ? at + 1 - *spec.window_keys - j0 : 0;
  const uint64_t keys = BitRange(begin, end);
  if (spec.rule == MaskRule::kFull || keys == 0) return keys;
  const int64_t q_id = mask.q_ids[b * mask.Sq + i];
  const int64_t* k_ids = &mask.k_ids[b * mask.Skv + j0];
  uint64_t allowed = 0;
  for (int64_t n = 0; n < nk; ++n) {
    const bool anchor = spec.rule == MaskRule::kAnchor && k_ids[n] == 0;
    allowed |= uint64_t{anchor || k_ids[n] == q_id} << n;
  }
  return keys & allowed;
}

void CollectKeyGroups(const Mask& mask, const BlockClassifier& classifier, int64_t b,
                      int64_t query_block, int64_t block_q, int64_t block_k, KeyGroups& out) {
  out.groups.clear();
  out.lanes.clear();
  out.chunks.clear();
  const int64_t q0 = query_block * block_q, nq = std::min(block_q, mask.Sq - q0);
  for (int64_t block = 0; block < classifier.KeyBlocks(); ++block) {
    const BlockKind kind = classifier.Classify(b, query_block, block);
    if (kind == BlockKind::kEmpty) continue;
    const auto first = static_cast<int64_t>(out.groups.size());
    const int64_t begin = block * block_k, end = std::min(begin + block_k, mask.Skv);
    for (int64_t key = begin; key < end; key += kGroupKeys) {
      if (kind == BlockKind::kFull && key + kGroupKeys <= end) {
        out.groups.push_back({key, kEveryone});
      } else {
        AddPartialGroup(mask, b, q0, nq, key, out);
      }
    }
    const auto last = static_cast<int64_t>(out.groups.size());
    if (last > first) out.chunks.push_back({block, first, last});
  }
}

}  // namespace bitanchor::simd
