// A verdict: the outcome of judging a capture.
#ifndef BITANCHOR_LIB_VERDICT_VERDICT_H_
#define BITANCHOR_LIB_VERDICT_VERDICT_H_

#include <string>
#include <string_view>
#include <vector>

#include "lib/recipe/frequency_choice.h"
#include "lib/verdict/census.h"

namespace bitanchor {

enum class Outcome { kPass, kFail, kInconclusive };
std::string_view Name(Outcome outcome);  // "pass", "fail", "inconclusive"

struct OutputVerdict {
  std::string name;  // "o", "lse", "q_rope", "k_rope", "delta", "dq", "dk", "dv"
  Census census;
};

struct Verdict {
  std::string mode, name;  // how it was judged: "contract" or "replay", and which one
  std::vector<OutputVerdict> outputs;
  std::vector<std::string>
      not_judged;  // answers that the capture does not hold, or that this mode cannot judge

  // Contract, with rope: those of the kernel that are not the recipe's, by pair.
  std::vector<FrequencyChoice> inverse_frequencies = {};

  // fail: an element is outside or wrongly (not) finite. inconclusive: nothing failed, and some
  // output has no element that could have. An output without elements cannot pass.
  Outcome Result() const;

  // The first output that fails, in the order in which a kernel makes them; "" where none does.
  // Each is judged from what the capture holds of those before it, so this is where to look first.
  std::string_view FirstOut() const;
};

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_VERDICT_VERDICT_H_
