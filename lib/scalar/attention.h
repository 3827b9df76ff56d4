// The executable definition of the attention recipes. Slow on purpose: it is meant to be read.
#ifndef BITANCHOR_LIB_SCALAR_ATTENTION_H_
#define BITANCHOR_LIB_SCALAR_ATTENTION_H_

#include "lib/problem/attention_problem.h"
#include "lib/recipe/attention_recipe.h"

namespace bitanchor::scalar {

// o: [B, Sq, Hq, D] of any floating dtype, rounded to it once. lse: [B, Hq, Sq] contiguous, may be
// null. q and k of the problem are used as they are: rotate them first (lib/scalar/rope.h);
// problem.rope and the positions are not looked at. Outputs must not alias inputs. Special values:
// numerics section 4.
void AttentionForward(const AttentionProblem& problem, const AttentionRecipe& recipe,
                      const MutableTensorView& o, float* lse);

// dout: [B, Sq, Hq, D], the gradient of a loss with respect to o. dq, dk and dv: those with respect
// to the problem's q, k and v, of their shapes, each rounded to its dtype once. A key that no query
// sees gets +0, and so does a query that sees none. The rest as for AttentionForward.
void AttentionBackward(const AttentionProblem& problem, const AttentionRecipe& recipe,
                       const TensorView& dout, const AttentionGradients& out);

}  // namespace bitanchor::scalar

#endif  // BITANCHOR_LIB_SCALAR_ATTENTION_H_
