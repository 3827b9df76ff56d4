// Judging q_rope and k_rope by a contract, and what attention starts from.
#ifndef BITANCHOR_TOOLS_JUDGE_ROPE_H_
#define BITANCHOR_TOOLS_JUDGE_ROPE_H_

#include "lib/file/capture.h"
#include "lib/recipe/contract.h"
#include "lib/recipe/interval.h"
#include "lib/verdict/verdict.h"
#include "simd/options.h"
#include "tools/compute.h"

namespace bitanchor::tools {

// One of q and k as attention reads it: the kernel's own rotation where the capture holds it, else
// the recipe's, with how far a conforming kernel may be from it.
struct RotatedInput {
  OwnedTensor centre, deviation;  // F32; empty where the kernel's rotation is in the capture
  TensorView start;
};

struct RotatedInputs {
  RotatedInput q, k;
};

// The capture has rope. Appends to the verdict what it holds of q_rope and k_rope, and the inverse
// frequencies in which the kernel must differ from the recipe.
RotatedInputs JudgeRope(const Capture& capture, const Contract& contract,
                        const simd::EngineOptions& options, Verdict& verdict);

// What the intervals of attention are made from: with rope, `rotated` stands for q and k. It must
// outlive the result.
IntervalProblem AttentionOf(const Capture& capture, const RotatedInputs& rotated);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_JUDGE_ROPE_H_
