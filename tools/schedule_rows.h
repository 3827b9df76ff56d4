// Rows of a capture beside what kernels with a known schedule would store there.
#ifndef BITANCHOR_TOOLS_SCHEDULE_ROWS_H_
#define BITANCHOR_TOOLS_SCHEDULE_ROWS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/exact/tiled_kernel.h"
#include "lib/file/capture.h"
#include "simd/options.h"

namespace bitanchor::tools {

// What is known of a row: the right kernel's data, what was captured and its unit of error.
struct ScheduleRow {
  exact::RowPlace at;
  exact::GatheredRow keys;
  std::vector<double> dots;  // q.k, not rounded
  exact::RowAnswer right;
  std::vector<double> unit;  // u m_d
  std::vector<float> o;      // as captured, empty if it was not
  std::optional<double> lse;
  double lse_unit = 1;  // its f32 errors are relative to this

  bool HasLse() const;      // captured, it and the right one finite
  double LseError() const;  // in units of lse_unit
};

// As many of the places as a bound on the work allows, but two.
std::vector<ScheduleRow> RowsOf(const Capture& capture, const exact::MistakenAttention& kernel,
                                const std::vector<exact::RowPlace>& places);

struct Candidate {
  std::string id, where;
  exact::TiledKernel kernel;
  size_t attention = 0;  // which of the lists of rows is its
};

// Squared errors, of o in units of u m_d, of LSE in lse_unit.
struct Energy {
  double o = 0, lse = 0;
  Energy& operator+=(const Energy& other) {
    o += other.o;
    lse += other.lse;
    return *this;
  }
};

// Of each candidate, over the first rows of its list (all of a length), at most so many. Candidates
// with the same sums should stand side by side. The same for any number of threads.
std::vector<Energy> Energies(const std::vector<Candidate>& candidates,
                             const std::vector<std::vector<ScheduleRow>>& rows, size_t most_rows,
                             DType o_dtype, const simd::EngineOptions& options);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_SCHEDULE_ROWS_H_
