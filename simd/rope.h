// The vector engine's RoPE: the bits of lib/scalar/rope.h.
#ifndef BITANCHOR_SIMD_ROPE_H_
#define BITANCHOR_SIMD_ROPE_H_

#include <cstdint>
#include <vector>

#include "lib/problem/rope_config.h"
#include "lib/recipe/rope_recipe.h"
#include "lib/tensor/tensor_view.h"
#include "simd/options.h"

namespace bitanchor::simd {

// As scalar::ApplyRope: in, out [B, S, H, D], out in in's dtype, positions [B, S]; out may be in
// itself.
void ApplyRope(const RopeConfig& config, const RopeRecipe& recipe, const TensorView& in,
               const std::vector<int64_t>& positions, const EngineOptions& options,
               const MutableTensorView& out, RopeDirection direction = RopeDirection::kForward);

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_ROPE_H_
