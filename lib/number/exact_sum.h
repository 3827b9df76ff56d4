// A sum without rounding, so that it does not depend on the order of what is added.
#ifndef BITANCHOR_LIB_NUMBER_EXACT_SUM_H_
#define BITANCHOR_LIB_NUMBER_EXACT_SUM_H_

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace bitanchor {

// Of numbers >= 0, in fixed point wide enough for every finite double. Any NaN makes the sum NaN,
// any infinity infinite. Up to 2^31 additions, merged ones included in that of each.
class ExactSum {
 public:
  void Add(double x) {
    if (!std::isfinite(x)) {
      (std::isnan(x) ? nan_ : infinite_) = true;
      return;
    }
    int exponent = 0;
    const double fraction = std::frexp(x, &exponent);  // x = significand 2^(exponent - 53)
    const int shift = exponent - 53 + kBias;
    const auto significand = static_cast<uint64_t>(std::ldexp(fraction, 53));
    const size_t digit = static_cast<size_t>(shift / 32);
    const uint64_t low = (significand & kMask) << (shift % 32);
    const uint64_t high = (significand >> 32) << (shift % 32);
    digits_[digit] += low & kMask;
    digits_[digit + 1] += (low >> 32) + (high & kMask);
    digits_[digit + 2] += high >> 32;
    if (++additions_ == kMostAdditions) Carry();
  }

  void Merge(const ExactSum& other) {
    ExactSum theirs = other;
    theirs.Carry();
    Carry();
    for (size_t i = 0; i < digits_.size(); ++i) digits_[i] += theirs.digits_[i];
    Carry();
    nan_ |= other.nan_;
    infinite_ |= other.infinite_;
  }

  // Within an ulp or two of the sum; the same sum always gives the same number.
  double Value() const {
    if (nan_) return std::numeric_limits<double>::quiet_NaN();
    if (infinite_) return std::numeric_limits<double>::infinity();
    ExactSum sum = *this;
    sum.Carry();
    double value = 0;
    for (size_t i = digits_.size(); i-- > 0;) {
      value += std::ldexp(static_cast<double>(sum.digits_[i]), 32 * static_cast<int>(i) - kBias);
    }
    return value;
  }

 private:
  // Digit i weighs 2^(32 i - kBias): from below the least subnormal's last bit, 53 bits long, to
  // 2^30 times the largest double.
  static constexpr int kBias = 1074 + 53;
  static constexpr uint64_t kMask = 0xffffffff;
  static constexpr int64_t kMostAdditions = int64_t{1} << 29;

  void Carry() {
    for (size_t i = 0; i + 1 < digits_.size(); ++i) {
      digits_[i + 1] += digits_[i] >> 32;
      digits_[i] &= kMask;
    }
    additions_ = 0;
  }

  std::array<uint64_t, 69> digits_ = {};
  int64_t additions_ = 0;
  bool nan_ = false, infinite_ = false;
};

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_NUMBER_EXACT_SUM_H_
