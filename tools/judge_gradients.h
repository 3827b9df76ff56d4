// Judging dq, dk, dv and delta by a contract.
#ifndef BITANCHOR_TOOLS_JUDGE_GRADIENTS_H_
#define BITANCHOR_TOOLS_JUDGE_GRADIENTS_H_

#include "lib/file/capture.h"
#include "lib/recipe/contract.h"
#include "lib/recipe/interval.h"
#include "lib/verdict/verdict.h"
#include "simd/options.h"
#include "tools/judge_rows.h"

namespace bitanchor::tools {

// `problem`: q and k as attention reads them. Appends to the verdict what the capture holds of
// delta, dv, dq and dk, in the order in which a kernel makes them. Each is judged from the
// capture's lse and delta where it holds them and they have not failed. With rope, dq and dk are
// those of q and k before their rotation. Sampling spares no query's scores: dk and dv need them
// all.
void JudgeGradients(const Capture& capture, const Contract& contract,
                    const IntervalProblem& problem, const SampleOptions& sample,
                    const simd::EngineOptions& options, Verdict& verdict);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_JUDGE_GRADIENTS_H_
