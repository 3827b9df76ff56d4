// cos and sin of double-double angles against MPFR.
#include "lib/number/cos_sin_f64.h"

#include <gtest/gtest.h>
#include <mpfr.h>

#include <cmath>
#include <limits>
#include <random>

namespace bitanchor::number {
namespace {

constexpr double kBound = 0x1p-51;

// |ours - MPFR's| of hi + lo, the larger of cos and sin.
double Error(DoubleDouble angle) {
  mpfr_t x, y;
  mpfr_inits2(300, x, y, nullptr);
  mpfr_set_d(x, angle.hi, MPFR_RNDN);
  mpfr_add_d(x, x, angle.lo, MPFR_RNDN);
  const CosSin ours = CosSinF64(angle);
  mpfr_cos(y, x, MPFR_RNDN);
  mpfr_sub_d(y, y, ours.c, MPFR_RNDN);
  const double c = std::fabs(mpfr_get_d(y, MPFR_RNDN));
  mpfr_sin(y, x, MPFR_RNDN);
  mpfr_sub_d(y, y, ours.s, MPFR_RNDN);
  const double s = std::fabs(mpfr_get_d(y, MPFR_RNDN));
  mpfr_clears(x, y, nullptr);
  return std::fmax(c, s);
}

TEST(CosSinF64, IsWithinItsBoundOnAnglesOfPositions) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> frequency(0, 1), exponent(0, 33);
  double worst = 0;
  for (int n = 0; n < 50000; ++n) {
    const double position = std::floor(std::exp2(exponent(random)));
    worst = std::fmax(worst, Error(TwoProduct(position, frequency(random))));
  }
  EXPECT_LE(worst, kBound);
  EXPECT_GT(worst, 0x1p-56);
}

// Next to multiples of pi/2 all of the angle cancels, and the lower half is what is left.
TEST(CosSinF64, IsWithinItsBoundNextToQuarterTurns) {
  constexpr DoubleDouble kHalfPi = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54};
  for (const double k : {0., 1., 2., 3., 4., 5., 1e3, 12345677., 1e9, 2.7e9, 5.4e9}) {
    for (const double off : {0., 1e-300, 1e-17, -1e-12, 0.7853981633974483, -0.7853981633974484}) {
      for (const double sign : {1., -1.}) {
        DoubleDouble angle = DoubleDouble{k, 0} * kHalfPi + DoubleDouble{off, 0};
        angle = {sign * angle.hi, sign * angle.lo};
        EXPECT_LE(Error(angle), kBound) << k << " " << off << " " << sign;
      }
    }
  }
}

TEST(CosSinF64, IsWithinItsBoundUpToTheLargestAngle) {
  const double last = std::nextafter(kMostAngle, 0);
  for (const double angle : {0x1p32, 0x1.fffffffp32, last - 1, last}) {
    for (const double lo : {0., 0x1p-22, -0x1p-22, 0x1p-50}) {
      EXPECT_LE(Error({angle, lo}), kBound) << angle << " " << lo;
      EXPECT_LE(Error({-angle, -lo}), kBound) << angle << " " << lo;
    }
  }
}

TEST(CosSinF64, IsNaNOfLargerAnglesAndOfNone) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double angle : {kMostAngle, 0x1p62, 0x1.8p63, 0x1p64, 1e300, infinity}) {
    for (const double hi : {angle, -angle, std::nan("")}) {
      const CosSin got = CosSinF64({hi, 0});
      EXPECT_TRUE(std::isnan(got.c) && std::isnan(got.s)) << hi;
    }
  }
}

TEST(CosSinF64, IsExactWhereTheAngleIsZero) {
  EXPECT_EQ(CosSinF64({0, 0}).c, 1);
  EXPECT_EQ(CosSinF64({0, 0}).s, 0);
}

}  // namespace
}  // namespace bitanchor::number
