#include "tools/schedule_option.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

#include "lib/file/printable.h"
#include "lib/matrix_unit/model.h"
#include "lib/replay/sequences.h"
#include "lib/tensor/error.h"

namespace bitanchor::tools {

std::optional<OwnedSchedule> ScheduleOption(const std::string& name) {
  if (name.ends_with(".json")) return ReadSchedule(name);
  const Schedule* const found = FindSchedule(name);
  if (found == nullptr) return std::nullopt;
  OwnedSchedule named;
  named.schedule = *found;
  return named;
}

void RequireScheduled(const AttentionProblem& problem, const Schedule& schedule) {
  replay::SequencesOf(problem, schedule);
  const matrix_unit::Model* const model = matrix_unit::FindModel(schedule.unit, problem.dtype);
  if (model != nullptr && model->arithmetic == matrix_unit::Arithmetic::kTruncatedSum) return;
  std::vector<std::string_view> units;
  for (const matrix_unit::Model& one : matrix_unit::Models()) {
    if (one.dtype == problem.dtype && one.arithmetic == matrix_unit::Arithmetic::kTruncatedSum) {
      units.push_back(one.unit);
    }
  }
  throw InputError("unit", Quoted(schedule.unit),
                   fmt::format("one that schedules know and that takes {}: {}",
                               DTypeName(problem.dtype), fmt::join(units, ", ")));
}

void SpecialFunctionOption::AddTo(CLI::App& command) {
  command.add_option("--special-functions", path_,
                     "With a schedule: what a GPU's ex2 and rcp answer, dumped to a safetensors "
                     "file, instead of the sets that its maker states");
}

void SpecialFunctionOption::RequireSchedule() const {
  if (IsGiven())
    throw InputError("--special-functions", "no schedule", "--recipe with one as well");
}

replay::SpecialFunctions SpecialFunctionOption::With(replay::SpecialFunctions otherwise) {
  if (path_.empty()) return otherwise;
  if (!table_) table_ = ReadSpecialFunctions(path_);
  otherwise.exp2 = {table_->exp2_first, table_->exp2};
  otherwise.reciprocal = {0x3f800000, table_->reciprocal};
  return otherwise;
}

}  // namespace bitanchor::tools
