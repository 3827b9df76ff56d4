// Sums and products of two doubles, about 106 bits, without FMA: what the elementary functions
// decide hard cases with. Needs round to nearest and -ffp-contract=off. Algorithms: T. J. Dekker,
// "A floating-point technique for extending the available precision", Numer. Math. 18 (1971); D. E.
// Knuth, TAOCP 2, 4.2.2 (TwoSum).
#ifndef BITANCHOR_LIB_NUMBER_DOUBLE_DOUBLE_H_
#define BITANCHOR_LIB_NUMBER_DOUBLE_DOUBLE_H_

#include <bit>
#include <cstdint>

namespace bitanchor::number {

// hi + lo, |lo| <= ulp(hi) / 2.
struct DoubleDouble {
  double hi = 0, lo = 0;
};

inline DoubleDouble TwoSum(double a, double b) {  // exact
  const double s = a + b, t = s - a;
  return {s, (a - (s - t)) + (b - t)};
}

inline DoubleDouble FastTwoSum(double a, double b) {  // exact where |a| >= |b|
  const double s = a + b;
  return {s, b - (s - a)};
}

inline DoubleDouble TwoProduct(double a, double b) {        // exact barring underflow and overflow
  const double ca = a * 134217729.0, cb = b * 134217729.0;  // 2^27 + 1
  const double ah = ca - (ca - a), al = a - ah, bh = cb - (cb - b), bl = b - bh;
  const double p = a * b;
  return {p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
}

// Relative error of each below 2^-101 of the larger operand (sum) or the result (product,
// quotient).
inline DoubleDouble operator+(DoubleDouble a, DoubleDouble b) {
  const DoubleDouble s = TwoSum(a.hi, b.hi), t = TwoSum(a.lo, b.lo);
  const DoubleDouble u = FastTwoSum(s.hi, s.lo + t.hi);
  return FastTwoSum(u.hi, u.lo + t.lo);
}
inline DoubleDouble operator-(DoubleDouble a) { return {-a.hi, -a.lo}; }
inline DoubleDouble operator-(DoubleDouble a, DoubleDouble b) { return a + -b; }
inline DoubleDouble operator*(DoubleDouble a, DoubleDouble b) {
  const DoubleDouble p = TwoProduct(a.hi, b.hi);
  return FastTwoSum(p.hi, p.lo + (a.hi * b.lo + a.lo * b.hi));
}
inline DoubleDouble operator/(DoubleDouble a, DoubleDouble b) {
  const double q = a.hi / b.hi;
  const DoubleDouble r = a - b * DoubleDouble{q, 0};
  const double q2 = r.hi / b.hi;
  const DoubleDouble r2 = r - b * DoubleDouble{q2, 0};
  return FastTwoSum(q, q2) + DoubleDouble{r2.hi / b.hi, 0};
}

// hi + lo rounded to odd in f64: rounding that to f32 afterwards is one rounding (53 >= 2 x 24 +
// 2).
inline double RoundToOdd(DoubleDouble x) {
  const uint64_t bits = std::bit_cast<uint64_t>(x.hi);
  if (!(x.lo > 0 || x.lo < 0) || (bits & 1) != 0) return x.hi;
  return std::bit_cast<double>((x.lo > 0) == (x.hi > 0) ? bits + 1 : bits - 1);
}

}  // namespace bitanchor::number

#endif  // BITANCHOR_LIB_NUMBER_DOUBLE_DOUBLE_H_
