// Real numbers of 700 bits by MPFR, which no sum of a few products of f32 exceeds, and the units'
// roundings written with them: the oracle of the models, with nothing of theirs but the constants
// that a test hands it.
#ifndef BITANCHOR_TESTS_MATRIX_UNIT_REAL_H_
#define BITANCHOR_TESTS_MATRIX_UNIT_REAL_H_

#include <mpfr.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

namespace bitanchor::testing {

class Real {
 public:
  Real(double x = 0) {  // NOLINT: a number is a number
    mpfr_init2(x_, 700);
    mpfr_set_d(x_, x, MPFR_RNDN);
  }
  Real(const Real& other) : Real() { mpfr_set(x_, other.x_, MPFR_RNDN); }
  Real& operator=(const Real& other) {
    mpfr_set(x_, other.x_, MPFR_RNDN);
    return *this;
  }
  ~Real() { mpfr_clear(x_); }
  friend Real operator+(Real x, const Real& y) {
    mpfr_add(x.x_, x.x_, y.x_, MPFR_RNDN);
    return x;
  }
  friend Real operator*(Real x, const Real& y) {
    mpfr_mul(x.x_, x.x_, y.x_, MPFR_RNDN);
    return x;
  }
  // To a multiple of 2^q, toward zero or downward.
  Real Truncated(int q) const { return To(q, MPFR_RNDZ); }
  Real Floored(int q) const { return To(q, MPFR_RNDD); }
  bool IsZero() const { return mpfr_zero_p(x_) != 0; }
  double Magnitude() const { return std::fabs(mpfr_get_d(x_, MPFR_RNDA)); }
  bool IsAtLeast(double y) const { return mpfr_cmpabs(x_, Real(y).x_) >= 0; }

  // Rounded to a format of so many bits whose least normal number is 2^least and whose numbers are
  // below 2^(most + 1); an exact zero is +0.
  double Rounded(int bits, int least, int most, mpfr_rnd_t mode) const {
    if (IsZero()) return 0;
    const int exponent = std::max(static_cast<int>(mpfr_get_exp(x_)) - 1, least);
    const double rounded = mpfr_get_d(To(exponent - (bits - 1), mode).x_, MPFR_RNDN);
    if (rounded == 0) return std::copysign(0.0, mpfr_sgn(x_));
    return std::fabs(rounded) >= std::ldexp(1.0, most + 1) ? std::copysign(HUGE_VAL, rounded)
                                                           : rounded;
  }

 private:
  Real To(int q, mpfr_rnd_t mode) const {
    Real y = *this;
    mpfr_mul_2si(y.x_, y.x_, -q, MPFR_RNDN);
    mpfr_rint(y.x_, y.x_, mode);
    mpfr_mul_2si(y.x_, y.x_, q, MPFR_RNDN);
    return y;
  }
  mpfr_t x_;
};

// A term with the exponent that it is aligned by.
struct RealTerm {
  Real value;
  int e;
};

inline Real Sum(std::span<const RealTerm> terms) {
  Real sum;
  for (const RealTerm& term : terms) sum = sum + term.value;
  return sum;
}

// The largest e of the terms that are not zero, `none` if there are none.
inline int LargestE(std::span<const RealTerm> terms, int none) {
  int largest = none;
  for (const RealTerm& term : terms) {
    if (!term.value.IsZero()) largest = std::max(largest, term.e);
  }
  return largest;
}

inline Real SumOfTruncated(std::span<const RealTerm> terms, int q) {
  Real sum;
  for (const RealTerm& term : terms) sum = sum + term.value.Truncated(q);
  return sum;
}

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_MATRIX_UNIT_REAL_H_
