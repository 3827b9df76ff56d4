#include "lib/file/report_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "lib/file/report.h"
#include "lib/verdict/rule.h"

namespace bitanchor {
namespace {

int64_t Wrong(const Census& census) { return census.outside + census.nonfinite_mismatch; }

bool NothingDecided(const OutputVerdict& output) {
  return output.census.undetermined == output.census.elements();
}

std::vector<std::string> NamesOfOutputs(const Verdict& verdict) {
  std::vector<std::string> names;
  for (const OutputVerdict& output : verdict.outputs) names.push_back(output.name);
  return names;
}

// "q, k and v".
std::string Listed(const std::vector<std::string>& names) {
  if (names.size() < 2) return names.empty() ? "" : names.front();
  return fmt::format("{} and {}", fmt::join(names.begin(), names.end() - 1, ", "), names.back());
}

std::string RuleHeadline(const Verdict& verdict) {
  int64_t broken = 0;
  const RuleVerdict* first = nullptr;
  for (const RuleVerdict& rule : verdict.rules) {
    broken += !rule.passes;
    if (!rule.passes && first == nullptr) first = &rule;
  }
  if (first == nullptr) {
    return fmt::format("Every answer is within the tolerance of {}.", JudgedBy(verdict));
  }
  return fmt::format("{} of {} rules that were asked say no; {}.", broken, verdict.rules.size(),
                     RuleText(*first));
}

// "99.5% of o and 0% of lse".
std::string PinnedOf(const Verdict& verdict) {
  std::vector<std::string> shares;
  for (const OutputVerdict& output : verdict.outputs) {
    shares.push_back(PinnedShare(output.census.pinned, output.census.elements()) + " of " +
                     output.name);
  }
  return Listed(shares);
}

std::string FailHeadline(const Verdict& verdict) {
  const std::string_view first = verdict.FirstOut();
  const OutputVerdict* wrong = nullptr;
  std::vector<std::string> others;
  for (const OutputVerdict& output : verdict.outputs) {
    if (output.name == first) wrong = &output;
    if (output.name != first && output.Failed()) others.push_back(output.name);
  }
  if (wrong == nullptr) return "An answer is wrong.";
  const std::string also =
      others.empty() ? ""
                     : fmt::format(" So {} {}.", others.size() > 1 ? "are" : "is", Listed(others));
  const Census& census = wrong->census;
  if (Wrong(census) == 0) {
    return fmt::format(
        "{} is biased: every element is admitted by {}, and yet the errors lean one way.{}", first,
        JudgedBy(verdict), also);
  }
  const std::string how =
      IsReplayOfSets(verdict)    ? "have no bits that " + verdict.name + " may give"
      : verdict.mode == "replay" ? "do not have the bits of recipe " + verdict.name
                                 : "are outside what " + JudgedBy(verdict) + " admits";
  return fmt::format("{} is wrong: {} of its {} elements {}.{}", first, Grouped(Wrong(census)),
                     Grouped(census.elements()), how, also);
}

std::string PassHeadline(const Verdict& verdict) {
  int64_t elements = 0, undetermined = 0;
  for (const OutputVerdict& output : verdict.outputs) {
    elements += output.census.elements();
    undetermined += output.census.undetermined;
  }
  const std::string but =
      undetermined > 0 ? fmt::format(", but for {} that nothing decides", Grouped(undetermined))
                       : "";
  const bool sets = IsReplayOfSets(verdict);
  const std::string is = sets                       ? "has bits that " + verdict.name + " may give"
                         : verdict.mode == "replay" ? "has the bits of recipe " + verdict.name
                                                    : "is admitted by " + JudgedBy(verdict);
  const std::string pinned =
      sets ? " Only one number is possible for " + PinnedOf(verdict) + "." : "";
  return fmt::format("Every one of {} elements of {} {}{}.{}", Grouped(elements),
                     Listed(NamesOfOutputs(verdict)), is, but, pinned);
}

}  // namespace

std::string Grouped(int64_t count) {
  std::string digits = std::to_string(count);
  const size_t first = count < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string Percent(int64_t part, int64_t all) {
  return fmt::format("{:.3g}%",
                     all == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(all));
}

std::string PinnedShare(int64_t part, int64_t all) {
  if (part == all) return "100%";
  const double share = 100.0 * static_cast<double>(part) / static_cast<double>(all);
  return fmt::format("{:.4g}%", std::min(share, 99.99));
}

std::string Short(double x) { return fmt::format("{:.4g}", x); }

std::string JudgedBy(const Verdict& verdict) {
  return verdict.name.empty() ? verdict.mode : verdict.mode + " " + verdict.name;
}

bool IsReplayOfSets(const Verdict& verdict) {
  if (verdict.mode != "replay") return false;
  return std::any_of(
      verdict.outputs.begin(), verdict.outputs.end(),
      [](const OutputVerdict& output) { return output.census.pinned < output.census.elements(); });
}

std::string ProblemLine(const AttentionProblem& problem) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  return fmt::format("{} B {} Sq {} Skv {} Hq {} Hkv {} D {}, mask {}{}", DTypeName(problem.dtype),
                     B, Sq, Skv, Hq, Hkv, D, InWords(problem.mask),
                     problem.rope ? ", RoPE " + problem.rope->recipe : "");
}

std::string Headline(const Verdict& verdict) {
  const Outcome outcome = verdict.Result();
  if (outcome == Outcome::kInconclusive) {
    return "Nothing is decided: no answer failed, and what was judged cannot show that it is "
           "right.";
  }
  if (verdict.mode == "rule") return RuleHeadline(verdict);
  return outcome == Outcome::kFail ? FailHeadline(verdict) : PassHeadline(verdict);
}

std::vector<std::string> InconclusiveBecause(const Verdict& verdict) {
  std::vector<std::string> reasons = verdict.cannot_tell;
  if (verdict.Result() != Outcome::kInconclusive) return reasons;
  if (verdict.mode == "rule") {
    if (verdict.rules.empty()) reasons.push_back("no rule was asked about any output");
    return reasons;
  }
  if (verdict.outputs.empty()) reasons.push_back("no output was judged");
  for (const OutputVerdict& output : verdict.outputs) {
    if (NothingDecided(output)) {
      reasons.push_back(fmt::format(
          "{}: none of its {} elements has a determined answer, so none could have failed",
          output.name, Grouped(output.census.elements())));
    }
  }
  return reasons;
}

std::string Counts(const OutputVerdict& output) {
  const Census& c = output.census;
  std::string text =
      fmt::format("{} of {} elements outside", Grouped(c.outside), Grouped(c.elements()));
  if (c.nonfinite_mismatch > 0)
    text += fmt::format(", {} wrongly (not) finite", Grouped(c.nonfinite_mismatch));
  if (c.undetermined > 0) text += fmt::format(", {} undetermined", Grouped(c.undetermined));
  for (const BiasFinding& finding : output.biases) {
    if (finding.fails) text += "; biased, " + BiasText(finding);
  }
  return text;
}

std::string BiasText(const BiasFinding& finding) {
  return fmt::format("{}{}: {:+.3g} u ({:+.1f} sigma; allowed {:.2g} u)", Name(finding.witness),
                     finding.head ? fmt::format(" of head {}", *finding.head) : "",
                     finding.estimate.bias, finding.estimate.sigma, AllowedBias(finding));
}

double AllowedBias(const BiasFinding& finding) {
  const BiasEstimate& e = finding.estimate;
  const double by_effect = e.effect > 0 ? finding.floor.effect * std::fabs(e.bias) / e.effect : 0;
  return std::max(finding.floor.bias, by_effect);
}

std::string IndexText(const ElementIndex& index, Layout layout) {
  return fmt::format("[{}]", fmt::join(CaptureIndex(index, layout), ", "));
}

std::string WorstText(const WorstElement& element, Layout layout) {
  const std::string far = std::isfinite(element.share)
                              ? fmt::format(" ({:.3g} times what is allowed)", element.share)
                              : "";
  return fmt::format("{} got {:.8g} want {:.8g}, admissible {:.8g} to {:.8g}{}",
                     IndexText(element.index, layout), element.got, element.interval.want,
                     element.interval.low, element.interval.high, far);
}

std::string RuleText(const RuleVerdict& rule) {
  const Rule* known = FindRule(rule.name);
  return fmt::format("{} of {}: {} {:.4g}, limit {:.4g}", rule.name, rule.output,
                     known == nullptr ? "measured" : known->measures, rule.measured, rule.limit);
}

std::string CauseText(const Cause& cause) {
  std::string text = fmt::format("{}: {} (explains {:.3g}% of the sampled elements)", cause.id,
                                 cause.says, 100 * cause.explains);
  if (!cause.fix.empty()) text += "; " + cause.fix;
  return text;
}

std::string FrequencyText(const FrequencyChoice& choice) {
  return fmt::format("{}: {} ulp {} the recipe's; it shows from position {} on",
                     choice.pair < 0 ? "ratio of all pairs" : fmt::format("pair {}", choice.pair),
                     std::abs(choice.ulp), choice.ulp > 0 ? "above" : "below",
                     choice.from_position);
}

std::string WouldMissText(const std::vector<WouldMiss>& mutants) {
  if (mutants.empty()) return "";
  std::vector<std::string> missed;
  for (const WouldMiss& mutant : mutants) {
    if (!mutant.caught) missed.push_back(mutant.mutant);
  }
  std::string text = fmt::format(
      "This check would have caught {} of {} faults put into the right answer of this problem.",
      mutants.size() - missed.size(), mutants.size());
  if (!missed.empty()) text += fmt::format(" It would have missed: {}.", fmt::join(missed, ", "));
  return text;
}

}  // namespace bitanchor
