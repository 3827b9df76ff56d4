// Wiring: from q, k and v to the drift of a recipe, over threads.
#ifndef BITANCHOR_TOOLS_DRIFT_RUN_H_
#define BITANCHOR_TOOLS_DRIFT_RUN_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lib/drift/attention_drift.h"
#include "lib/drift/staged_rope.h"
#include "simd/options.h"
#include "tools/drift_input.h"

namespace bitanchor::tools {

struct Shift {
  int64_t one = 0, other = 0;  // what is added to every position
  bool operator==(const Shift&) const = default;
};

// Progress of several computations together, in units of work.
class DriftProgress {
 public:
  DriftProgress(std::function<void(int64_t, int64_t)> show, double total)
      : show_(std::move(show)), total_(total) {}
  void Show(double of_current) const;
  void Finish(double work) { done_ += work; }

 private:
  std::function<void(int64_t, int64_t)> show_;  // may be empty
  double total_, done_ = 0;
};

// The work of one MeasureDrift.
double DriftWork(const DriftInput& input, int64_t most_tokens);

// The drift of each shift (rows) and length (columns). lengths: ascending, in tokens taken. The
// same bits for any number of threads.
std::vector<std::vector<drift::Drift>> MeasureDrift(const DriftInput& input,
                                                    const drift::StagedRope& rope,
                                                    const std::vector<Shift>& shifts,
                                                    const std::vector<int64_t>& lengths,
                                                    const simd::EngineOptions& options,
                                                    DriftProgress& progress);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DRIFT_RUN_H_
