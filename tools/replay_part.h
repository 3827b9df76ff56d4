// A schedule's answer to many rows at once, beside a capture's: where few rows do not tell
// schedules apart, since roundings to 16 bits hide what is otherwise.
#ifndef BITANCHOR_TOOLS_REPLAY_PART_H_
#define BITANCHOR_TOOLS_REPLAY_PART_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/file/capture.h"
#include "lib/problem/attention_problem.h"
#include "lib/recipe/schedule.h"
#include "lib/replay/sequences.h"
#include "lib/replay/special_functions.h"
#include "simd/options.h"

namespace bitanchor::tools {

// How a schedule stands to the rows that were compared.
struct ReplayStanding {
  int64_t rows = 0, elements = 0, inside = 0, pinned = 0;
  int64_t rounded = 0;  // that have the bits of correctly rounded functions

  bool AllInside() const { return elements > 0 && inside == elements; }
  double Inside() const { return Share(inside); }
  double Share(int64_t count) const {
    return elements == 0 ? 0 : static_cast<double>(count) / static_cast<double>(elements);
  }
};

// The first heads of the problem, as many as are replayed in a fraction of a second; nullopt where
// one is too many. `sequences`: of the problem.
std::optional<AttentionProblem> PartToReplay(const AttentionProblem& problem,
                                             const std::vector<replay::Sequence>& sequences);

// All rows of `part` by the vector engine; o alone, or o and lse where that is natural and scaled.
// `rounded`: the GPU's functions, correctly rounded where nothing is known.
ReplayStanding StandingOf(const Capture& capture, const AttentionProblem& part,
                          const Schedule& schedule, const replay::SpecialFunctions& functions,
                          const replay::SpecialFunctions& rounded,
                          const simd::EngineOptions& options);

// Whether lse can be compared with a schedule's.
bool HasNaturalLse(const Capture& capture);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_REPLAY_PART_H_
