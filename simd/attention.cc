#include "simd/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/attention.cc"
#include "hwy/foreach_target.h"
#include "simd/attention-inl.h"

#if HWY_ONCE
#include "simd/dispatch.h"
#include "simd/parallel.h"

namespace bitanchor::simd {

HWY_EXPORT(AttentionQueryBlock);
HWY_EXPORT(AttentionForwardBlock);

void AttentionForward(const AttentionProblem& problem, const AttentionRecipe& recipe,
                      const EngineOptions& options, const MutableTensorView& o, float* lse) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  (void)Skv;
  (void)Hkv;
  (void)D;
  const int64_t block_q = BITANCHOR_DISPATCH(AttentionQueryBlock, options.target)();
  const BlockClassifier classifier(problem.mask, block_q, options.key_block);
  const int64_t blocks = classifier.QueryBlocks();
  std::vector<AttentionScratch> scratch(Workers(options));
  // The last query blocks see the most keys in a causal mask: they start first.
  ParallelFor(options, B * Hq * blocks, [&, Sq = Sq, Hq = Hq](int64_t task, int worker) {
    const int64_t block = blocks - 1 - task % blocks, head = task / blocks;
    const int64_t b = head / Hq, h = head % Hq;
    AttentionScratch& mine = scratch[worker];
    CollectKeyRows(problem.mask, classifier, b, block, block_q, options.key_block, mine.rows);
    const int64_t q0 = block * block_q;
    BITANCHOR_DISPATCH(AttentionForwardBlock, options.target)
    (problem, recipe, b, h, q0, std::min(block_q, Sq - q0), mine, o, lse);
  });
}

}  // namespace bitanchor::simd
#endif  // HWY_ONCE
