#include "lib/verdict/verdict.h"

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

Outcome Verdict::Result() const {
  bool undecided = outputs.empty();
  for (const OutputVerdict& output : outputs) {
    if (output.census.Failed()) return Outcome::kFail;
    undecided |= output.census.undetermined == output.census.elements();
  }
  return undecided ? Outcome::kInconclusive : Outcome::kPass;
}

std::string_view Verdict::FirstOut() const {
  constexpr std::string_view kStages[] = {"q_rope", "k_rope", "lse", "o",
                                          "delta",  "dv",     "dq",  "dk"};
  for (const std::string_view stage : kStages) {
    for (const OutputVerdict& output : outputs) {
      if (output.name == stage && output.census.Failed()) return stage;
    }
  }
  return "";
}

}  // namespace bitanchor
