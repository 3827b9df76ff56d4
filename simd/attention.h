// The vector engine's attention: the bits of lib/scalar/attention.h on every target and thread
// count.
#ifndef BITANCHOR_SIMD_ATTENTION_H_
#define BITANCHOR_SIMD_ATTENTION_H_

#include <vector>

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

// What a backward pass needs of the forward pass: o [B, Sq, Hq, D] not rounded beyond f32, the
// greatest visible score m and the row sum l [B, Hq, Sq] (-inf and 0 where no key is visible).
struct AttentionRows {
  std::vector<float> o, m, l;
};

// The same forward pass, kept in f32. lse [B, Hq, Sq], or null.
AttentionRows AttentionForwardRows(const AttentionProblem& problem, const AttentionRecipe& recipe,
                                   const EngineOptions& options, float* lse = nullptr);

// As scalar::AttentionBackward, `rows` being what AttentionForwardRows returned for this problem
// and recipe. Memory beyond inputs and outputs: dk and dv once more in f32, and per thread some
// blocks.
void AttentionBackward(const AttentionProblem& problem, const AttentionRecipe& recipe,
                       const EngineOptions& options, const AttentionRows& rows,
                       const TensorView& dout, const AttentionGradients& out);

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_ATTENTION_H_
