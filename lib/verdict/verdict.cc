#include "lib/verdict/verdict.h"

#include <algorithm>

namespace bitanchor {

std::string_view Name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kPass:
      return "pass";
    case Outcome::kFail:
      return "fail";
    case Outcome::kInconclusive:
      return "inconclusive";
  }
  return "";
}

bool OutputVerdict::Biased() const {
  return std::any_of(biases.begin(), biases.end(),
                     [](const BiasFinding& finding) { return finding.fails; });
}

Outcome Verdict::Result() const {
  if (mode == "rule") {
    for (const RuleVerdict& rule : rules) {
      if (!rule.passes) return Outcome::kFail;
    }
    return rules.empty() || !cannot_tell.empty() ? Outcome::kInconclusive : Outcome::kPass;
  }
  bool undecided = outputs.empty() || !cannot_tell.empty();
  for (const OutputVerdict& output : outputs) {
    if (output.Failed()) return Outcome::kFail;
    undecided |= output.census.undetermined == output.census.elements();
  }
  return undecided ? Outcome::kInconclusive : Outcome::kPass;
}

std::string_view Verdict::FirstOut() const {
  constexpr std::string_view kStages[] = {"q_rope", "k_rope", "lse", "o",
                                          "delta",  "dv",     "dq",  "dk"};
  for (const std::string_view stage : kStages) {
    for (const OutputVerdict& output : outputs) {
      if (output.name == stage && output.Failed()) return stage;
    }
  }
  return "";
}

}  // namespace bitanchor
