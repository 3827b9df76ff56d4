#include "lib/verdict/rule.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/tensor/tensor_view.h"

namespace bitanchor {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr float kMostF32 = std::numeric_limits<float>::max();

// numeric_limits<>::epsilon of the type.
double Epsilon(DType dtype) {
  if (dtype == DType::kF16) return 0x1p-10;
  if (dtype == DType::kBF16) return 0x1p-7;
  return 0x1p-23;
}

bool InfinityOrLargest(float x) { return std::isinf(x) || std::fabs(x) == kMostF32; }

double Share(double error, double allowed) {
  if (std::isnan(error)) return kInf;
  if (error == 0) return 0;
  return allowed == 0 ? kInf : error / allowed;
}

}  // namespace

RuleTally::RuleTally(const Rule& rule, DType dtype, RuleOutput output)
    : rule_(&rule), dtype_(dtype), output_(output), limits_(rule.Limits(output, dtype)) {}

float RuleTally::Reference(double want) const {
  return RoundTo(rule_->reference_rounded ? dtype_ : DType::kF32, want);
}

void RuleTally::AddRow(const float* got, const Interval* want, const float* eager, int64_t n,
                       int64_t keys) {
  for (int64_t e = 0; e < n; ++e) {
    if (want[e].low > want[e].high) continue;  // undetermined
    ++elements_;
    switch (rule_->measure) {
      case RuleMeasure::kClose:
        AddClose(got[e], want[e].want);
        break;
      case RuleMeasure::kLargestError:
        AddLargestError(got[e], want[e].want, eager[e]);
        break;
      case RuleMeasure::kMeanError:
        AddMeanError(got[e], want[e].want, eager[e]);
        break;
      case RuleMeasure::kLargestAndMean:
        AddLargestAndMean(got[e], want[e].want);
        break;
      case RuleMeasure::kSquares:
        AddSquares(got[e], want[e].want);
        break;
      case RuleMeasure::kBenchdnn:
        AddBenchdnn(got[e], want[e], keys);
        break;
    }
  }
}

// torch.isclose computes in the tensors' dtype, each operation in f32 and rounded to it.
void RuleTally::AddClose(float got, double want_exact) {
  const DType dtype = rule_->reference_rounded ? dtype_ : DType::kF32;
  const float want = Reference(want_exact);
  if (got == want || (rule_->nan_equal && std::isnan(got) && std::isnan(want))) return;
  const float base = rule_->relative_to_got ? got : want;
  const float relative = RoundTo(dtype, static_cast<float>(limits_.relative) * base);
  const float allowed = RoundTo(dtype, static_cast<float>(limits_.absolute) + std::fabs(relative));
  const float error = std::fabs(RoundTo(dtype, got - want));
  const bool finite = std::isfinite(error);
  if (!finite || !(error <= allowed)) ++mismatches_;
  largest_ = std::max(largest_, finite ? Share(error, allowed) : kInf);
}

// Tensors of the output's dtype, every operation rounded to it; max() keeps NaN.
void RuleTally::AddLargestError(float got, double want_exact, float eager) {
  const auto round = [this](float x) { return RoundTo(dtype_, x); };
  const float want = Reference(want_exact);
  const float error = std::fabs(round(got - want)), yardstick = std::fabs(round(eager - want));
  const float reorder = std::fabs(round(round(round(want + 0.3f) - 0.3f) - want));
  largest_nan_ |= std::isnan(error);
  eager_nan_ |= std::isnan(yardstick) || (limits_.absolute > 0 && std::isnan(reorder));
  if (!std::isnan(error)) largest_ = std::max<double>(largest_, error);
  if (!std::isnan(yardstick)) largest_eager_ = std::max<double>(largest_eager_, yardstick);
  if (!std::isnan(reorder)) largest_reorder_ = std::max<double>(largest_reorder_, reorder);
}

void RuleTally::AddMeanError(float got, double want, float eager) {
  sum_.Add(std::fabs(got - want));
  eager_sum_.Add(std::fabs(eager - want));
}

void RuleTally::AddLargestAndMean(float got, double want) {
  const double error = std::fabs(RoundTo(dtype_, got - Reference(want)));
  largest_ = std::fmax(largest_, error);
  sum_.Add(error);
}

// f32 tensors, whose squares are f32 too. Infinities (and the largest numbers) must be on both
// sides, with the same sign.
void RuleTally::AddSquares(float got, double want_exact) {
  const float want = Reference(want_exact);
  const bool huge = InfinityOrLargest(got) || InfinityOrLargest(want);
  const bool alike =
      InfinityOrLargest(got) && InfinityOrLargest(want) && std::signbit(got) == std::signbit(want);
  mismatches_ += std::isnan(got) || std::isnan(want) || (huge && !alike);
  const float error = got - want;
  sum_.Add(error * error);
  eager_sum_.Add(got * got);
}

// As benchdnn's compare_p2p. An answer that is nearly all zeros it calls mistrusted, which does not
// fail its run and so nothing here.
void RuleTally::AddBenchdnn(float got, const Interval& interval, int64_t keys) {
  const float want = Reference(interval.want), exact = static_cast<float>(interval.want);
  if (got == exact) return;
  const float error = std::fabs(got - want), size = std::fabs(want);
  const bool extreme = dtype_ == DType::kF16 &&
                       ((std::isnan(got) && std::isnan(want)) || (std::isinf(got) && got == want));
  if (extreme || (size <= 1e-5f && error < 0x1p-23f)) return;
  const float epsilon = static_cast<float>(Epsilon(dtype_));
  const float relative =
      static_cast<float>(limits_.relative) * static_cast<float>(1 + keys) * epsilon;
  const float absolute = output_ == RuleOutput::kO
                             ? static_cast<float>(limits_.absolute) * epsilon * interval.magnitude
                             : static_cast<float>(limits_.absolute);
  const float compared = size > 1e-5f ? error / size : error;
  if (!(compared <= relative) && !(error <= absolute)) ++mismatches_;
  largest_ = std::max(largest_, std::min(Share(compared, relative), Share(error, absolute)));
}

void RuleTally::Merge(const RuleTally& other) {
  elements_ += other.elements_;
  mismatches_ += other.mismatches_;
  largest_ = std::max(largest_, other.largest_);
  largest_nan_ |= other.largest_nan_;
  largest_eager_ = std::max(largest_eager_, other.largest_eager_);
  largest_reorder_ = std::max(largest_reorder_, other.largest_reorder_);
  eager_nan_ |= other.eager_nan_;
  sum_.Merge(other.sum_);
  eager_sum_.Merge(other.eager_sum_);
}

RuleVerdict RuleTally::Decide(std::string output) const {
  RuleVerdict verdict{std::string(rule_->name), std::move(output), false, kNaN, 1, {}};
  if (elements_ == 0) return verdict;
  const double n = static_cast<double>(elements_);
  switch (rule_->measure) {
    case RuleMeasure::kClose:
    case RuleMeasure::kBenchdnn: {
      const double may = std::trunc(n * limits_.mismatches);
      verdict.passes = static_cast<double>(mismatches_) <= may;
      verdict.measured = rule_->counted ? static_cast<double>(mismatches_) : largest_;
      verdict.limit = rule_->counted ? may : 1;
      break;
    }
    case RuleMeasure::kLargestError:
      verdict.measured = largest_nan_ ? kNaN : largest_;
      verdict.limit = eager_nan_
                          ? kNaN
                          : limits_.relative * largest_eager_ + limits_.absolute * largest_reorder_;
      verdict.passes = verdict.measured <= verdict.limit;  // not with NaN
      break;
    case RuleMeasure::kMeanError: {
      const double eager = eager_sum_.Value() / n;
      verdict.measured = sum_.Value() / n;
      verdict.limit = limits_.relative * eager;
      const bool only_nan = std::isnan(verdict.measured) && !std::isnan(eager);
      verdict.passes =
          !only_nan && !(verdict.measured > verdict.limit);  // NaN on both sides passes
      break;
    }
    case RuleMeasure::kLargestAndMean: {
      const double mean = sum_.Value() / n;
      verdict.passes = largest_ < limits_.absolute && mean < limits_.relative;
      verdict.measured =
          std::isnan(mean) ? kNaN : std::max(largest_ / limits_.absolute, mean / limits_.relative);
      break;
    }
    case RuleMeasure::kSquares:
      verdict.measured = mismatches_ > 0 ? kNaN : sum_.Value() / eager_sum_.Value();
      verdict.limit = limits_.relative;
      verdict.passes = mismatches_ == 0 && !(verdict.measured > verdict.limit);
      break;
  }
  return verdict;
}

}  // namespace bitanchor
