// The executable definition of the RoPE recipes.
#ifndef BITANCHOR_LIB_SCALAR_ROPE_H_
#define BITANCHOR_LIB_SCALAR_ROPE_H_

#include <cstdint>
#include <vector>

#include "lib/problem/rope_config.h"
#include "lib/recipe/rope_recipe.h"
#include "lib/tensor/tensor_view.h"

namespace bitanchor::scalar {

// in, out: [B, S, H, D], same shape, out in F (in's dtype). positions: [B, S]. Dimensions from
// rotary_dim on are copied. out may be in itself.
void ApplyRope(const RopeConfig& config, const RopeRecipe& recipe, const TensorView& in,
               const std::vector<int64_t>& positions, const MutableTensorView& out,
               RopeDirection direction = RopeDirection::kForward);

}  // namespace bitanchor::scalar

#endif  // BITANCHOR_LIB_SCALAR_ROPE_H_
