// bitanchor run: compute a problem under a recipe.
#include <fmt/format.h>

#include <limits>

#include "lib/file/capture.h"
#include "lib/file/capture_writer.h"
#include "lib/file/report_text.h"
#include "lib/file/safetensors.h"
#include "lib/tensor/error.h"
#include "tools/commands.h"
#include "tools/compute.h"
#include "tools/judge_schedule.h"
#include "tools/schedule_option.h"
#include "tools/scheduled.h"

namespace bitanchor::tools {
namespace {

struct RunOptions {
  std::string problem, out, recipe = "textbook", engine = "simd";
  SpecialFunctionOption special_functions;
  CommonOptions common;
};

void PrintWritten(const RunOptions& options, const Capture& capture,
                  const std::vector<OutTensor>& tensors, const std::string& recipe) {
  for (const std::string& taken : capture.defaults) fmt::print("{}\n", taken);
  std::string names;
  for (const OutTensor& tensor : tensors) names += (names.empty() ? "" : ", ") + tensor.name;
  fmt::print("{}: {} by {}\n", options.out, names, recipe);
}

// One GPU's answer: that whose special functions round correctly, or are those of the table; where
// the unit's models differ, or the way of adding up lse, the least. lse -inf where nothing is seen.
OwnedTensor OneAnswer(const AttentionProblem& problem, const Schedule& schedule, Layout layout,
                      const simd::ScheduledAnswer& answer, std::vector<float>& lse) {
  const AttentionShape& shape = problem.shape;
  OwnedTensor o(problem.dtype, problem.q.shape, layout);
  std::vector<float> row(static_cast<size_t>(shape.D));
  size_t at = 0;
  for (int64_t b = 0; b < shape.B; ++b) {
    for (int64_t i = 0; i < shape.Sq; ++i) {
      for (int64_t h = 0; h < shape.Hq; ++h) {
        for (float& x : row) x = ScheduledNumber(problem.dtype, answer.o_low[at++]);
        StoreRow(o.view, b, i, h, row.data());
      }
    }
  }
  lse = answer.lse_low;
  const std::vector<bool> empty = EmptyRows(problem, schedule);
  for (size_t n = 0; n < lse.size(); ++n) {
    const int64_t row_of = static_cast<int64_t>(n), S = shape.Sq;
    const int64_t b = row_of / (S * shape.Hq), i = row_of % S;
    if (empty[static_cast<size_t>(b * S + i)]) lse[n] = -std::numeric_limits<float>::infinity();
  }
  return o;
}

int RunSchedule(RunOptions& options, const Schedule& schedule) {
  const simd::EngineOptions engine_options = options.common.Engine("run");
  const Engine engine = EngineOf(options.engine);
  const Capture capture = ReadCapture(options.problem);
  if (capture.dout) {
    throw InputError("do", "a gradient", "none: a schedule is of the forward kernel alone");
  }
  RequireScheduled(capture.problem, schedule);
  const Rotated rotated = Rotate(capture.problem, capture.layout, engine, engine_options);
  const AttentionProblem& problem = rotated.problem;
  const simd::ScheduledAnswer one =
      Scheduled(problem, schedule, options.special_functions.With(replay::CorrectlyRounded()),
                engine, engine_options);
  std::vector<float> lse;
  const OwnedTensor o = OneAnswer(problem, schedule, capture.layout, one, lse);
  std::vector<OutTensor> tensors = {OutView("o", o.view, capture.layout),
                                    OutLse(lse, problem.shape, capture.layout)};
  if (capture.problem.rope) {
    tensors.push_back(OutView("q_rope", rotated.q.view, capture.layout));
    tensors.push_back(OutView("k_rope", rotated.k.view, capture.layout));
  }
  WriteSafetensors(options.out, tensors, {});
  if (options.common.quiet) return kPassed;
  PrintWritten(options, capture, tensors, "schedule " + schedule.name);
  const int64_t elements = static_cast<int64_t>(one.o_low.size());
  const int64_t open = elements - PinnedElements(one);
  if (open > 0) fmt::print("{} elements of o undetermined: models of the unit differ\n", open);
  const simd::ScheduledAnswer any =
      Scheduled(problem, schedule, options.special_functions.With({}), engine, engine_options);
  const int64_t pinned = PinnedElements(any);
  fmt::print("pinned: {} of {} elements of o ({}), whatever the GPU's special functions{}\n",
             Grouped(pinned), Grouped(elements), PinnedShare(pinned, elements),
             options.special_functions.IsGiven() ? " where the table does not know them" : "");
  return kPassed;
}

int Run(RunOptions& options) {
  if (const auto schedule = ScheduleOption(options.recipe)) {
    return RunSchedule(options, schedule->schedule);
  }
  options.special_functions.RequireSchedule();
  const AttentionRecipe& recipe = RecipeOption(options.recipe);
  const simd::EngineOptions engine_options = options.common.Engine("run");
  const Engine engine = EngineOf(options.engine);
  const Capture capture = ReadCapture(options.problem);
  const Answers answers =
      AnswerAll(capture.problem, capture.dout, recipe, capture.layout, engine, engine_options);
  WriteSafetensors(options.out, answers.tensors, {});
  if (!options.common.quiet) {
    PrintWritten(options, capture, answers.tensors, "recipe " + options.recipe);
  }
  return kPassed;
}

}  // namespace

void AddRun(CLI::App& app, Action& run) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run",
                                         "Compute a problem under a recipe.\n\n  bitanchor run "
                                         "problem.safetensors -o answer.safetensors\n");
  command->add_option("problem", options->problem, "A capture file; its answers are not looked at")
      ->required();
  command
      ->add_option("-o,--output", options->out,
                   "Written: o, lse; with rope also q_rope, k_rope; with do also dq, dk, dv")
      ->required();
  command
      ->add_option("--recipe", options->recipe,
                   "Attention recipe, or schedule (flash-attention-2/sm80, or one in a FILE.json)")
      ->capture_default_str();
  options->special_functions.AddTo(*command);
  AddEngineOption(*command, options->engine);
  options->common.AddTo(*command);
  command->callback([options, &run] { run = [options] { return Run(*options); }; });
}

}  // namespace bitanchor::tools
