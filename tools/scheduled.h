// Wiring: what a schedule may answer to a problem, by either engine.
#ifndef BITANCHOR_TOOLS_SCHEDULED_H_
#define BITANCHOR_TOOLS_SCHEDULED_H_

#include <cstdint>
#include <vector>

#include "lib/replay/scheduled_attention.h"
#include "simd/scheduled_attention.h"
#include "tools/compute.h"

namespace bitanchor::tools {

// The sets of every element. `problem` has no rope any more.
simd::ScheduledAnswer Scheduled(const AttentionProblem& problem, const Schedule& schedule,
                                const replay::SpecialFunctions& functions, Engine engine,
                                const simd::EngineOptions& options);

// An element of o_low or o_high.
float ScheduledNumber(DType dtype, uint16_t bits);

// How many elements of o can be one number alone.
int64_t PinnedElements(const simd::ScheduledAnswer& answer);

// Whether query i of batch b sees no key at all: its LSE says so, in whatever way the capture has.
std::vector<bool> EmptyRows(const AttentionProblem& problem, const Schedule& schedule);  // [B, Sq]

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_SCHEDULED_H_
