// What a user says of a schedule: its name or file, and the GPU's special functions.
#ifndef BITANCHOR_TOOLS_SCHEDULE_OPTION_H_
#define BITANCHOR_TOOLS_SCHEDULE_OPTION_H_

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "lib/file/schedule_file.h"
#include "lib/file/special_function_table.h"
#include "lib/problem/attention_problem.h"
#include "lib/replay/special_functions.h"

namespace bitanchor::tools {

// The schedule that --recipe names, or a file's whose name ends in .json; nullopt where the name is
// none of a schedule. Throws InputError for a file that is wrong.
std::optional<OwnedSchedule> ScheduleOption(const std::string& name);

// Throws InputError, its field `unit` or one of SequencesOf's, where the schedule cannot compute
// the problem.
void RequireScheduled(const AttentionProblem& problem, const Schedule& schedule);

// --special-functions FILE.
class SpecialFunctionOption {
 public:
  void AddTo(CLI::App& command);
  // Throws InputError where it is given: only a schedule has use for it.
  void RequireSchedule() const;
  bool IsGiven() const { return !path_.empty(); }
  // Reads the file. What it does not hold is as `otherwise` has it. Valid while this lives.
  replay::SpecialFunctions With(replay::SpecialFunctions otherwise);

 private:
  std::string path_;
  std::optional<SpecialFunctionTable> table_;
};

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_SCHEDULE_OPTION_H_
