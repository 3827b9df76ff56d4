#include "lib/number/cos_sin_f64.h"

#include <cmath>
#include <cstdint>

namespace bitanchor::number {
namespace {

constexpr DoubleDouble kHalfPi = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54};
constexpr double kHalfPiRest = -0x1.f1976b7ed8fbcp-110;  // pi/2 - kHalfPi

// sin r = r (1 - r^2/(2 3) (1 - r^2/(4 5) (...))) and cos r likewise; |r| <= 0.79, truncated below
// 2^-60. `first`: 2 for cos, 3 for sin.
double Series(double z, int first) {
  double p = 1;
  for (int n = first + 16; n >= first; n -= 2) p = 1 - z * p / (n * (n - 1));
  return p;
}

}  // namespace

// What is left of the angle after k quarter turns is known to 2^-53 of itself: k has 33 bits and
// pi/2 160. Its lower half enters by the first term of the addition theorems.
CosSin CosSinF64(DoubleDouble angle) {
  if (!(std::fabs(angle.hi) < kMostAngle)) return {std::nan(""), std::nan("")};
  const double k = std::nearbyint(angle.hi / kHalfPi.hi);
  const DoubleDouble r = angle - TwoProduct(k, kHalfPi.hi) - TwoProduct(k, kHalfPi.lo) -
                         DoubleDouble{k * kHalfPiRest, 0};
  const double z = r.hi * r.hi;
  const double cos_hi = Series(z, 2), sin_hi = r.hi * Series(z, 3);
  const double c = cos_hi - sin_hi * r.lo, s = sin_hi + cos_hi * r.lo;
  switch (static_cast<int64_t>(k) & 3) {
    case 1:
      return {-s, c};
    case 2:
      return {-c, -s};
    case 3:
      return {s, -c};
    default:
      return {c, s};
  }
}

}  // namespace bitanchor::number
