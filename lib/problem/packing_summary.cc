#include "lib/problem/packing_summary.h"

namespace bitanchor {
namespace {

void Add(MaskWork& sum, const MaskWork& work) {
  sum.visited_blocks += work.visited_blocks;
  sum.kept_pairs += work.kept_pairs;
}

void AddCounts(PackingSummary& sum, const Packing& packing, const PackedWindow& window) {
  ++sum.windows;
  sum.tokens += packing.S;
  sum.padding += window.padding;
  const int64_t segments = static_cast<int64_t>(window.segments.size());
  sum.segments += segments;
  sum.chunks += packing.options.interleave ? static_cast<int64_t>(window.chunks.size()) : segments;
  if (packing.SharedAnchor()) ++sum.anchors;
  if (packing.AnchorCopies()) sum.anchors += segments;
  for (const Segment& segment : window.segments) sum.tags += segment.tag_length;
}

}  // namespace

PackingSummary Summarise(const Packing& packing, int64_t block_q, int64_t block_k) {
  PackingSummary sum;
  for (size_t w = 0; w < packing.windows.size(); ++w) {
    AddCounts(sum, packing, packing.windows[w]);
    const Mask mask = MaskOf(packing, TokensOf(packing, static_cast<int64_t>(w)));
    const BlockMap map = MapBlocks(mask, 0, block_q, block_k);
    const MaskSummary one = Summarise(mask, 0, block_q, block_k, map);
    sum.pairs += one.pairs;
    sum.blocks.full += one.blocks.full;
    sum.blocks.partial += one.blocks.partial;
    sum.blocks.empty += one.blocks.empty;
    Add(sum.work, one.work);
    Add(sum.full_causal, *one.dense_causal);
  }
  return sum;
}

}  // namespace bitanchor
