// Attention as a GPU's schedule computes it, fast: the sets of lib/replay/scheduled_attention.h.
#ifndef BITANCHOR_SIMD_SCHEDULED_ATTENTION_H_
#define BITANCHOR_SIMD_SCHEDULED_ATTENTION_H_

#include <cstdint>
#include <vector>

#include "lib/problem/attention_problem.h"
#include "lib/recipe/schedule.h"
#include "lib/replay/special_functions.h"
#include "simd/options.h"

namespace bitanchor::simd {

// The least and greatest admissible answers; where they are the same bits, the answer is pinned.
struct ScheduledAnswer {
  // [B, Sq, Hq, D] contiguous, elements of q's dtype (16 bits).
  std::vector<uint16_t> o_low, o_high;
  std::vector<float> lse_low, lse_high;  // [B, Hq, Sq]
};

// replay::AnswerOf of every query and head, the same bytes on every target and for every number of
// threads. q and k are used as they are. Throws as replay::SequencesOf does.
ScheduledAnswer ScheduledAttention(const AttentionProblem& problem, const Schedule& schedule,
                                   const replay::SpecialFunctions& functions,
                                   const EngineOptions& options);

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_SCHEDULED_ATTENTION_H_
