#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/attention_backward.cc"
#include "hwy/foreach_target.h"
#include "simd/attention_backward-inl.h"

#if HWY_ONCE
#include <algorithm>

#include "lib/problem/blocks.h"
#include "simd/attention.h"
#include "simd/dispatch.h"
#include "simd/parallel.h"

namespace bitanchor::simd {

HWY_EXPORT(AttentionBackwardTask);
HWY_EXPORT(StoreKeyGradients);

KeyBlockTurns::KeyBlockTurns(int64_t key_heads, int64_t heads_each, int64_t key_blocks,
                             const std::vector<std::vector<bool>>& visits)
    : key_blocks_(key_blocks),
      key_heads_(key_heads),
      heads_each_(heads_each),
      tasks_(static_cast<int64_t>(visits.size())),
      before_((visits.size() + 1) * key_blocks, 0),
      turns_(std::make_unique<std::atomic<int64_t>[]>(key_heads * key_blocks)) {
  for (int64_t task = 0; task < tasks_; ++task) {
    for (int64_t key_block = 0; key_block < key_blocks; ++key_block) {
      const int64_t at = task * key_blocks + key_block;
      before_[at + key_blocks] = before_[at] + visits[task][key_block];
    }
  }
}

int64_t KeyBlockTurns::Before(int64_t task, int64_t key_block) const {
  const int64_t head = task / tasks_ % heads_each_;
  return head * before_[tasks_ * key_blocks_ + key_block] +
         before_[task % tasks_ * key_blocks_ + key_block];
}

std::atomic<int64_t>& KeyBlockTurns::Turn(int64_t task, int64_t key_block) {
  return turns_[task / tasks_ / heads_each_ * key_blocks_ + key_block];
}

bool KeyBlockTurns::Await(int64_t task, int64_t key_block) {
  const int64_t mine = Before(task, key_block);
  std::atomic<int64_t>& turn = Turn(task, key_block);
  for (int64_t now; (now = turn.load(std::memory_order_acquire)) != mine;) {
    if (now < 0) return false;
    turn.wait(now, std::memory_order_acquire);
  }
  return true;
}

void KeyBlockTurns::Pass(int64_t task, int64_t key_block) {
  // Not over a Fail.
  int64_t mine = Before(task, key_block);
  std::atomic<int64_t>& turn = Turn(task, key_block);
  turn.compare_exchange_strong(mine, mine + 1, std::memory_order_release,
                               std::memory_order_relaxed);
  turn.notify_all();
}

void KeyBlockTurns::Fail() {
  for (int64_t n = 0; n < key_heads_ * key_blocks_; ++n) {
    turns_[n].store(-1);
    turns_[n].notify_all();
  }
}

void AttentionBackward(const AttentionProblem& problem, const AttentionRecipe& recipe,
                       const EngineOptions& options, const AttentionRows& rows,
                       const TensorView& dout, const AttentionGradients& out) {
  const AttentionShape& shape = problem.shape;
  const int64_t Q = BlockQueries(options), keys = BlockKeys(options);
  const PackGeometry geometry(shape, PackFormat::kF32, PackFormat::kF32, keys);
  const BlockClassifier classifier(problem.mask, Q, keys);
  const int64_t q_blocks = classifier.QueryBlocks(), key_blocks = classifier.KeyBlocks();
  const int64_t columns = (shape.D + Q - 1) / Q, group = shape.Hq / shape.Hkv;

  KeyGradientSums sums{nullptr, nullptr, key_blocks, shape.Hkv, columns, Q, key_blocks * keys * Q};
  AlignedBuffer<float> memory;
  sums.dk = memory.Reserve(2 * sums.Size(shape.B));
  sums.dv = sums.dk + sums.Size(shape.B);
  std::fill(sums.dk, sums.dk + 2 * sums.Size(shape.B), 0.0f);
  const TensorView o =
      DenseView(DType::kF32, reinterpret_cast<const std::byte*>(rows.o.data()), problem.q.shape);
  const BackwardPlan plan{problem, recipe, geometry, rows, o, dout, sums};

  // Tasks of a query head: its query blocks, some at a time.
  const int64_t at_once = std::clamp<int64_t>(
      std::min(kMostTaskQueries / Q, group * q_blocks / (2 * int64_t{Workers(options)})), 1,
      std::max<int64_t>(kMostTaskQueries / Q, 1));
  const int64_t head_tasks = (q_blocks + at_once - 1) / at_once;
  std::vector<KeyBlockTurns> turns;
  turns.reserve(shape.B);
  for (int64_t b = 0; b < shape.B; ++b) {
    std::vector<std::vector<bool>> visits(head_tasks, std::vector<bool>(key_blocks));
    for (int64_t n = 0; n < q_blocks; ++n) {
      for (int64_t key_block = 0; key_block < key_blocks; ++key_block) {
        if (classifier.Classify(b, n, key_block) != BlockKind::kEmpty) {
          visits[n / at_once][key_block] = true;
        }
      }
    }
    turns.emplace_back(shape.Hkv, group, key_blocks, visits);
  }

  const int64_t batch_tasks = shape.Hq * head_tasks;
  std::vector<BackwardTaskScratch> scratch(Workers(options));
  ParallelFor(options, shape.B * batch_tasks, [&](int64_t task, int worker) {
    BackwardTaskScratch& mine = scratch[worker];
    const int64_t b = task / batch_tasks, in_batch = task % batch_tasks;
    const int64_t h = in_batch / head_tasks, first = in_batch % head_tasks * at_once;
    try {
      mine.blocks.resize(at_once);
      std::vector<QueryBlock> blocks;
      for (int64_t n = first; n < std::min(first + at_once, q_blocks); ++n) {
        CollectKeyGroups(problem.mask, classifier, b, n, Q, keys,
                         mine.blocks[blocks.size()].groups);
        blocks.push_back({h, n * Q, std::min(Q, shape.Sq - n * Q)});
      }
      BITANCHOR_DISPATCH(AttentionBackwardTask, options.target)
      (plan, b, blocks, turns[b], in_batch, mine, out.dq);
    } catch (...) {
      for (KeyBlockTurns& batch : turns) batch.Fail();
      throw;
    }
  });

  const int64_t pieces_of_keys = (shape.Skv + keys - 1) / keys;
  EngineOptions no_progress = options;
  no_progress.progress = nullptr;
  ParallelFor(no_progress, shape.B * pieces_of_keys, [&](int64_t task, int) {
    const int64_t first = task % pieces_of_keys * keys;
    BITANCHOR_DISPATCH(StoreKeyGradients, options.target)
    (plan, task / pieces_of_keys, first, std::min(first + keys, shape.Skv), out);
  });
}

}  // namespace bitanchor::simd
#endif  // HWY_ONCE
