#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/attention_backward.cc"
#include "hwy/foreach_target.h"
#include "simd/attention_backward-inl.h"

#if HWY_ONCE
#include <algorithm>
#include <mutex>

#include "lib/problem/blocks.h"
#include "simd/attention.h"
#include "simd/dispatch.h"
#include "simd/parallel.h"

namespace bitanchor::simd {

HWY_EXPORT(BackwardQueryBlock);
HWY_EXPORT(AttentionBackwardTask);
HWY_EXPORT(StoreKeyGradients);

KeyBlockTurns::KeyBlockTurns(int64_t key_heads, int64_t key_blocks,
                             const std::vector<std::vector<int64_t>>& visits)
    : key_blocks_(key_blocks),
      tasks_(static_cast<int64_t>(visits.size())),
      key_heads_(key_heads),
      before_(visits.size() * key_blocks, 0),
      turns_(std::make_unique<std::atomic<int64_t>[]>(key_heads * key_blocks)) {
  std::vector<int32_t> so_far(key_blocks, 0);
  for (size_t task = 0; task < visits.size(); ++task) {
    std::copy(so_far.begin(), so_far.end(), &before_[task * key_blocks]);
    for (const int64_t key_block : visits[task]) ++so_far[key_block];
  }
}

int64_t KeyBlockTurns::Before(int64_t task, int64_t key_block) const {
  return before_[task % tasks_ * key_blocks_ + key_block];
}

std::atomic<int64_t>& KeyBlockTurns::Turn(int64_t task, int64_t key_block) {
  return turns_[task / tasks_ * key_blocks_ + key_block];
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

namespace {

// Queries of a task's blocks: they share packed keys.
constexpr int64_t kMostQueries = 192;

}  // namespace

void AttentionBackward(const AttentionProblem& problem, const AttentionRecipe& recipe,
                       const EngineOptions& options, const AttentionRows& rows,
                       const TensorView& dout, const AttentionGradients& out) {
  const AttentionShape& shape = problem.shape;
  const int64_t Q = BITANCHOR_DISPATCH(BackwardQueryBlock, options.target)();
  const int64_t keys = (options.key_block + kGroupKeys - 1) / kGroupKeys * kGroupKeys;
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

  // Tasks of a key head: of its heads one after the other, of each the query blocks, some at a
  // time.
  const int64_t at_once = std::clamp<int64_t>(
      std::min(kMostQueries / Q, group * q_blocks / (2 * int64_t{Workers(options)})), 1,
      std::max<int64_t>(kMostQueries / Q, 1));
  const int64_t pieces = (q_blocks + at_once - 1) / at_once, head_tasks = group * pieces;
  std::vector<KeyBlockTurns> turns;
  turns.reserve(shape.B);
  for (int64_t b = 0; b < shape.B; ++b) {
    std::vector<std::vector<int64_t>> visits(head_tasks);
    for (int64_t task = 0; task < head_tasks; ++task) {
      for (int64_t key_block = 0; key_block < key_blocks; ++key_block) {
        const int64_t first = task % pieces * at_once, last = std::min(first + at_once, q_blocks);
        bool visited = false;
        for (int64_t n = first; n < last; ++n) {
          visited |= classifier.Classify(b, n, key_block) != BlockKind::kEmpty;
        }
        if (visited) visits[task].push_back(key_block);
      }
    }
    turns.emplace_back(shape.Hkv, key_blocks, visits);
  }

  const int64_t batch_tasks = shape.Hkv * head_tasks, tasks = shape.B * batch_tasks;
  std::vector<BackwardTaskScratch> scratch(Workers(options));
  std::atomic<int64_t> next{0};
  std::mutex progress_mutex;
  int64_t done = 0;
  EngineOptions workers = options;
  workers.progress = nullptr;
  ParallelFor(workers, Workers(options), [&](int64_t, int worker) {
    BackwardTaskScratch& mine = scratch[worker];
    for (int64_t task; (task = next.fetch_add(1)) < tasks;) {
      const int64_t b = task / batch_tasks, in_batch = task % batch_tasks;
      const int64_t key_head = in_batch / head_tasks, in_head = in_batch % head_tasks;
      const int64_t h = key_head * group + in_head / pieces, first = in_head % pieces * at_once;
      try {
        mine.blocks.resize(at_once);
        std::vector<QueryBlock> blocks;
        for (int64_t n = first; n < std::min(first + at_once, q_blocks); ++n) {
          CollectKeyGroups(problem.mask, classifier, b, n, Q, keys,
                           mine.blocks[blocks.size()].groups);
          blocks.push_back({h, n * Q, std::min(Q, shape.Sq - n * Q)});
        }
        if (!BITANCHOR_DISPATCH(AttentionBackwardTask, options.target)(plan, b, blocks, turns[b],
                                                                       in_batch, mine, out.dq)) {
          return;
        }
      } catch (...) {
        for (KeyBlockTurns& batch : turns) batch.Fail();
        throw;
      }
      if (options.progress) {
        const std::lock_guard<std::mutex> lock(progress_mutex);
        options.progress(++done, tasks);
      }
    }
  });

  const int64_t pieces_of_keys = (shape.Skv + keys - 1) / keys;
  ParallelFor(workers, shape.B * pieces_of_keys, [&](int64_t task, int) {
    const int64_t first = task % pieces_of_keys * keys;
    BITANCHOR_DISPATCH(StoreKeyGradients, options.target)
    (plan, task / pieces_of_keys, first, std::min(first + keys, shape.Skv), out);
  });
}

}  // namespace bitanchor::simd
#endif  // HWY_ONCE
