// bitanchor check: judge what a kernel answered.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <optional>

#include "lib/file/capture.h"
#include "lib/file/markup.h"
#include "lib/file/report_text.h"
#include "lib/recipe/mistake.h"
#include "lib/tensor/error.h"
#include "tools/commands.h"
#include "tools/compute.h"
#include "tools/contract_option.h"
#include "tools/diagnose.h"
#include "tools/judge.h"
#include "tools/judge_rules.h"
#include "tools/judge_schedule.h"
#include "tools/problem_options.h"
#include "tools/report_options.h"
#include "tools/schedule_option.h"
#include "tools/would_miss.h"

namespace bitanchor::tools {
namespace {

struct CheckOptions {
  std::string capture, contract, recipe;
  std::optional<std::string> rules;  // absent: by contract or recipe
  SpecialFunctionOption special_functions;
  ReportOptions reports;
  SampleOptions sample;
  bool allow_inconclusive = false;
  CommonOptions common;
};

void PrintOutput(const OutputVerdict& output, Layout layout) {
  const Census& c = output.census;
  const int64_t n = c.elements();
  fmt::print("\n{}: {} elements\n", output.name, n);
  fmt::print("  exact {} ({})   within {} ({})   outside {} ({})", c.exact, Percent(c.exact, n),
             c.within, Percent(c.within, n), c.outside, Percent(c.outside, n));
  if (c.nonfinite_mismatch > 0) fmt::print("   non-finite mismatch {}", c.nonfinite_mismatch);
  if (c.undetermined > 0) fmt::print("   undetermined {}", c.undetermined);
  if (c.pinned > 0) {
    fmt::print("\n  one admissible number for {} elements ({})", c.pinned,
               PinnedShare(c.pinned, n));
  }
  fmt::print("\n  largest error {:.4g} ulp, worst share of the bound {:.4g}\n", c.max_ulp,
             c.max_share);
  for (const BiasFinding& b : output.biases) {
    fmt::print("  bias, {}{}\n", BiasText(b), b.fails ? "   BIASED" : "");
  }
  if (c.worst.empty()) return;
  fmt::print("  {:>24} {:>15} {:>15} {:>15} {:>15} {:>9}\n", "worst elements", "got", "want", "low",
             "high", "share");
  for (const WorstElement& e : c.worst) {
    fmt::print("  {:>24} {:>15.8g} {:>15.8g} {:>15.8g} {:>15.8g} {:>9.3g}\n",
               IndexText(e.index, layout), e.got, e.interval.want, e.interval.low, e.interval.high,
               e.share);
  }
}

void PrintFrequencies(const std::vector<FrequencyChoice>& choices) {
  if (choices.empty()) return;
  fmt::print("\ninverse frequencies that are not the recipe's, as its rotation shows:\n");
  for (const FrequencyChoice& choice : choices) {
    fmt::print("  {}\n", FrequencyText(choice));
  }
}

void PrintRules(const std::vector<RuleVerdict>& rules) {
  if (rules.empty()) return;
  fmt::print("\n{:16} {:4} {:>12} {:>12}  {:4}  {}\n", "rule", "of", "measured", "limit", "says",
             "what is measured");
  for (const RuleVerdict& rule : rules) {
    fmt::print("{:16} {:4} {:>12.4g} {:>12.4g}  {:4}  {}\n", rule.name, rule.output, rule.measured,
               rule.limit, rule.passes ? "pass" : "fail", FindRule(rule.name)->measures);
  }
  for (const RuleVerdict& rule : rules) {
    if (!rule.would_miss.empty()) fmt::print("{}: {}\n", rule.name, WouldMissText(rule.would_miss));
  }
}

void PrintReport(const Capture& capture, const Verdict& verdict) {
  if (!capture.kernel.empty()) fmt::print("kernel: {}\n", Legible(capture.kernel));
  fmt::print("problem: {}\njudged by: {}\n", ProblemLine(capture.problem), JudgedBy(verdict));
  for (const std::string& taken : capture.defaults) fmt::print("taken: {}\n", taken);
  for (const OutputVerdict& output : verdict.outputs) PrintOutput(output, capture.layout);
  PrintRules(verdict.rules);
  if (!verdict.FirstOut().empty()) fmt::print("\nfirst stage out: {}\n", verdict.FirstOut());
  for (const std::string& where : verdict.signatures) fmt::print("where: {}\n", where);
  if (!verdict.causes.empty()) fmt::print("cause: {}\n", CauseText(verdict.causes.front()));
  PrintFrequencies(verdict.inverse_frequencies);
  if (!verdict.would_miss.empty()) fmt::print("\n{}\n", WouldMissText(verdict.would_miss));
  if (!verdict.not_judged.empty())
    fmt::print("\nnot judged: {}\n", fmt::join(verdict.not_judged, "; "));
}

// Tensors that are not what the capture calls them are no kernel's fault: a verdict in numbers
// would only mislead.
void RefuseMistakenCapture(const std::string& path, const Cause& cause) {
  constexpr double kSurely = 0.99;
  if (FindMistake(cause.id)->of_capture && cause.explains >= kSurely)
    throw InputError(path, "a capture where " + cause.says,
                     "it mended (read so, the answer is right): " + cause.fix);
}

int Check(CheckOptions& options) {
  const simd::EngineOptions engine = options.common.Engine("check");
  if (!options.recipe.empty() && !options.contract.empty()) {
    throw InputError("--recipe", "--contract as well", "one way to judge");
  }
  if (options.rules && !(options.recipe.empty() && options.contract.empty())) {
    throw InputError("--rule", "--contract or --recipe as well", "one way to judge");
  }
  std::vector<const Rule*> rules;
  if (options.rules) rules = RulesOption(*options.rules);
  if (!options.recipe.empty() && options.sample.rows > 0) {
    throw InputError("--sample-rows", "--recipe as well", "a contract: replay computes every row");
  }
  const auto schedule = ScheduleOption(options.recipe);
  if (!schedule) options.special_functions.RequireSchedule();
  options.reports.Begin(options.capture);
  const Capture capture = ReadCapture(options.capture);
  RequireAnswer(capture, options.capture);
  Verdict verdict;
  if (options.rules) {
    verdict = JudgeByRules(capture, rules, options.sample, engine);
    AddWouldMissByRules(capture, rules, engine, verdict);
  } else if (options.recipe.empty()) {
    const Contract contract = ContractOption(options.contract, capture.problem.dtype);
    verdict = JudgeByContract(capture, contract, options.sample, engine);
    if (verdict.Result() == Outcome::kFail) {
      verdict.causes = Diagnose(capture, contract, verdict, engine);
      RefuseMistakenCapture(options.capture, verdict.causes.front());
    }
    verdict.would_miss = WouldMissByContract(capture, contract, engine);
  } else if (schedule) {
    verdict =
        JudgeBySchedule(capture, schedule->schedule, options.special_functions.With({}), engine);
  } else {
    verdict = JudgeByReplay(capture, RecipeOption(options.recipe), engine);
  }
  const Outcome outcome = verdict.Result();
  if (!options.reports.TakesStdout()) {
    if (!options.common.quiet) PrintReport(capture, verdict);
    fmt::print("{}verdict: {}\n", options.common.quiet ? "" : "\n", Name(outcome));
    if (outcome == Outcome::kInconclusive) {
      for (const std::string& why : InconclusiveBecause(verdict)) fmt::print("  {}\n", why);
    }
  }
  options.reports.Write(verdict, capture, options.allow_inconclusive);
  if (outcome == Outcome::kInconclusive) return options.allow_inconclusive ? kPassed : kMismatch;
  return outcome == Outcome::kPass ? kPassed : kMismatch;
}

}  // namespace

void AddCheck(CLI::App& app, Action& run) {
  auto options = std::make_shared<CheckOptions>();
  CLI::App* command =
      app.add_subcommand("check",
                         "Judge what a kernel answered: exit 0 right, 1 wrong, 2 bad input.\n\n"
                         "  bitanchor check capture.safetensors --html report.html\n");
  command->add_option("capture", options->capture, "A capture file with at least one answer")
      ->required();
  command->add_option(
      "--contract", options->contract,
      "Judge by this contract (default: flash-<dtype of q>), by one on a certain matrix unit "
      "(tensor-core-bf16/hopper), or by one in a FILE.json");
  command->add_option("--recipe", options->recipe,
                      "Judge by replay: demand this recipe's bits, or those that a GPU's schedule "
                      "admits (flash-attention-2/sm80, or one in a FILE.json)");
  options->special_functions.AddTo(*command);
  command->add_option("--rule", options->rules,
                      "Judge by acceptance rules that others use, torch,ggml for example; "
                      "`bitanchor info` lists them");
  command->add_option("--sample-rows", options->sample.rows, "Judge only so many rows of o and lse")
      ->check(CLI::PositiveNumber);
  command->add_option("--seed", options->sample.seed, "Which rows are sampled")
      ->check(WholeUpTo(UINT64_MAX))
      ->capture_default_str();
  command->add_flag("--allow-inconclusive", options->allow_inconclusive,
                    "Exit 0 where nothing could be decided");
  options->reports.AddTo(*command);
  options->common.AddTo(*command);
  command->callback([options, &run] { run = [options] { return Check(*options); }; });
}

}  // namespace bitanchor::tools
