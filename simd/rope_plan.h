// One call of ApplyRope, made ready for the vector code.
#ifndef BITANCHOR_SIMD_ROPE_PLAN_H_
#define BITANCHOR_SIMD_ROPE_PLAN_H_

#include <cstdint>
#include <vector>

#include "lib/problem/rope_config.h"
#include "lib/recipe/rope_recipe.h"
#include "lib/tensor/tensor_view.h"

namespace bitanchor::simd {

struct RopePlan {
  const RopeConfig& config;
  const RopeRecipe& recipe;
  TensorView in;             // [B, S, H, D]
  const int64_t* positions;  // [B, S]
  MutableTensorView out;     // may be `in`
  // [R/2]: what the angle's rule takes beside the position; unused where tables are given.
  std::vector<float> operands;
  StageFormat operand, angle, table;  // what those stages round to, never kModel
  float factor;                       // of computed cos and sin
  RopeDirection direction;
  bool stream;  // results go past the caches

  int64_t Half() const { return config.rotary_dim / 2; }
  bool Interleaved() const { return config.pairing == RopePairing::kInterleaved; }
};

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_ROPE_PLAN_H_
