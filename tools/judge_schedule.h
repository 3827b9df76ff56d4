// Judging a capture by a schedule: each element against the set of bits that it may have.
#ifndef BITANCHOR_TOOLS_JUDGE_SCHEDULE_H_
#define BITANCHOR_TOOLS_JUDGE_SCHEDULE_H_

#include "lib/file/capture.h"
#include "lib/recipe/schedule.h"
#include "lib/replay/special_functions.h"
#include "lib/verdict/verdict.h"
#include "simd/options.h"
#include "tools/compute.h"

namespace bitanchor::tools {

// q_rope and k_rope against the bits of the capture's RoPE recipe, o and lse against the schedule's
// sets; gradients are not judged. Throws InputError where the schedule cannot compute the problem.
Verdict JudgeBySchedule(const Capture& capture, const Schedule& schedule,
                        const replay::SpecialFunctions& functions,
                        const simd::EngineOptions& options);

// The problem as the kernel was given it: q_rope and k_rope where the capture holds them, else
// those of `rotated`, which must outlive it. Throws InputError for others than of q's dtype.
AttentionProblem AsTheKernelReadIt(const Capture& capture, const Rotated& rotated);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_JUDGE_SCHEDULE_H_
