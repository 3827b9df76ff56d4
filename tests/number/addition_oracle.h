// A cheap oracle for all 2^32 inputs: MPFR's values in tables, put together by addition theorems.
//
//   |x| = A + B, B its low 12 bits:  e^x = e^(+-A) e^(+-B), 2^x likewise,
//                                    sin and cos of A + B from sin and cos of A and of B;
//   x = M 2^E, 1/sqrt 2 <= M < sqrt 2:  ln x = E ln 2 + ln M, every ln M of 24 bits in a table.
//
// A sign and exponent has 2^11 A and 2^12 B, so MPFR works 6144 times for 2^23 inputs. Claim: the
// estimate is off by less than 2^-50 `size`, size being the sum of the sizes of the terms that are
// added. Argument: table entries are MPFR's, rounded to f64 (relative error 2^-53 each), a product
// of two has three such errors, the sum adds 2^-53 of itself: at most 2^-51 + 2^-104. No product
// leaves f64's normal range: 2^-149 <= |sin|, and exponents of exp and exp2 stay below 256 where
// tables are used. There is no cancellation for exp, exp2 (one term) and log (|E ln 2| >= 0.69 or
// 0, |ln M| < 0.35); for sin and cos `size` accounts for it. Taken is 2^-46 size, 16 times as much:
// where both ends round to one f32, that is the correctly rounded result; else MPFR itself is
// asked. Checked: every 251st input against MPFR directly.
#ifndef BITANCHOR_TESTS_NUMBER_ADDITION_ORACLE_H_
#define BITANCHOR_TESTS_NUMBER_ADDITION_ORACLE_H_

#include <mpfr.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <thread>
#include <vector>

#include "tests/number/mpfr_oracle.h"

namespace bitanchor::testing {

// MPFR's full exponent range for its lifetime, whatever an Oracle has set.
class FullExponentRange {
 public:
  FullExponentRange() : emin_(mpfr_get_emin()), emax_(mpfr_get_emax()) {
    mpfr_set_emin(mpfr_get_emin_min());
    mpfr_set_emax(mpfr_get_emax_max());
  }
  ~FullExponentRange() {
    mpfr_set_emin(emin_);
    mpfr_set_emax(emax_);
  }
  FullExponentRange(const FullExponentRange&) = delete;
  FullExponentRange& operator=(const FullExponentRange&) = delete;

 private:
  mpfr_exp_t emin_, emax_;
};

// f at f64, correctly rounded (in the normal range).
class WideOracle {
 public:
  WideOracle() { mpfr_inits2(53, x_, y_, nullptr); }
  ~WideOracle() { mpfr_clears(x_, y_, nullptr); }
  double Of(MpfrFunction f, double x) {
    mpfr_set_d(x_, x, MPFR_RNDN);
    f(y_, x_, MPFR_RNDN);
    return mpfr_get_d(y_, MPFR_RNDN);
  }

 private:
  FullExponentRange range_;
  mpfr_t x_, y_;
};

struct Estimate {
  double value, size;
};

inline constexpr uint32_t kHigh = 1 << 11, kLow = 1 << 12;

// visit(is A, index, A or B) for a block's A and B.
template <typename Visit>
void ForParts(uint32_t block, const Visit& visit) {
  const uint32_t exponent = block & 255, leading = exponent > 0 ? 1u << 23 : 0u;
  const double unit = std::ldexp(1.0, static_cast<int>(std::max(exponent, 1u)) - 150);
  for (uint32_t n = 0; n < kHigh; ++n) visit(true, n, unit * (leading | n << 12));
  for (uint32_t n = 0; n < kLow; ++n) visit(false, n, unit * n);
}

// e^x, 2^x.
class ExponentialTables {
 public:
  void Enter(MpfrFunction f, uint32_t block) {
    WideOracle oracle;
    const double sign = block >> 8 != 0 ? -1 : 1;
    ForParts(block, [&](bool high, uint32_t n, double part) {
      (high ? high_ : low_)[n] = oracle.Of(f, sign * part);
    });
  }
  Estimate At(uint32_t mantissa) const {
    const double y = high_[mantissa >> 12] * low_[mantissa & (kLow - 1)];
    return {y, y};
  }

 private:
  double high_[kHigh], low_[kLow];
};

// sin is odd, cos even.
class CircularTables {
 public:
  void Enter(MpfrFunction f, uint32_t block) {
    WideOracle oracle;
    const bool sine = f == mpfr_sin;
    const double sign = sine && block >> 8 != 0 ? -1 : 1;
    ForParts(block, [&](bool high, uint32_t n, double part) {
      const double s = sign * oracle.Of(mpfr_sin, part), c = sign * oracle.Of(mpfr_cos, part);
      if (high) {
        high_[n] = sine ? Pair{s, c} : Pair{c, -s};
      } else {
        low_[n] = Pair{c * sign, s * sign};
      }
    });
  }
  Estimate At(uint32_t mantissa) const {
    const Pair& high = high_[mantissa >> 12];
    const Pair& low = low_[mantissa & (kLow - 1)];
    const double first = high.first * low.first, second = high.second * low.second;
    return {first + second, std::fabs(first) + std::fabs(second)};
  }

 private:
  struct Pair {
    double first, second;
  };
  Pair high_[kHigh], low_[kLow];
};

// Positive x.
class LogTables {
 public:
  void Enter(MpfrFunction, uint32_t block) {
    exponent_ = static_cast<int>(block);
    All();
  }
  Estimate At(uint32_t mantissa) const {
    int exponent = exponent_ - 127;
    if (exponent_ == 0) {
      if (mantissa == 0) return {0, std::numeric_limits<double>::infinity()};
      const int shift = std::countl_zero(mantissa) - 8;
      exponent = -126 - shift;
      mantissa = mantissa << shift & 0x7FFFFF;
    }
    exponent += mantissa > kSqrt2;
    const double first = All().exponents[exponent + 160], second = All().mantissas[mantissa];
    return {first + second, std::fabs(first) + std::fabs(second)};
  }

 private:
  static constexpr uint32_t kSqrt2 = 0x3504F3;  // fraction of the last f32 below sqrt 2
  struct Both {
    std::vector<double> exponents, mantissas;
  };
  static const Both& All() {
    static const Both both = Make();
    return both;
  }
  static Both Make() {
    Both both = {std::vector<double>(320), std::vector<double>(1 << 23)};
    {
      const FullExponentRange range;
      mpfr_t ln2;
      mpfr_init2(ln2, 160);
      mpfr_const_log2(ln2, MPFR_RNDN);
      for (int e = -160; e < 160; ++e) {
        mpfr_t product;
        mpfr_init2(product, 53);
        mpfr_mul_si(product, ln2, e, MPFR_RNDN);
        both.exponents[static_cast<size_t>(e + 160)] = mpfr_get_d(product, MPFR_RNDN);
        mpfr_clear(product);
      }
      mpfr_clear(ln2);
    }
    std::vector<std::thread> threads;
    const uint32_t count = std::max(1u, std::thread::hardware_concurrency());
    for (uint32_t n = 0; n < count; ++n) {
      threads.emplace_back([&both, n, count] {
        WideOracle oracle;
        for (uint32_t m = n; m < 1 << 23; m += count) {
          const double value = 1 + std::ldexp(m, -23);
          both.mantissas[m] = oracle.Of(mpfr_log, m > kSqrt2 ? value / 2 : value);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return both;
  }
  int exponent_ = 0;
};

// log2 of the distance, in ulp of the result, from f(x) to the nearest midpoint of two f32, by 200
// bits; -999 on the midpoint.
inline double Log2Distance(MpfrFunction f, float x, float result) {
  const FullExponentRange range;
  mpfr_t argument, value;
  mpfr_inits2(200, argument, value, nullptr);
  mpfr_set_flt(argument, x, MPFR_RNDN);
  f(value, argument, MPFR_RNDN);
  const auto finite = [](float y) {  // 2^128 where rounding overflows
    return std::isinf(y) ? std::copysign(0x1p128, static_cast<double>(y)) : double{y};
  };
  const float inf = std::numeric_limits<float>::infinity();
  const double near = finite(result);
  double other = finite(std::nextafter(result, mpfr_cmp_d(value, near) > 0 ? inf : -inf));
  if (std::isinf(result)) other = std::copysign(0x1.fffffep127, near);
  mpfr_sub_d(value, value, (near + other) / 2, MPFR_RNDN);
  mpfr_div_d(value, value, other - near, MPFR_RNDN);
  const double distance = std::fabs(mpfr_get_d(value, MPFR_RNDN));
  mpfr_clears(argument, value, nullptr);
  return distance > 0 ? std::log2(distance) : -999;
}

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_NUMBER_ADDITION_ORACLE_H_
