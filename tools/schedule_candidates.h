// Kernels with a known schedule and one mistake, which `explain` tries: tiles of every usual size
// in either order.
#ifndef BITANCHOR_TOOLS_SCHEDULE_CANDIDATES_H_
#define BITANCHOR_TOOLS_SCHEDULE_CANDIDATES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "lib/exact/tiled_kernel.h"
#include "lib/tensor/dtype.h"
#include "tools/schedule_rows.h"

namespace bitanchor::tools {

// What the candidates depend on.
struct ScheduleScope {
  int64_t Skv, D;
  DType dtype, o_dtype;    // of q, k and v; of o
  bool may_round_weights;  // to dtype, where that is narrower than f32
};

// Every schedule, its weights as they are and rounded to the inputs' type where a right kernel may.
std::vector<exact::TiledKernel> RightSchedules(const ScheduleScope& scope);

// The same schedules, weights as they are alone.
std::vector<exact::TiledKernel> Schedules(const ScheduleScope& scope);

// Its tiles and their order, in words.
std::string Named(const exact::TiledKernel& schedule);

// Every mistake of rounding and of rescaling, those with the same sums side by side.
std::vector<Candidate> ScheduleCandidates(const ScheduleScope& scope);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_SCHEDULE_CANDIDATES_H_
