// The vector engine's attention: the bits of lib/scalar/attention.h on every target and thread
// count.
#ifndef BITANCHOR_SIMD_ATTENTION_H_
#define BITANCHOR_SIMD_ATTENTION_H_

#include "lib/problem/attention_problem.h"
#include "lib/recipe/attention_recipe.h"
#include "simd/options.h"

namespace bitanchor::simd {

// As scalar::AttentionForward: o [B, Sq, Hq, D] rounded once to o.dtype, lse [B, Hq, Sq] contiguous
// or null; q and k are used as they are. Outputs must not alias inputs. Memory beyond inputs and
// outputs: per thread the f32 scores of a block of queries (at most 48) over the keys that they
// see, or of a few blocks while those are small, and a key block or two.
void AttentionForward(const AttentionProblem& problem, const AttentionRecipe& recipe,
                      const EngineOptions& options, const MutableTensorView& o, float* lse);

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_ATTENTION_H_
