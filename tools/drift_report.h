// What `bitanchor drift` found: as text, JSON and CSV.
#ifndef BITANCHOR_TOOLS_DRIFT_REPORT_H_
#define BITANCHOR_TOOLS_DRIFT_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/drift/attention_drift.h"
#include "lib/drift/stage_costs.h"
#include "lib/tensor/dtype.h"
#include "tools/drift_run.h"

namespace bitanchor::tools {

struct DriftRow {
  std::string recipe;  // a RoPE recipe, or "exact"
  DType dtype = DType::kBF16;
  Shift shift;
  int64_t length = 0;  // tokens, before one in N was taken
  drift::Drift drift;  // of the keys one, or all
  // Of `--stages`: the stage that alone is exact, or that alone rounds; else nullopt.
  std::optional<drift::RopeStage> exact, rounded;
};

// Where the stages of one recipe first cost an ulp.
struct StagePositions {
  std::string recipe;
  DType dtype = DType::kBF16;
  std::vector<drift::StageCosts> pairs;  // [R/2]
};

struct DriftReport {
  std::string input, rope;         // in words
  std::string command;             // as typed
  std::vector<std::string> taken;  // what was defaulted
  int64_t S = 0, one_in = 1, positions = 0;
  bool has_output = false;
  bool all_keys = false;
  int64_t key = 0;  // in tokens taken
  std::vector<DriftRow> rows, stages;
  std::vector<StagePositions> first_positions;
};

std::string_view LowerName(DType dtype);  // "bf16", "f16", "f32"

std::string DriftText(const DriftReport& report);
std::string DriftJson(const DriftReport& report);
std::string DriftCsv(const DriftReport& report);  // rows; of every key where all_keys

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DRIFT_REPORT_H_
