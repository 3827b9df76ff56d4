#include "lib/file/chart_axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace bitanchor {
namespace {

constexpr double kMargin = 0.04;     // of the range, before its ends
constexpr double kZeroShare = 0.12;  // of a logarithmic axis that has a 0

// 1, 2 or 5 times a power of ten, the least that is not below x > 0.
double RoundStep(double x) {
  const double power = std::pow(10.0, std::floor(std::log10(x)));
  for (const double times : {1.0, 2.0, 5.0}) {
    if (times * power >= x) return times * power;
  }
  return 10 * power;
}

ChartTick PowerTick(int exponent, bool plain) {
  const double place = std::pow(10.0, exponent);
  if (plain) return {place, fmt::format("{:g}", place), ""};
  return {place, "10",
          exponent < 0 ? fmt::format("\u2212{}", -exponent) : fmt::to_string(exponent)};
}

}  // namespace

bool CanBeShown(double value) { return std::isfinite(value) && value >= 0; }

ChartRange::ChartRange(const ChartAxis& axis, const std::vector<double>& values, int most_ticks)
    : reversed_(axis.reversed), ticks_(axis.ticks) {
  std::vector<double> shown;
  std::copy_if(values.begin(), values.end(), std::back_inserter(shown), CanBeShown);
  for (const ChartTick& tick : axis.ticks) shown.push_back(tick.place);
  std::sort(shown.begin(), shown.end());
  const auto positive = std::upper_bound(shown.begin(), shown.end(), 0.0);
  const bool wide = positive != shown.end() && std::log10(shown.back()) - std::log10(*positive) > 1;
  log_ = positive != shown.end() && axis.scale != ChartScale::kLinear &&
         (axis.scale == ChartScale::kLog || wide);
  if (log_) {
    if (positive != shown.begin()) zero_share_ = kZeroShare;
    MakeLog(axis, *positive, shown.back(), most_ticks);
  } else if (!shown.empty()) {
    MakeLinear(axis, shown.front(), shown.back(), most_ticks);
  }
}

void ChartRange::MakeLog(const ChartAxis& axis, double least, double most, int most_ticks) {
  constexpr double kNearly = 1e-9;  // a logarithm's rounding makes no decade of its own
  low_ = std::log10(least);
  high_ = std::log10(most);
  const double whole_low = std::floor(low_ + kNearly), whole_high = std::ceil(high_ - kNearly);
  const bool few = std::floor(high_ + kNearly) - std::ceil(low_ - kNearly) < 1;
  if (few && axis.ticks.empty()) {
    low_ = whole_low;
    high_ = std::max(whole_high, whole_low + 1);
  } else {
    const double margin = std::max(kMargin * (high_ - low_), 0.05);
    low_ -= margin;
    high_ += margin;
  }
  if (!axis.ticks.empty()) return;
  const int first = static_cast<int>(std::ceil(low_ - kNearly));
  const int last = static_cast<int>(std::floor(high_ + kNearly));
  const int step = (last - first + most_ticks) / most_ticks;
  if (zero_share_ > 0) ticks_.push_back({0, "0", ""});
  for (int n = first; n <= last; ++n) {
    if (n % step == 0) ticks_.push_back(PowerTick(n, first >= -2 && last <= 5));
  }
}

void ChartRange::MakeLinear(const ChartAxis& axis, double least, double most, int most_ticks) {
  low_ = axis.from_zero ? 0 : least;
  high_ = most;
  if (!axis.ticks.empty()) {  // rows or columns, 1 apart
    low_ -= 0.5;
    high_ += 0.5;
    return;
  }
  if (high_ <= low_ && low_ > 0) low_ = 0;
  if (high_ <= low_) high_ = 1;
  const double step = std::max(RoundStep((high_ - low_) / most_ticks), axis.whole ? 1.0 : 0.0);
  const double first = std::ceil(low_ / step), last = std::floor(high_ / step);
  for (double n = first; n <= last && last - first < 100; ++n) {
    ticks_.push_back({n * step, fmt::format("{:.10g}", n * step), ""});
  }
  const double margin = kMargin * (high_ - low_);
  if (low_ > 0) low_ -= margin;
  high_ += margin;
}

double ChartRange::Break() const {
  if (zero_share_ == 0) return 0;
  const double share = 0.8 * zero_share_;
  return reversed_ ? 1 - share : share;
}

double ChartRange::At(double value) const {
  double share;
  if (!log_) {
    share = (value - low_) / (high_ - low_);
  } else if (value == 0) {
    share = 0.3 * zero_share_;
  } else {
    share = zero_share_ + (1 - zero_share_) * (std::log10(value) - low_) / (high_ - low_);
  }
  share = std::clamp(share, 0.0, 1.0);
  return reversed_ ? 1 - share : share;
}

}  // namespace bitanchor
