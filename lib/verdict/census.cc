#include "lib/verdict/census.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "lib/number/ulp.h"
#include "lib/tensor/tensor_view.h"

namespace bitanchor {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kFixedPoint = 65536;

double Ulp(DType dtype, double at) {
  if (dtype == DType::kBF16) return UlpOf(kFormatBF16, at);
  if (dtype == DType::kF16) return UlpOf(kFormatF16, at);
  return UlpOf(kFormatF32, at);
}

bool SameBits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

// Worse first; then by index, so that the order is total.
bool Worse(const WorstElement& a, const WorstElement& b) {
  return a.share != b.share ? a.share > b.share : a.index < b.index;
}

}  // namespace

Standing Census::Judge(float got, const Interval& interval) const {
  if (strictness_ == Strictness::kBits) {
    const float want = static_cast<float>(interval.want);
    if (SameBits(got, want)) return Standing::kExact;
    return std::isfinite(got) && std::isfinite(want) ? Standing::kOutside
                                                     : Standing::kNonfiniteMismatch;
  }
  if (std::isnan(interval.low))
    return std::isnan(got) ? Standing::kExact : Standing::kNonfiniteMismatch;
  if (interval.low > interval.high) return Standing::kUndetermined;
  if (std::isnan(got)) return Standing::kNonfiniteMismatch;
  if (SameBits(got, RoundTo(dtype_, interval.want))) return Standing::kExact;
  if (Admits(interval, got)) return Standing::kWithin;
  const bool infinite = std::isinf(got) || std::isinf(interval.want);
  return infinite ? Standing::kNonfiniteMismatch : Standing::kOutside;
}

void Census::AddRow(const ElementIndex& first, const float* got, const Interval* intervals,
                    int64_t n) {
  double signed_shares = 0;
  int64_t measured = 0;
  for (int64_t e = 0; e < n; ++e) {
    const Interval& interval = intervals[e];
    const Standing standing = Judge(got[e], interval);
    exact += standing == Standing::kExact;
    within += standing == Standing::kWithin;
    outside += standing == Standing::kOutside;
    nonfinite_mismatch += standing == Standing::kNonfiniteMismatch;
    undetermined += standing == Standing::kUndetermined;
    pinned += interval.low == interval.high;
    if (standing == Standing::kUndetermined) continue;

    double share = standing == Standing::kNonfiniteMismatch ? kInf : 0;
    if (std::isfinite(got[e]) && std::isfinite(interval.want)) {
      const double error = got[e] - interval.want, ulp = Ulp(dtype_, interval.want);
      const double allowed =
          error > 0 ? interval.high - interval.want : interval.want - interval.low;
      share = std::fabs(error) / std::max(allowed, ulp / 2);
      const double size = std::max<double>(std::fabs(got[e]), std::fabs(interval.want));
      max_ulp = std::max(max_ulp, std::fabs(error) / Ulp(dtype_, size));
      signed_shares += std::clamp(error > 0 ? share : -share, -16.0, 16.0);
      ++measured;
    }
    max_share = std::max(max_share, share);
    ElementIndex index = first;
    index[3] = first[3] < 0 ? first[3] : e;
    if (share > 0) Keep({index, got[e], interval, share});
  }
  if (measured == 0) return;
  const int64_t mean = std::llround(signed_shares / static_cast<double>(measured) * kFixedPoint);
  ++rows_;
  sum_ += mean;
  sum_of_squares_ += mean * mean;
}

void Census::Keep(const WorstElement& element) {
  if (worst.size() == kWorst && !Worse(element, worst.back())) return;
  worst.insert(std::upper_bound(worst.begin(), worst.end(), element, Worse), element);
  if (worst.size() > kWorst) worst.pop_back();
}

void Census::Merge(const Census& other) {
  exact += other.exact;
  within += other.within;
  outside += other.outside;
  nonfinite_mismatch += other.nonfinite_mismatch;
  undetermined += other.undetermined;
  pinned += other.pinned;
  max_ulp = std::max(max_ulp, other.max_ulp);
  max_share = std::max(max_share, other.max_share);
  for (const WorstElement& element : other.worst) Keep(element);
  rows_ += other.rows_;
  sum_ += other.sum_;
  sum_of_squares_ += other.sum_of_squares_;
}

double Census::Bias() const {
  return rows_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(rows_) / kFixedPoint;
}

double Census::BiasSigma() const {
  if (rows_ < 2) return 0;
  const double n = static_cast<double>(rows_), sum = static_cast<double>(sum_);
  const double variance = (static_cast<double>(sum_of_squares_) - sum * sum / n) / (n - 1);
  return variance > 0 ? (sum / n) / std::sqrt(variance / n) : 0;
}

}  // namespace bitanchor
