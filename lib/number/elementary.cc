// How: an f64 kernel with a known bound on its relative error, and the rounding test: where both
// ends of the error interval round to the same f32, that is the answer. Where not (about once in
// 2^20 calls) the double-double function of elementary_accurate.h, good to 2^-90, decides: no
// result of these functions at an f32 lies closer to a rounding boundary than about 2^-60 unless it
// lies on it, and those few exact cases are treated apart.
//
// Error budget of the f64 kernels (relative): Taylor truncation < 2^-56, reduction < 2^-52, Horner
// < 2^-51: together below 2^-49, half of what kError grants. Constants are factorials and ln 2;
// nothing is fitted.
#include "lib/number/elementary.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>

#include "lib/number/elementary_accurate.h"
#include "lib/number/format.h"

namespace bitanchor::number {
namespace {

constexpr double kError = 0x1p-48;
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr double kLn2 = 0x1.62e42fefa39efp-1, kInvLn2 = 0x1.71547652b82fep+0;
constexpr double kLn2Hi = 0x1.62e42fefp-1;  // 33 bits: k * kLn2Hi is exact for |k| < 2^20
constexpr double kLn2Lo = 0x1.473de6af278edp-34;

float NaN() { return Canonical(std::numeric_limits<float>::quiet_NaN()); }

// Whether the interval y (1 +- kError) rounds to one f32.
bool Decided(double y, float& result) {
  result = static_cast<float>(y * (1 - kError));
  return std::bit_cast<uint32_t>(result) ==
         std::bit_cast<uint32_t>(static_cast<float>(y * (1 + kError)));
}

float Round(DoubleDouble x) { return static_cast<float>(RoundToOdd(x)); }

double TwoToThe(int k) { return std::bit_cast<double>(static_cast<uint64_t>(k + 1023) << 52); }

// e^r, |r| <= 0.35.
double ExpReduced(double r) {
  double p = 1.0 / 6227020800.0;  // 1/13!
  for (const double inverse :
       {1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0, 1.0 / 362880.0, 1.0 / 40320.0,
        1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0}) {
    p = p * r + inverse;
  }
  return p;
}

// x in quarter turns: quadrant and |r| <= pi/4, for |x| < 2^20. pi/2 in three parts of 33 bits: the
// first two products are exact.
struct Quadrant {
  int turn;
  double r;
};

Quadrant ReduceMedium(double x) {
  const double k = std::nearbyint(x * 0x1.45f306dc9c883p-1);
  double r = x - k * 0x1.921fb544p+0;
  r = r - k * 0x1.0b4611a6p-34;
  r = r - k * 0x1.3198a2e037073p-69;
  return {static_cast<int>(static_cast<int64_t>(k) & 3), r};
}

double SinReduced(double r) {
  const double z = r * r;
  double p = 1.0 / 355687428096000.0;  // 1/17!
  for (const double inverse : {-1.0 / 1307674368000.0, 1.0 / 6227020800.0, -1.0 / 39916800.0,
                               1.0 / 362880.0, -1.0 / 5040.0, 1.0 / 120.0, -1.0 / 6.0}) {
    p = p * z + inverse;
  }
  return r + r * (z * p);
}

double CosReduced(double r) {
  const double z = r * r;
  double p = -1.0 / 6402373705728000.0;  // 1/18!
  for (const double inverse :
       {1.0 / 20922789888000.0, -1.0 / 87178291200.0, 1.0 / 479001600.0, -1.0 / 3628800.0,
        1.0 / 40320.0, -1.0 / 720.0, 1.0 / 24.0, -0.5, 1.0}) {
    p = p * z + inverse;
  }
  return p;
}

// sin(x + turns pi/2), turns 0 (sin) or 1 (cos).
float SinCos(float x, int turns) {
  if (!(std::fabs(x) < kInf)) return NaN();
  if (x == 0) return turns == 0 ? x : 1.0f;
  if (std::fabs(x) < 0x1p20f) {
    const Quadrant q = ReduceMedium(x);
    const int turn = q.turn + turns;
    const double y = turn & 1 ? CosReduced(q.r) : SinReduced(q.r);
    float result;
    if (Decided(turn & 2 ? -y : y, result)) return result;
  }
  return Round(accurate::Sin(x, turns));
}

// The exactly representable and the half-way results of base^exponent, which no finite precision
// decides: base is then a power of two, or a perfect power with few enough bits. True where
// `result` is the exact power, in f64.
bool ExactPow(double base, double exponent, double& result) {
  int e = 0;
  const double m = std::frexp(base, &e);
  if (m == 0.5) {  // 2^(e-1)
    const double power = (e - 1) * exponent;
    if (power != std::floor(power) || std::fabs(power) > 1000) return false;
    result = TwoToThe(static_cast<int>(power));
    return true;
  }
  for (int halvings = 0; exponent != std::floor(exponent); ++halvings) {
    const double root = std::sqrt(base);
    const DoubleDouble square = TwoProduct(root, root);
    if (halvings == 24 || square.hi != base || square.lo != 0) return false;
    base = root;
    exponent *= 2;
  }
  // An odd significand of at least 2 bits: its 17th power has more than the 25 bits of a half-way
  // case.
  if (exponent < 0 || exponent > 16) return false;
  result = 1;
  for (int n = 0; n < static_cast<int>(exponent); ++n) {
    const DoubleDouble product = TwoProduct(result, base);
    if (product.lo != 0 || !(product.hi > 0x1p-400 && product.hi < 0x1p400)) return false;
    result = product.hi;
  }
  return true;
}

bool IsOddInteger(float x) {
  return std::fabs(x) < 0x1p24f && x == std::floor(x) && (static_cast<int32_t>(x) & 1) != 0;
}

float PositivePow(float base, float exponent) {
  double exact;
  if (ExactPow(base, exponent, exact)) return static_cast<float>(exact);
  const double product = static_cast<double>(exponent) * LogF64(base);
  if (product > 200) return kInf;
  if (product < -200) return 0;
  return Round(accurate::Exp(DoubleDouble{exponent, 0} * accurate::Log(base)));
}

}  // namespace

double ExpF64(double x) {
  if (x != x) return std::numeric_limits<double>::quiet_NaN();
  if (x > 709) return std::numeric_limits<double>::infinity();
  if (x < -745) return 0;
  const double k = std::nearbyint(x * kInvLn2);
  const double r = (x - k * kLn2Hi) - k * kLn2Lo;
  const int n = static_cast<int>(k), half = n / 2;
  return ExpReduced(r) * TwoToThe(half) * TwoToThe(n - half);
}

double LogF64(double x) {
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  int k = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++k;
  }
  const double s = (m - 1) / (m + 1), z = s * s;  // ln m = 2 atanh(s), |s| < 0.1716
  double p = 1.0 / 23;
  for (int n = 21; n >= 3; n -= 2) p = p * z + 1.0 / n;
  const double log_m = 2 * s + 2 * s * (z * p);
  return k * kLn2Hi + (log_m + k * kLn2Lo);
}

float Exp(float x) {
  if (x != x) return NaN();
  if (x > 89) return kInf;
  if (x < -110) return 0;
  if (x == 0) return 1;
  float result;
  if (Decided(ExpF64(x), result)) return result;
  return Round(accurate::Exp({x, 0}));
}

float Exp2(float x) {
  if (x != x) return NaN();
  if (x > 129) return kInf;
  if (x < -160) return 0;
  if (x == std::floor(x))
    return static_cast<float>(TwoToThe(static_cast<int>(x)));  // ties at 2^-150 included
  float result;
  const double k = std::nearbyint(static_cast<double>(x));
  if (Decided(ExpReduced((x - k) * kLn2) * TwoToThe(static_cast<int>(k)), result)) return result;
  return Round(accurate::Exp2(x));
}

float Log(float x) {
  if (x == 0) return -kInf;
  if (!(x > 0)) return NaN();
  if (x == kInf || x == 1) return x == 1 ? 0 : x;
  float result;
  if (Decided(LogF64(x), result)) return result;
  return Round(accurate::Log(x));
}

float Sin(float x) { return SinCos(x, 0); }
float Cos(float x) { return SinCos(x, 1); }

float Pow(float base, float exponent) {
  if (exponent == 0 || base == 1) return 1;
  if (base != base || exponent != exponent) return NaN();
  const bool odd = IsOddInteger(exponent);
  if (std::fabs(exponent) == kInf) {
    if (std::fabs(base) == 1) return 1;
    return (std::fabs(base) > 1) == (exponent > 0) ? kInf : 0.0f;
  }
  if (base == 0 || std::fabs(base) == kInf) {
    const float size = (base == 0) == (exponent > 0) ? 0.0f : kInf;
    return odd ? std::copysign(size, base) : size;
  }
  if (base > 0) return PositivePow(base, exponent);
  if (exponent != std::floor(exponent)) return NaN();
  const float size = PositivePow(-base, exponent);
  return odd ? -size : size;
}

}  // namespace bitanchor::number
