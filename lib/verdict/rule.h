// Acceptance rules that kernels' own tests use, as data, and what each would say of an answer. Kept
// to be compared with: none of them is sound, and most let wrong kernels by. They are what the
// cited tests do, their handling of NaN and the rounding of their own arithmetic included; only that
// the reference is the exact centre, where theirs is often computed in f32.
#ifndef BITANCHOR_LIB_VERDICT_RULE_H_
#define BITANCHOR_LIB_VERDICT_RULE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lib/number/exact_sum.h"
#include "lib/recipe/eager_path.h"
#include "lib/recipe/interval.h"
#include "lib/tensor/dtype.h"
#include "lib/verdict/verdict.h"

namespace bitanchor {

// What a rule distinguishes among outputs.
enum class RuleOutput { kO, kLse, kDq, kDkDv };
inline constexpr size_t kRuleOutputs = 4;

// How a rule compares `got` with `want`, the reference, and what `measured` and `limit` are then.
enum class RuleMeasure {
  kClose,         // |got - want| <= absolute + relative |want| for each element, as torch.isclose:
                  // the largest error over what is allowed, against 1; or, counted, how many
                  // elements mismatch, against how many may
  kLargestError,  // max |got - want| <= relative max |eager - want|
                  //   + absolute max |want + 0.3 - 0.3 - want|: both sides
  kMeanError,     // mean |got - want| <= relative mean |eager - want|: both sides
  kLargestAndMean,  // max |got - want| < absolute and mean |got - want| < relative: the larger of
                    // the two in units of its limit, against 1
  kSquares,         // sum (got - want)^2 / sum got^2 <= relative: both sides
  kBenchdnn,        // |got - want| <= relative (1 + keys) eps |want|, or <= absolute eps
                    // sum_j p_j |v_jd| (of gradients: <= absolute), for each element: the smaller
                    // share of the two limits, the largest of all elements, against 1
};

// The constants of a measure for one output in one dtype.
struct RuleLimits {
  double relative = 0, absolute = 0;
  double mismatches = 0;  // share of the elements that may mismatch
  bool judged = false;    // false: the rule says nothing about this output
};

struct Rule {
  std::string_view name, says, source;
  RuleMeasure measure;
  std::string_view measures;  // what `measured` and `limit` are, in a few words
  // What becomes of NaN: of an answer that is NaN where it should not be, and of both being NaN.
  std::string_view nan;
  std::optional<EagerPath> eager = std::nullopt;  // the yardstick, if it has one
  bool reference_rounded = true;  // to the output's dtype, before it is compared; else f32 or f64
  bool relative_to_got = false;   // kClose: relative |got|, the arguments being swapped
  bool nan_equal = false;         // kClose: NaN matches NaN
  bool counted = false;           // kClose: elements that mismatch are counted
  // By output, then f16, bf16, f32.
  std::array<std::array<RuleLimits, 3>, kRuleOutputs> limits = {};

  const RuleLimits& Limits(RuleOutput output, DType dtype) const;
};

std::span<const Rule> Rules();
const Rule* FindRule(std::string_view name);  // nullptr: no such rule

// One output's elements as one rule sees them. Adding rows in any order, and merging in any order,
// gives the same verdict to the bit.
class RuleTally {
 public:
  // dtype: of the output. The rule must outlive the tally.
  explicit RuleTally(const Rule& rule, DType dtype, RuleOutput output = RuleOutput::kO);

  // Whether AddRow needs `eager`.
  bool NeedsEager() const { return rule_->eager.has_value(); }
  // Whether the rule says anything about this output; if not, add nothing.
  bool Judges() const { return limits_.judged; }

  // A row: got[n] against want[n].want (of o, want[n].magnitude too), the centre, wherever it is
  // determined. eager: [n], the same row of rule.eager's path, or null. keys: of the problem (Skv,
  // masked ones included), which kBenchdnn counts.
  void AddRow(const float* got, const Interval* want, const float* eager, int64_t n, int64_t keys);
  void Merge(const RuleTally& other);

  int64_t elements() const { return elements_; }  // that were compared

  // Nothing compared: passes is false, measured NaN.
  RuleVerdict Decide(std::string output) const;

 private:
  void AddClose(float got, double want);
  void AddLargestError(float got, double want, float eager);
  void AddMeanError(float got, double want, float eager);
  void AddLargestAndMean(float got, double want);
  void AddSquares(float got, double want);
  void AddBenchdnn(float got, const Interval& want, int64_t keys);
  float Reference(double want) const;  // rounded as the rule rounds it

  const Rule* rule_;
  DType dtype_;
  RuleOutput output_;
  RuleLimits limits_;

  int64_t elements_ = 0;
  int64_t mismatches_ = 0;  // elements that fail by themselves
  double largest_ = 0;      // error, or share of what is allowed
  bool largest_nan_ = false;
  double largest_eager_ = 0, largest_reorder_ = 0;
  bool eager_nan_ = false;
  ExactSum sum_, eager_sum_;  // of errors or squares; of the yardstick's
};

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_VERDICT_RULE_H_
