// What all tasks of one backward pass have in common.
#ifndef BITANCHOR_SIMD_ATTENTION_BACKWARD_PLAN_H_
#define BITANCHOR_SIMD_ATTENTION_BACKWARD_PLAN_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "lib/problem/attention_problem.h"
#include "lib/recipe/attention_recipe.h"
#include "simd/attention.h"
#include "simd/packs.h"
#include "simd/scratch.h"

namespace bitanchor::simd {

// The folds of dk and dv on their way, f32, [B][Hkv][column][keys][W]: a column is W dimensions,
// what a register tile has lanes for; keys are rounded up to whole key blocks.
struct KeyGradientSums {
  float *dk, *dv;
  int64_t key_blocks, Hkv, columns, W, column_size;  // column_size: keys x W

  // Of key j in the first column; the next column's lies column_size further.
  int64_t At(int64_t b, int64_t key_head, int64_t j) const {
    return (b * Hkv + key_head) * columns * column_size + j * W;
  }
  int64_t Size(int64_t B) const { return B * Hkv * columns * column_size; }
};

struct BackwardPlan {
  const AttentionProblem& problem;
  const AttentionRecipe& recipe;
  PackGeometry geometry;  // of k and v alike, in f32
  const AttentionRows& rows;
  TensorView o;  // rows.o
  TensorView dout;
  KeyGradientSums sums;
};

// Whose turn it is to add to a key block's gradients: tasks of one key head add in the order of
// their numbers. A task waits only for tasks with lower numbers. ParallelFor begins tasks in
// ascending order, so the lowest unfinished one never waits, and all get done on any number of
// threads.
class KeyBlockTurns {
 public:
  // visits[task of a query head][key block]: whether it adds there, the same for every head.
  KeyBlockTurns(int64_t key_heads, int64_t heads_each, int64_t key_blocks,
                const std::vector<std::vector<bool>>& visits);

  // Tasks are numbered on through the query heads. False: Fail was called.
  bool Await(int64_t task, int64_t key_block);
  void Pass(int64_t task, int64_t key_block);
  // A task will not come to its end: nobody waits any longer.
  void Fail();

 private:
  int64_t Before(int64_t task, int64_t key_block) const;
  std::atomic<int64_t>& Turn(int64_t task, int64_t key_block);

  const int64_t key_blocks_, key_heads_, heads_each_, tasks_;  // tasks_: of one query head
  // [task][key block]: how many of its head add there first; last of all, how many ever do.
  std::vector<int32_t> before_;
  std::unique_ptr<std::atomic<int64_t>[]> turns_;  // [key head][key block]: how many have
};

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_ATTENTION_BACKWARD_PLAN_H_
