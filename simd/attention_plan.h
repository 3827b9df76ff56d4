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

// A block of queries of one query head.
struct QueryBlock {
  int64_t h, q0, nq;
};

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_ATTENTION_PLAN_H_
