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

}  // namespace bitanchor
