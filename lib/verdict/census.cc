#include "lib/verdict/census.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <tuple>

#include "lib/number/ulp.h"
#include "lib/tensor/tensor_view.h"

namespace bitanchor {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

double Ulp(DType dtype, double at) {
  if (dtype == DType::kBF16) return UlpOf(kFormatBF16, at);
  if (dtype == DType::kF16) return UlpOf(kFormatF16, at);
  return UlpOf(kFormatF32, at);
}

bool SameBits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

// In the order in which -0 is below +0.
bool IsBelow(float a, float b) { return a < b || (a == b && std::signbit(a) && !std::signbit(b)); }

// Whether one number alone is admissible.
bool IsPinned(const Interval& interval, Strictness strictness) {
  if (strictness == Strictness::kBits) return true;
  if (strictness == Strictness::kInterval) return interval.low == interval.high;
  return std::isnan(interval.low) || SameBits(interval.low, interval.high);
}

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
  if (strictness_ == Strictness::kSet) {
    if (IsBelow(got, interval.low) || IsBelow(interval.high, got)) {
      return std::isinf(got) || std::isinf(interval.want) ? Standing::kNonfiniteMismatch
                                                          : Standing::kOutside;
    }
    return IsPinned(interval, strictness_) ? Standing::kExact : Standing::kWithin;
  }
  if (SameBits(got, RoundTo(dtype_, interval.want))) return Standing::kExact;
  if (Admits(interval, got)) return Standing::kWithin;
  const bool infinite = std::isinf(got) || std::isinf(interval.want);
  return infinite ? Standing::kNonfiniteMismatch : Standing::kOutside;
}

void Census::AddRow(const ElementIndex& first, const float* got, const Interval* intervals,
                    int64_t n) {
  RowRecord row{static_cast<int32_t>(first[0]), static_cast<int32_t>(first[1]),
                static_cast<int32_t>(first[2]), 0,
                static_cast<int32_t>(n),        0};
  if (wrong_by_column.size() < static_cast<size_t>(n)) wrong_by_column.resize(n);
  for (int64_t e = 0; e < n; ++e) {
    const Interval& interval = intervals[e];
    const Standing standing = Judge(got[e], interval);
    exact += standing == Standing::kExact;
    within += standing == Standing::kWithin;
    outside += standing == Standing::kOutside;
    nonfinite_mismatch += standing == Standing::kNonfiniteMismatch;
    undetermined += standing == Standing::kUndetermined;
    pinned += IsPinned(interval, strictness_);
    if (standing == Standing::kUndetermined) continue;
    const bool wrong = standing == Standing::kOutside || standing == Standing::kNonfiniteMismatch;
    row.wrong += wrong;
    wrong_by_column[e] += wrong;

    double share = standing == Standing::kNonfiniteMismatch ? kInf : 0;
    if (std::isfinite(got[e]) && std::isfinite(interval.want)) {
      const double error = got[e] - interval.want, ulp = Ulp(dtype_, interval.want);
      const double allowed =
          error > 0 ? interval.high - interval.want : interval.want - interval.low;
      share = std::fabs(error) / std::max(allowed, ulp / 2);
      const double size = std::max<double>(std::fabs(got[e]), std::fabs(interval.want));
      const double ulps = std::fabs(error) / Ulp(dtype_, size);
      max_ulp = std::max(max_ulp, ulps);
      ++by_ulp[std::upper_bound(kUlpBinEnds.begin(), kUlpBinEnds.end(), ulps) -
               kUlpBinEnds.begin()];
    }
    row.share = std::max(row.share, static_cast<float>(share));
    max_share = std::max(max_share, share);
    ElementIndex index = first;
    index[3] = first[3] < 0 ? first[3] : e;
    if (share > 0) Keep({index, got[e], interval, share});
  }
  rows_.push_back(row);
  bias.AddRow(first[0], first[1], first[2], got, intervals, n);
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
  for (size_t bin = 0; bin < kUlpBins; ++bin) by_ulp[bin] += other.by_ulp[bin];
  if (wrong_by_column.size() < other.wrong_by_column.size())
    wrong_by_column.resize(other.wrong_by_column.size());
  for (size_t d = 0; d < other.wrong_by_column.size(); ++d)
    wrong_by_column[d] += other.wrong_by_column[d];
  rows_.insert(rows_.end(), other.rows_.begin(), other.rows_.end());
  bias.Merge(other.bias);
}

std::vector<RowRecord> Census::Rows() const {
  std::vector<RowRecord> rows = rows_;
  std::sort(rows.begin(), rows.end(), [](const RowRecord& x, const RowRecord& y) {
    return std::tuple(x.b, x.h, x.s) < std::tuple(y.b, y.h, y.s);
  });
  return rows;
}

}  // namespace bitanchor
