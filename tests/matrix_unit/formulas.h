// The formulas of lib/matrix_unit/dot_add.h written with MPFR, for one group of finite numbers.
#ifndef BITANCHOR_TESTS_MATRIX_UNIT_FORMULAS_H_
#define BITANCHOR_TESTS_MATRIX_UNIT_FORMULAS_H_

#include <algorithm>
#include <cmath>
#include <vector>

#include "lib/matrix_unit/model.h"
#include "tests/matrix_unit/real.h"

namespace bitanchor::testing {

using matrix_unit::Arithmetic;
using matrix_unit::Model;
using matrix_unit::Reading;
using matrix_unit::Result;

// Rounded to the result's format.
inline double Rounded(const Real& x, const Result& result, mpfr_rnd_t mode) {
  return x.Rounded(result.format.precision, result.format.min_exponent, result.format.max_exponent,
                   mode);
}

inline int ExponentOf(double x, int least) {
  return x == 0 ? least : std::max(std::ilogb(x), least);
}

// One group, of finite numbers, by its formula. The readings: floors of E (of c = 0 alone) and
// under zero products.
struct Oracle {
  const Model& model;
  const Result& result;
  const Reading& reading;

  std::vector<RealTerm> Products(const std::vector<double>& a, const std::vector<double>& b) const {
    const int least = model.operand.min_exponent;
    std::vector<RealTerm> products;
    for (size_t k = 0; k < a.size(); ++k) {
      products.push_back(
          {Real(a[k]) * Real(b[k]), ExponentOf(a[k], least) + ExponentOf(b[k], least)});
    }
    return products;
  }
  RealTerm C(double c) const { return {Real(c), ExponentOf(c, result.storage.min_exponent)}; }
  mpfr_rnd_t Mode() const {
    return result.rounding == Rounding::kNearestEven ? MPFR_RNDN : MPFR_RNDZ;
  }

  double TruncatedSum(const std::vector<double>& a, const std::vector<double>& b, double c) const {
    std::vector<RealTerm> terms = Products(a, b);
    terms.push_back(C(c));
    const int none = -100000, E = std::max(LargestE(terms, none), reading.least_exponent);
    if (E == none) return 0;
    return Rounded(SumOfTruncated(terms, std::max(E, -5000) - model.fraction_bits), result, Mode());
  }

  double Halves(const std::vector<double>& a, const std::vector<double>& b, double c) const {
    double d = 0;
    for (size_t half = 0; half < 2; ++half) {
      std::vector<double> x, y;
      for (size_t k = 0; k < a.size(); ++k) {
        if ((k % 4 >= 2) != (half == 1)) continue;
        x.push_back(a[k]);
        y.push_back(b[k]);
      }
      d = TruncatedSum(x, y, d);
    }
    if (d == 0 && c == 0) return d + c;  // IEEE's zeros
    return Rounded(Real(d) + Real(c), result, MPFR_RNDN);
  }

  double Exact(const std::vector<double>& a, const std::vector<double>& b, double c) const {
    std::vector<RealTerm> terms = Products(a, b);
    terms.push_back(C(c));
    return Rounded(Sum(terms), result, MPFR_RNDN);
  }

  static float Flush(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
  // With the host's own f32 arithmetic.
  double Pairs(std::vector<double> a, std::vector<double> b, double c) const {
    const double least = std::ldexp(1.0, model.operand.min_exponent);
    std::vector<float> p;
    a.resize(static_cast<size_t>(model.products));
    b.resize(static_cast<size_t>(model.products));
    for (size_t k = 0; k < a.size(); ++k) {
      const double x = std::fabs(a[k]) < least && a[k] != 0 ? 0 : a[k];
      const double y = std::fabs(b[k]) < least && b[k] != 0 ? 0 : b[k];
      p.push_back(Flush(static_cast<float>(x) * static_cast<float>(y)));
    }
    float sum = Flush(p[0] + p[1]);
    if (p.size() == 4) sum = Flush(sum + Flush(p[2] + p[3]));
    const float from = std::fabs(c) < 0x1p-126 && c != 0 ? 0.0f : static_cast<float>(c);
    return Flush(from + sum);
  }

  // CDNA3: T of some products, and the E they were truncated to.
  RealTerm T(const std::vector<double>& a, const std::vector<double>& b, bool full) const {
    const std::vector<RealTerm> products = Products(a, b);
    int E = LargestE(products, -100000);
    const bool zero = !full || std::any_of(products.begin(), products.end(),
                                           [](const RealTerm& p) { return p.value.IsZero(); });
    if (E == -100000) return {0.0, -5000};
    if (zero) E = std::max(E, reading.zero_product_exponent);
    return {SumOfTruncated(products, E - 24), E};
  }
  double WithC(const RealTerm& t, double c, bool drop) const {
    const RealTerm add = C(c);
    const int e = std::max(t.e, add.e);
    const Real far = drop && add.e < e - 25 ? Real(0.0) : add.value.Floored(e - 24);
    return Rounded(t.value.Floored(e - 31) + far, result, MPFR_RNDN);
  }
  double ThenC(const std::vector<double>& a, const std::vector<double>& b, double c) const {
    double infinities = 0;
    if (reading.products_overflow) {
      for (const RealTerm& p : Products(a, b)) {
        if (p.value.IsAtLeast(0x1p128))
          infinities += HUGE_VAL * Rounded(p.value, result, MPFR_RNDN);
      }
    }
    if (infinities != 0) return infinities;
    return WithC(T(a, b, a.size() == 8 || (model.input == "xf32" && a.size() == 4)), c, false);
  }
  double Parities(const std::vector<double>& a, const std::vector<double>& b, double c) const {
    std::vector<double> x[2], y[2];
    for (size_t k = 0; k < a.size(); ++k) {
      x[k % 2].push_back(a[k]);
      y[k % 2].push_back(b[k]);
    }
    const RealTerm even = T(x[0], y[0], true), odd = T(x[1], y[1], true);
    const int E = std::max(even.e, odd.e);
    return WithC({even.value.Floored(E - 24) + odd.value.Floored(E - 24), E}, c, true);
  }

  double Group(const std::vector<double>& a, const std::vector<double>& b, double c) const {
    switch (model.arithmetic) {
      case Arithmetic::kTruncatedSum:
        return TruncatedSum(a, b, c);
      case Arithmetic::kTruncatedHalves:
        return Halves(a, b, c);
      case Arithmetic::kExactSum:
        return Exact(a, b, c);
      case Arithmetic::kFlushedPairs:
        return Pairs(a, b, c);
      case Arithmetic::kTruncatedThenC:
        return ThenC(a, b, c);
      case Arithmetic::kTruncatedParities:
        return Parities(a, b, c);
      case Arithmetic::kFMA:
        return std::fma(static_cast<float>(a[0]), static_cast<float>(b[0]), static_cast<float>(c));
    }
    return 0;
  }
};

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_MATRIX_UNIT_FORMULAS_H_
