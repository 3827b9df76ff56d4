// bitanchor explain: name what a failing kernel did wrong.
#include <fmt/format.h>

#include "lib/file/capture.h"
#include "lib/file/report_text.h"
#include "lib/recipe/mistake.h"
#include "lib/tensor/error.h"
#include "tools/commands.h"
#include "tools/contract_option.h"
#include "tools/diagnose.h"
#include "tools/judge.h"
#include "tools/problem_options.h"
#include "tools/replay_search.h"
#include "tools/report_options.h"
#include "tools/schedule_option.h"

namespace bitanchor::tools {
namespace {

struct ExplainOptions {
  std::string capture, contract;
  SampleOptions sample;
  SpecialFunctionOption special_functions;
  ReportOptions reports;
  CommonOptions common;
};

void PrintCauses(const Verdict& verdict) {
  for (const OutputVerdict& output : verdict.outputs)
    if (output.Failed()) fmt::print("{}: {}\n", output.name, Counts(output));
  fmt::print("first stage out: {}\n", verdict.FirstOut());
  for (const std::string& where : verdict.signatures) fmt::print("where: {}\n", where);
  const Cause& best = verdict.causes.front();
  fmt::print("\ncause: {}\n  {}\n", best.id, best.says);
  if (best.explains > 0)
    fmt::print("  explains {:.1f}% of the sampled answer\n", 100 * best.explains);
  fmt::print("  fix: {}\n", best.fix);
  for (size_t n = 1; n < verdict.causes.size(); ++n) {
    const Cause& other = verdict.causes[n];
    fmt::print("{}{}: {} ({:.1f}%)\n", n == 1 ? "\nless likely:\n  " : "  ", other.id, other.says,
               100 * other.explains);
  }
}

int Explain(ExplainOptions& options) {
  const simd::EngineOptions engine = options.common.Engine("explain");
  options.reports.Begin(options.capture);
  const Capture capture = ReadCapture(options.capture);
  RequireAnswer(capture, options.capture);
  const Contract contract = ContractOption(options.contract, capture.problem.dtype);
  Verdict verdict = JudgeByContract(capture, contract, options.sample, engine);
  const Outcome outcome = verdict.Result();
  if (outcome == Outcome::kFail) verdict.causes = Diagnose(capture, contract, verdict, engine);
  const ReplaySearch search = SearchSchedules(capture, options.special_functions.With({}), engine);
  verdict.schedules = search.matches;
  if (!options.reports.TakesStdout()) {
    if (!options.common.quiet && outcome == Outcome::kFail) PrintCauses(verdict);
    if (!options.common.quiet) fmt::print("{}", SearchText(search));
    fmt::print("verdict: {}{}\n", Name(outcome),
               outcome == Outcome::kPass ? ": there is nothing to explain" : "");
    if (outcome == Outcome::kInconclusive) {
      for (const std::string& why : InconclusiveBecause(verdict)) fmt::print("  {}\n", why);
    }
  }
  options.reports.Write(verdict, capture);
  return outcome == Outcome::kPass ? kPassed : kMismatch;
}

}  // namespace

void AddExplain(CLI::App& app, Action& run) {
  auto options = std::make_shared<ExplainOptions>();
  CLI::App* command = app.add_subcommand(
      "explain",
      "Name what a failing kernel did wrong, and the GPU's schedule that makes its bits: exit 0 it "
      "passes, 1 it fails, 2 bad input.\n\n"
      "  bitanchor explain capture.safetensors\n");
  command->add_option("capture", options->capture, "A capture file with at least one answer")
      ->required();
  command->add_option(
      "--contract", options->contract,
      "Judge by this contract (default: flash-<dtype of q>), by one on a certain matrix unit "
      "(tensor-core-bf16/hopper), or by one in a FILE.json");
  command
      ->add_option("--sample-rows", options->sample.rows,
                   "Look only at so many rows of o and lse: for long contexts, where all take long")
      ->check(CLI::PositiveNumber);
  command->add_option("--seed", options->sample.seed, "Which rows are sampled")
      ->check(WholeUpTo(UINT64_MAX));
  options->special_functions.AddTo(*command);
  options->reports.AddTo(*command);
  options->common.AddTo(*command);
  command->callback([options, &run] { run = [options] { return Explain(*options); }; });
}

}  // namespace bitanchor::tools
