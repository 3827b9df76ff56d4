#include "lib/problem/mask_summary.h"

#include <algorithm>
#include <set>
#include <vector>

namespace bitanchor {

MaskSummary Summarise(const Mask& mask, int64_t b, int64_t block_q, int64_t block_k,
                      const BlockMap& map) {
  MaskSummary summary;
  summary.pairs = mask.Sq * mask.Skv;
  summary.blocks = CountBlocks(map);
  summary.work = {summary.blocks.Visited(), CountVisible(mask, b)};
  summary.dense = {summary.blocks.All(), summary.pairs};
  if (mask.spec.causal) {
    const MaskSpec causal{MaskRule::kFull, true, std::nullopt, mask.spec.corner};
    const Mask dense{causal, 1, mask.Sq, mask.Skv, {}, {}};
    summary.dense_causal = {CountBlocks(MapBlocks(dense, 0, block_q, block_k)).Visited(),
                            CountVisible(dense, 0)};
  }
  const std::vector<int64_t> seen = KeysSeenByQuery(mask, b);
  summary.blind_queries = std::count(seen.begin(), seen.end(), 0);
  if (summary.blind_queries > 0) {
    summary.first_blind = std::find(seen.begin(), seen.end(), 0) - seen.begin();
  }
  std::set<int64_t> documents;
  for (const DocumentRun& run : DocumentRuns(KeyIds(mask, b))) {
    if (mask.spec.rule == MaskRule::kAnchor && run.id == 0) {
      summary.anchors += run.end - run.begin;
    } else {
      documents.insert(run.id);
    }
  }
  summary.documents = static_cast<int64_t>(documents.size());
  return summary;
}

std::optional<double> SpeedUp(int64_t whole, int64_t work) {
  if (work == 0) return std::nullopt;
  return static_cast<double>(whole) / static_cast<double>(work);
}

}  // namespace bitanchor
