// What all tasks of one attention call have in common.
#ifndef BITANCHOR_SIMD_ATTENTION_PLAN_H_
#define BITANCHOR_SIMD_ATTENTION_PLAN_H_

#include <cstdint>

#include "lib/problem/attention_problem.h"
#include "lib/recipe/attention_recipe.h"
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
