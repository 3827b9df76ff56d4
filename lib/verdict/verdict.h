// A verdict: the outcome of judging a capture.
#ifndef BITANCHOR_LIB_VERDICT_VERDICT_H_
#define BITANCHOR_LIB_VERDICT_VERDICT_H_

#include <string>
#include <string_view>
#include <vector>

#include "lib/recipe/frequency_choice.h"
#include "lib/recipe/schedule.h"
#include "lib/verdict/census.h"
#include "lib/verdict/place.h"

namespace bitanchor {

enum class Outcome { kPass, kFail, kInconclusive };
std::string_view Name(Outcome outcome);  // "pass", "fail", "inconclusive"

struct OutputVerdict {
  std::string name;  // "o", "lse", "q_rope", "k_rope", "delta", "dq", "dk", "dv"
  Census census;
  std::vector<BiasFinding> biases = {};  // where a contract says how large one may be
  std::vector<Breakdown> by = {};        // by head, document, ...

  bool Biased() const;
  bool Failed() const { return census.Failed() || Biased(); }
};

// A fault put into the right answer of this very problem, and whether the way of judging that was
// chosen sees it.
struct WouldMiss {
  std::string mutant;  // an id of lib/recipe/mistake.h
  bool caught;
};

// A tolerance in use elsewhere, asked about this capture.
struct RuleVerdict {
  std::string name, output;
  bool passes;
  double measured, limit;  // what the rule compares, in its own terms
  std::vector<WouldMiss> would_miss;
};

// What explains the answer, best first.
struct Cause {
  std::string id;   // of lib/recipe/mistake.h
  double explains;  // share of the sampled elements that it accounts for
  std::string says, fix;
};

// A GPU's schedule, and how much of the sampled rows of o and lse it accounts for.
struct ScheduleMatch {
  std::string name;    // the schedule's, or what is otherwise than in one that has a name
  Schedule schedule;   // without its tiles, but for this one
  Tile tile;
  std::vector<std::string> same_units;  // others with the same bits
  int64_t rows = 0, elements = 0;       // compared
  double reproduces = 0;  // share of elements that are of its sets
  double pinned = 0;      // share with one number alone in its set
  double rounded = 0;     // share that has the bits of correctly rounded special functions
};

struct Verdict {
  std::string mode, name;  // how it was judged: "contract", "replay" or "rule", and by which
  std::vector<OutputVerdict> outputs;
  std::vector<std::string>
      not_judged;  // answers that the capture does not hold, or that this mode cannot judge

  // Contract, with rope: those of the kernel that are not the recipe's, by pair.
  std::vector<FrequencyChoice> inverse_frequencies = {};

  // Why this problem cannot tell right from wrong; a verdict that would be pass is inconclusive
  // then.
  std::vector<std::string> cannot_tell = {};
  std::vector<WouldMiss> would_miss = {};
  std::vector<RuleVerdict> rules = {};  // mode "rule": they alone decide
  std::vector<Cause> causes = {};
  // Sought by explain: that reproduce every element, best first; else the nearest alone.
  std::vector<ScheduleMatch> schedules = {};
  std::vector<std::string> signatures = {};  // where wrong elements are, where it is a pattern

  // fail: an element is outside or wrongly (not) finite, or an output is biased, or a rule says no.
  // inconclusive: nothing failed, and some
  // output has no element that could have. An output without elements cannot pass.
  Outcome Result() const;

  // The first output that fails, in the order in which a kernel makes them; "" where none does.
  // Each is judged from what the capture holds of those before it, so this is where to look first.
  std::string_view FirstOut() const;
};

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_VERDICT_VERDICT_H_
