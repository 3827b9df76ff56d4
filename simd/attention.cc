#include "simd/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/attention.cc"
#include "hwy/foreach_target.h"
#include "simd/attention-inl.h"
#include "simd/decode-inl.h"

#if HWY_ONCE
#include "simd/bf16_dot.h"
#include "simd/dispatch.h"
#include "simd/parallel.h"

namespace bitanchor::simd {

HWY_EXPORT(AttentionQueryBlock);
HWY_EXPORT(AttentionForwardTask);
HWY_EXPORT(AttentionDecodeTask);

int64_t BlockQueries(const EngineOptions& options) {
  return BITANCHOR_DISPATCH(AttentionQueryBlock, options.target)();
}

namespace {

// Scores of a task's blocks, all together, unless one block's are more.
constexpr int64_t kScores_bytes = int64_t{16} << 20;

PackGeometry Geometry(const AttentionProblem& problem, const AttentionRecipe& recipe,
                      const EngineOptions& options) {
  const bool pairs = problem.dtype == DType::kBF16 && UsesBF16Dot(options.target);
  const bool v_pairs = pairs && recipe.weights == WeightRounding::kBF16;
  return {problem.shape, pairs ? PackFormat::kPairs : PackFormat::kF32,
          v_pairs ? PackFormat::kPairs : PackFormat::kF32, BlockKeys(options)};
}

// Queries up to which lanes are better spent on keys.
constexpr int64_t kMostDecodeQueries = 15;
constexpr int64_t kMostUnits = 8;

void Decode(const AttentionPlan& plan, const EngineOptions& options, const ForwardOutputs& out) {
  const AttentionShape& shape = plan.problem.shape;
  // A key head's rows are cut into pieces of as many as the bound allows; then key heads go
  // together.
  const int64_t rows = shape.Hq / shape.Hkv * shape.Sq, row_bytes = 4 * shape.Skv;
  const int64_t most_rows = std::min(rows, std::max<int64_t>(8, kScores_bytes / row_bytes / 8 * 8));
  const int64_t pieces = (rows + most_rows - 1) / most_rows, units = shape.B * pieces * shape.Hkv;
  const int64_t fair = (units + Workers(options) - 1) / Workers(options);
  const int64_t at_once = std::clamp<int64_t>(
      std::min(fair, kScores_bytes / (row_bytes * most_rows)), 1, std::min(kMostUnits, shape.Hkv));
  const int64_t head_tasks = (shape.Hkv + at_once - 1) / at_once;
  std::vector<DecodeTaskScratch> scratch(Workers(options));
  ParallelFor(options, shape.B * pieces * head_tasks, [&](int64_t task, int worker) {
    const int64_t piece = task / head_tasks % pieces, b = task / head_tasks / pieces;
    const int64_t head = task % head_tasks * at_once, row = piece * most_rows;
    std::vector<DecodeUnit> task_units;
    for (int64_t n = head; n < std::min(head + at_once, shape.Hkv); ++n) {
      task_units.push_back({b, n, row, std::min(most_rows, rows - row)});
    }
    BITANCHOR_DISPATCH(AttentionDecodeTask, options.target)
    (plan, task_units, scratch[worker], out);
  });
}

void Forward(const AttentionProblem& problem, const AttentionRecipe& recipe,
             const EngineOptions& options, const ForwardOutputs& out) {
  const AttentionShape& shape = problem.shape;
  const AttentionPlan plan{problem, recipe, Geometry(problem, recipe, options)};
  if (shape.Sq <= kMostDecodeQueries) return Decode(plan, options, out);
  const int64_t block_q = BlockQueries(options);
  const BlockClassifier classifier(problem.mask, block_q, plan.geometry.block_keys);
  const int64_t q_blocks = classifier.QueryBlocks(), group = shape.Hq / shape.Hkv;

  // All query blocks of a key head, the group's heads one after the other, are cut into tasks:
  // large ones, but several for every thread.
  const int64_t blocks = group * q_blocks, heads = shape.B * shape.Hkv;
  const int64_t at_once =
      std::clamp<int64_t>(std::min(kScores_bytes / (4 * block_q * shape.Skv),
                                   blocks * heads / (4 * int64_t{Workers(options)})),
                          1, std::max<int64_t>(kMostTaskQueries / block_q, 1));
  const int64_t head_tasks = (blocks + at_once - 1) / at_once;
  std::vector<AttentionScratch> scratch(Workers(options));
  ParallelFor(options, heads * head_tasks, [&](int64_t task, int worker) {
    // The last query blocks see the most keys in a causal mask: they start first.
    const int64_t head = task / head_tasks, first = (head_tasks - 1 - task % head_tasks) * at_once;
    const int64_t b = head / shape.Hkv, key_head = head % shape.Hkv;
    AttentionScratch& mine = scratch[worker];
    mine.blocks.resize(at_once);
    std::vector<QueryBlock> task_blocks;
    for (int64_t n = first; n < std::min(first + at_once, blocks); ++n) {
      const int64_t block = n % q_blocks, q0 = block * block_q;
      CollectKeyGroups(problem.mask, classifier, b, block, block_q, plan.geometry.block_keys,
                       mine.blocks[task_blocks.size()].groups);
      task_blocks.push_back(
          {key_head * group + n / q_blocks, q0, std::min(block_q, shape.Sq - q0)});
    }
    BITANCHOR_DISPATCH(AttentionForwardTask, options.target)
    (plan, b, key_head, task_blocks, mine, out);
  });
}

}  // namespace

void AttentionForward(const AttentionProblem& problem, const AttentionRecipe& recipe,
                      const EngineOptions& options, const MutableTensorView& o, float* lse) {
  Forward(problem, recipe, options, {o, lse, nullptr, nullptr});
}

AttentionRows AttentionForwardRows(const AttentionProblem& problem, const AttentionRecipe& recipe,
                                   const EngineOptions& options, float* lse) {
  const AttentionShape& shape = problem.shape;
  AttentionRows rows;
  rows.o.resize(shape.B * shape.Sq * shape.Hq * shape.D);
  rows.m.resize(shape.B * shape.Hq * shape.Sq);
  rows.l.resize(rows.m.size());
  const MutableTensorView o =
      DenseView(DType::kF32, reinterpret_cast<std::byte*>(rows.o.data()), problem.q.shape);
  Forward(problem, recipe, options, {o, lse, rows.m.data(), rows.l.data()});
  return rows;
}

}  // namespace bitanchor::simd
#endif  // HWY_ONCE
