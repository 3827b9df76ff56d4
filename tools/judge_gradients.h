// Judging dq, dk, dv and delta by a contract.
#ifndef BITANCHOR_TOOLS_JUDGE_GRADIENTS_H_
#define BITANCHOR_TOOLS_JUDGE_GRADIENTS_H_

#include <functional>
#include <string_view>

#include "lib/file/capture.h"
#include "lib/recipe/contract.h"
#include "lib/recipe/interval.h"
#include "lib/verdict/verdict.h"
#include "simd/options.h"
#include "tools/judge_rows.h"

namespace bitanchor::tools {

// Called with every judged row of dq, dk and dv, by several threads at a time: the output's name,
// its place, got[n] and want[n].
using GradientRows = std::function<void(std::string_view output, int64_t b, int64_t s, int64_t h,
                                        const float* got, const Interval* want, int64_t n)>;

// `problem`: q and k as attention reads them. Appends to the verdict what the capture holds of
// delta, dv, dq and dk, in the order in which a kernel makes them. Each is judged from the
// capture's lse and delta where it holds them and they have not failed. With rope, dq and dk are
// those of q and k before their rotation. Sampling spares no query's scores: dk and dv need them
// all. rows: if given, it sees them all too, and nothing is taken from the capture's lse and delta.
void JudgeGradients(const Capture& capture, const Contract& contract,
                    const IntervalProblem& problem, const SampleOptions& sample,
                    const simd::EngineOptions& options, Verdict& verdict,
                    const GradientRows& rows = nullptr);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_JUDGE_GRADIENTS_H_
