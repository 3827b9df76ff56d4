#include "lib/number/elementary_accurate.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "lib/number/elementary.h"

namespace bitanchor::number::accurate {
namespace {

constexpr DoubleDouble kLn2 = {0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};
constexpr double kLn2Rest = 0x1.7b57a079a1934p-111;  // ln 2 - kLn2
constexpr DoubleDouble kHalfPi = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54};

// 2/pi, 384 bits after the binary point, most significant word first.
constexpr uint32_t kTwoOverPi[12] = {0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0,
                                     0xDB629599, 0x3C439041, 0xFE5163AB, 0xDEBBC561,
                                     0xB7246E3A, 0x424DD2E0, 0x06492EEA, 0x09D1921C};

DoubleDouble Scale(DoubleDouble x, int k) { return {std::ldexp(x.hi, k), std::ldexp(x.lo, k)}; }

// e^r for |r| <= 0.35: Taylor at r/8, where 18 terms reach 2^-120, squared three times (error x 8).
DoubleDouble ExpReduced(DoubleDouble r) {
  r = Scale(r, -3);
  DoubleDouble p = {1, 0};
  for (int n = 18; n >= 1; --n)
    p = DoubleDouble{1, 0} + r * p / DoubleDouble{static_cast<double>(n), 0};
  for (int n = 0; n < 3; ++n) p = p * p;
  return p;
}

// x = quarter * pi/2 + f * pi/2, |f| <= 1/2, with f in double-double (Payne and Hanek, "Radian
// reduction for trigonometric functions", SIGNUM 1983). x = m 2^e with a 24-bit integer m: the
// words of 2/pi that m 2^e turns into multiples of 4 are left out, the next 192 bits kept.
struct Turns {
  int quarter;
  DoubleDouble f;
};

Turns Reduce(float x) {
  int exponent = 0;
  const double fraction = std::frexp(std::fabs(static_cast<double>(x)), &exponent);
  const uint64_t m = static_cast<uint64_t>(fraction * 0x1p24);
  const int e = exponent - 24;  // |x| = m 2^e
  // Bits of 2/pi from position `first` on (position 1 weighs 1/2); m 2^e times what is before is a
  // multiple of 4.
  const int first = std::max(0, e - 2);
  const int word = first / 32;
  // window = 7 words from `word` on, as an integer weighing 2^-(32 (word + 7)).
  uint32_t product[8] = {};
  uint64_t carry = 0;
  for (int n = 6; n >= 0; --n) {
    const uint64_t bits = word + n < 12 ? kTwoOverPi[word + n] : 0;
    const uint64_t sum = bits * m + carry;
    product[n + 1] = static_cast<uint32_t>(sum);
    carry = sum >> 32;
  }
  product[0] = static_cast<uint32_t>(carry);
  // product (256 bits) weighs 2^(e - 32 (word + 7)): its binary point stands `point` bits above the
  // bottom.
  const int point = 32 * (word + 7) - e;
  const auto bit_at = [&](int index) {  // bit `index` above the bottom
    return index < 0 || index >= 256 ? 0u : product[7 - index / 32] >> (index % 32) & 1u;
  };
  int quarter = static_cast<int>(bit_at(point) | bit_at(point + 1) << 1);
  // The fraction, at most 1/2 in size: above 1/2 its complement is taken, exactly, by negating the
  // bits.
  const bool negative = bit_at(point - 1) != 0;
  if (negative) ++quarter;
  DoubleDouble f;
  for (int top = point - 1, taken = 0; top >= 0 && taken < 6; top -= 32) {  // 32 bits at a time
    double chunk = 0;
    for (int i = 0; i < 32; ++i) {
      const int index = top - i;
      const unsigned bit = index < 0 ? (negative ? 1u : 0u) : bit_at(index);
      chunk = 2 * chunk + static_cast<double>(negative ? 1u - bit : bit);
    }
    if (chunk != 0 || taken > 0) ++taken;
    f = f + DoubleDouble{std::ldexp(chunk, top + 1 - 32 - point), 0};
  }
  // The complement of all bits is one unit of the last place too small: below 2^-150, nothing here.
  if (negative) f = -f;
  if (x < 0) return {-quarter & 3, -f};
  return {quarter & 3, f};
}

// sin r = r (1 - r^2/(2 3) (1 - r^2/(4 5) (...))), and cos r likewise; |r| <= 0.79, truncated below
// 2^-115.
DoubleDouble SinReduced(DoubleDouble r) {
  const DoubleDouble z = r * r, one = {1, 0};
  DoubleDouble p = one;
  for (int n = 14; n >= 1; --n) p = one - z * p / DoubleDouble{2.0 * n * (2 * n + 1), 0};
  return r * p;
}

DoubleDouble CosReduced(DoubleDouble r) {
  const DoubleDouble z = r * r, one = {1, 0};
  DoubleDouble p = one;
  for (int n = 15; n >= 1; --n) p = one - z * p / DoubleDouble{2.0 * n * (2 * n - 1), 0};
  return p;
}

}  // namespace

DoubleDouble Exp(DoubleDouble x) {
  const double k = std::nearbyint(x.hi / kLn2.hi);
  const DoubleDouble reduced =
      x - (TwoProduct(k, kLn2.hi) + TwoProduct(k, kLn2.lo)) - DoubleDouble{k * kLn2Rest, 0};
  return Scale(ExpReduced(reduced), static_cast<int>(k));
}

DoubleDouble Exp2(double x) {
  const double k = std::nearbyint(x);
  return Scale(ExpReduced(DoubleDouble{x - k, 0} * kLn2), static_cast<int>(k));
}

DoubleDouble Log(double x) {
  const double f = x - 1;
  if (std::fabs(f) < 0x1p-5) {  // 2 atanh(f / (2 + f)): relative accuracy next to the zero
    const DoubleDouble s = DoubleDouble{f, 0} / TwoSum(2, f), z = s * s;
    DoubleDouble p = {0, 0};
    for (int n = 21; n >= 3; n -= 2)
      p = z * (p + DoubleDouble{1, 0} / DoubleDouble{static_cast<double>(n), 0});
    return Scale(s + s * p, 1);
  }
  // One Newton step from f64: log x = y + log(1 + d), d = x e^-y - 1 below 2^-44; d^4/4 is nothing.
  const DoubleDouble y = {LogF64(x), 0};
  const DoubleDouble d = Exp(-y) * DoubleDouble{x, 0} - DoubleDouble{1, 0};
  return y + (d - d * d * DoubleDouble{0.5, 0} + DoubleDouble{d.hi * d.hi * d.hi / 3, 0});
}

DoubleDouble Sin(float x, int quarter_turns) {
  Turns turns = {0, {x, 0}};
  DoubleDouble r = {x, 0};
  if (std::fabs(x) > 0.785f) {
    turns = Reduce(x);
    r = turns.f * kHalfPi;
  }
  const int turn = turns.quarter + quarter_turns;
  const DoubleDouble y = turn & 1 ? CosReduced(r) : SinReduced(r);
  return turn & 2 ? -y : y;
}

}  // namespace bitanchor::number::accurate
