// bitanchor run: compute a problem under a recipe.
#include <fmt/format.h>

#include "lib/file/capture.h"
#include "lib/file/safetensors.h"
#include "tools/commands.h"
#include "tools/compute.h"

namespace bitanchor::tools {
namespace {

struct RunOptions {
  std::string problem, out, recipe = "textbook", engine = "simd";
  CommonOptions common;
};

int Run(const RunOptions& options) {
  const AttentionRecipe& recipe = RecipeOption(options.recipe);
  const simd::EngineOptions engine_options = options.common.Engine("run");
  const Engine engine = EngineOf(options.engine);
  const Capture capture = ReadCapture(options.problem);
  const Answers answers =
      AnswerAll(capture.problem, capture.dout, recipe, capture.layout, engine, engine_options);
  WriteSafetensors(options.out, answers.tensors, {});
  if (!options.common.quiet) {
    for (const std::string& taken : capture.defaults) fmt::print("{}\n", taken);
    std::string names;
    for (const OutTensor& tensor : answers.tensors)
      names += (names.empty() ? "" : ", ") + tensor.name;
    fmt::print("{}: {} by recipe {}\n", options.out, names, options.recipe);
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
  command->add_option("--recipe", options->recipe, "Attention recipe")->capture_default_str();
  AddEngineOption(*command, options->engine);
  options->common.AddTo(*command);
  command->callback([options, &run] { run = [options] { return Run(*options); }; });
}

}  // namespace bitanchor::tools
