#include "lib/exact/gradient_sum.h"

#include <algorithm>
#include <cmath>

#include "lib/exact/score_row.h"

namespace bitanchor::exact {

GradientSum::GradientSum(int64_t head_dim, int64_t tile_tokens)
    : tile_tokens_(tile_tokens), value_(head_dim), error_(head_dim), most_(head_dim) {}

void GradientSum::StartPair(int64_t head, int64_t token) {
  if (addends_ > 0 && (head != head_ || token / tile_tokens_ != token_ / tile_tokens_)) {
    boundaries_.push_back({head != head_, value_});
  }
  if (addends_ == 0 || head != head_ || token != token_ + 1) ++runs_;
  head_ = head;
  token_ = token;
  ++addends_;
}

// What storing the running sum costs at most. Tiles come in ascending order or in descending, and
// run through all heads, or each head has a sum of its own that is rounded before it is added to
// the others. A kernel's running sum is at most `error` away from the exact one.
double GradientSum::StoreError(int64_t d, const OutputRounding& rounding, double error) const {
  const auto cost = [&](double running) {
    return rounding.relative * (std::fabs(running) + error) + rounding.absolute;
  };
  const double total = value_[d];
  // Of the boundaries [first, last) within a sum that runs from `from` to `to`.
  const auto within = [&](size_t first, size_t last, double from, double to) {
    double ascending = 0, descending = 0;
    for (size_t at = first; at < last; ++at) {
      ascending += cost(boundaries_[at].sum[d] - from);
      descending += cost(to - boundaries_[at].sum[d]);
    }
    return std::max(ascending, descending);
  };
  const size_t all = boundaries_.size();
  const double through = within(0, all, 0, total);

  double by_head = 0, from = 0;
  size_t first = 0;
  for (size_t at = 0; at < all; ++at) {
    if (!boundaries_[at].ends_head) continue;
    const double to = boundaries_[at].sum[d];
    by_head += within(first, at, from, to) + cost(to - from);
    from = to;
    first = at + 1;
  }
  if (first > 0) by_head += within(first, all, from, total) + cost(total - from);
  return std::max(through, by_head);
}

Interval GradientSum::Finished(int64_t d, const Contract& contract, double scale, DType stored,
                               DType ends) const {
  if (addends_ == 0) return {0, 0, 0};
  if (!(most_[d] * std::max(1.0, scale) < kMayOverflow)) return kUndeterminedInterval;
  double error = error_[d] + ProductSumError(contract, addends_, runs_) * most_[d] +
                 4 * static_cast<double>(addends_ + 1) * contract.flush;
  // Stored multiplied by the scale, or not, in units of the sum.
  OutputRounding rounding = RoundingOf(stored);
  rounding.absolute *= std::max(1.0, 1 / scale);
  error += StoreError(d, rounding, error);
  const double value = scale * value_[d];
  const double bound =
      scale * error + 4 * contract.operation * (std::fabs(value) + scale * error) + contract.flush;
  return RoundedInterval(ends, value, value - bound, value + bound);
}

}  // namespace bitanchor::exact
