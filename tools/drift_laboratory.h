// Everything that `bitanchor drift` was asked for, read and checked, and what it makes of it.
#ifndef BITANCHOR_TOOLS_DRIFT_LABORATORY_H_
#define BITANCHOR_TOOLS_DRIFT_LABORATORY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "lib/problem/rope_config.h"
#include "simd/options.h"
#include "tools/drift_input.h"
#include "tools/drift_report.h"
#include "tools/drift_run.h"

namespace bitanchor::tools {

struct Laboratory {
  ProblemOptions rope;  // its theta, config and layer type
  std::string pairing;  // empty: the recipe's
  bool stages = false;
  int64_t positions = 0;  // how far stages are looked at
  DriftInput input;
  std::vector<std::string> recipes;
  std::vector<DType> dtypes;
  std::vector<Shift> shifts;
  std::vector<int64_t> lengths;  // ascending; tokens before one in N was taken
  simd::EngineOptions engine;

  int64_t Taken(int64_t length) const { return (length - 1) / input.one_in + 1; }
};

// Validated for `length` tokens at these shifts: rope types that go by the sequence's length take
// the longest of them for all. Throws InputError, also where a position that is looked at makes an
// angle of 2^32 and more, or a frequency is not finite.
RopeConfig ConfigOf(const Laboratory& lab, const std::string& recipe,
                    const std::vector<Shift>& shifts, int64_t length);

// report.rows, and where stages are wanted report.stages; all_keys and key are given.
void Measure(const Laboratory& lab, DriftReport& report);

// report.first_positions.
void FindPositions(const Laboratory& lab, DriftReport& report);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DRIFT_LABORATORY_H_
