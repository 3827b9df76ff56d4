// What all tasks of one attention call have in common.
#ifndef BITANCHOR_SIMD_ATTENTION_PLAN_H_
#define BITANCHOR_SIMD_ATTENTION_PLAN_H_

#include <cstdint>

#include "lib/problem/attention_problem.h"
#include "lib/recipe/attention_recipe.h"
#include "simd/key_groups.h"
#include "simd/options.h"
#include "simd/packs.h"

namespace bitanchor::simd {

struct AttentionPlan {
  const AttentionProblem& problem;
  const AttentionRecipe& recipe;
  PackGeometry geometry;

  int64_t KeyBlocks() const {
    return (problem.shape.Skv + geometry.block_keys - 1) / geometry.block_keys;
  }
};

// Queries of a task's blocks, which share packed keys.
constexpr int64_t kMostTaskQueries = 192;

// Keys of a key block, and queries of a block on the target that runs.
inline int64_t BlockKeys(const EngineOptions& options) {
  return (options.key_block + kGroupKeys - 1) / kGroupKeys * kGroupKeys;
}
int64_t BlockQueries(const EngineOptions& options);

// Where a forward pass writes; null: not wanted.
struct ForwardOutputs {
  MutableTensorView o;  // [B, Sq, Hq, D]
  float* lse;           // [B, Hq, Sq], as are m and l: the greatest score and the row sum
  float* m;
  float* l;
};

// Rows [first_row, first_row + rows) of one key head, row = head in group x Sq + query.
struct DecodeUnit {
  int64_t b, key_head, first_row, rows;
};

// A block of queries of one query head.
struct QueryBlock {
  int64_t h, q0, nq;
};

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_ATTENTION_PLAN_H_
