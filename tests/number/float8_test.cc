// The 8-bit formats: every code, and conversions of every mode against the independent method of
// format_reference.h; nearest-even against MPFR as well.
#include "lib/number/float8.h"

#include <gtest/gtest.h>
#include <mpfr.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "lib/number/unpacked.h"
#include "tests/number/format_reference.h"

namespace bitanchor {
namespace {

using testing::Reference;

// What the documents say of each: exponent and fraction bits, bias, finite codes of positive sign,
// the largest number, and the codes that stand for numbers out of range.
template <typename Float8>
struct Facts;

template <>
struct Facts<E4M3> {
  static Reference Values() { return {4, 3, 7, 0x7F}; }
  static constexpr double kLargest = 448;
  static constexpr int kTooLarge = 0x7F, kTooSmall = 0xFF, kNaN = 0x7F, kMinusZero = 0x80;
};
template <>
struct Facts<E5M2> {
  static Reference Values() { return {5, 2, 15, 0x7C}; }
  static constexpr double kLargest = 57344;
  static constexpr int kTooLarge = 0x7C, kTooSmall = 0xFC, kNaN = 0x7E, kMinusZero = 0x80;
};
template <>
struct Facts<E4M3FNUZ> {
  static Reference Values() { return {4, 3, 8, 0x80}; }
  static constexpr double kLargest = 240;
  static constexpr int kTooLarge = 0x80, kTooSmall = 0x80, kNaN = 0x80, kMinusZero = 0;
};
template <>
struct Facts<E5M2FNUZ> {
  static Reference Values() { return {5, 2, 16, 0x80}; }
  static constexpr double kLargest = 57344;
  static constexpr int kTooLarge = 0x80, kTooSmall = 0x80, kNaN = 0x80, kMinusZero = 0;
};

template <typename Float8>
class Float8Test : public ::testing::Test {
 protected:
  using Is = Facts<Float8>;
  static const Reference& Values() {
    static const Reference reference = Is::Values();
    return reference;
  }
  static int Bits(double x, Rounding rounding = Rounding::kNearestEven,
                  Overflow overflow = Overflow::kByRounding) {
    return ToFloat8<Float8>(x, rounding, 0, overflow).bits;
  }

  // What the magnitude `code` of the reference, rounded from a number of this sign, is written as.
  static int Encoded(uint32_t code, bool negative) {
    if (code == Values().values.size()) return negative ? Is::kTooSmall : Is::kTooLarge;
    if (code == 0) return negative ? Is::kMinusZero : 0;
    return static_cast<int>(code) | (negative ? 0x80 : 0);
  }

  static void Expect(double x) {
    const bool negative = std::signbit(x);
    for (const Rounding mode : testing::kModes) {
      ASSERT_EQ(Bits(x, mode), Encoded(Values().Round(std::fabs(x), negative, mode), negative))
          << std::hexfloat << x << " mode " << static_cast<int>(mode);
      const double kept = std::copysign(std::fmin(std::fabs(x), Is::kLargest), x);
      ASSERT_EQ(Bits(x, mode, Overflow::kSaturate), Bits(kept, mode)) << std::hexfloat << x;
    }
  }
};

using Formats = ::testing::Types<E4M3, E5M2, E4M3FNUZ, E5M2FNUZ>;
TYPED_TEST_SUITE(Float8Test, Formats);

TYPED_TEST(Float8Test, EveryCodeIsItsValueAndComesBack) {
  const std::vector<double>& values = this->Values().values;
  EXPECT_EQ(values.back(), Facts<TypeParam>::kLargest);
  for (int code = 0; code < 256; ++code) {
    const float got = ToF32(TypeParam{static_cast<uint8_t>(code)});
    const size_t size = static_cast<size_t>(code & 0x7F);
    if (code == Facts<TypeParam>::kNaN || (size > values.size()) ||
        (size == values.size() && Facts<TypeParam>::kTooLarge == Facts<TypeParam>::kNaN)) {
      ASSERT_EQ(std::bit_cast<uint32_t>(got), 0x7FC00000u) << code;
      ASSERT_EQ(this->Bits(got), Facts<TypeParam>::kNaN);
      continue;
    }
    ASSERT_EQ(std::fabs(got), size == values.size() ? HUGE_VALF : values[size]) << code;
    ASSERT_EQ(std::signbit(got), code >= 128) << code;
    for (const Rounding mode : testing::kModes) ASSERT_EQ(this->Bits(got, mode), code);
  }
}

TYPED_TEST(Float8Test, EveryValueMidpointAndNeighbour) {
  const std::vector<double>& values = this->Values().values;
  for (size_t n = 0; n < values.size(); ++n) {
    const double next = n + 1 < values.size() ? values[n + 1] : 2 * values[n] - values[n - 1];
    for (const double at : {values[n], (values[n] + next) / 2, next}) {
      for (const double to : {at, 0.0, HUGE_VAL}) {
        this->Expect(std::nextafter(at, to));
        this->Expect(-std::nextafter(at, to));
      }
    }
  }
}

TYPED_TEST(Float8Test, NotFiniteAndFarOut) {
  for (const double x : {HUGE_VAL, -HUGE_VAL, 1e300, -1e300, 0x1p-1074, -0x1p-1074, 1e5, -1e5})
    this->Expect(x);
  for (const Rounding mode : testing::kModes) {
    EXPECT_EQ(this->Bits(std::nan(""), mode), Facts<TypeParam>::kNaN);
    EXPECT_EQ(this->Bits(-std::nan(""), mode, Overflow::kSaturate), Facts<TypeParam>::kNaN);
    EXPECT_EQ(this->Bits(-1e300, mode, Overflow::kInfinity), Facts<TypeParam>::kTooSmall);
  }
}

TYPED_TEST(Float8Test, NearestEvenAsMPFR) {
  const Format& format = TypeParam::kFormat;
  const mpfr_exp_t emin = mpfr_get_emin(), emax = mpfr_get_emax();
  mpfr_t y;
  mpfr_init2(y, format.precision);
  std::mt19937_64 random(11);
  for (int n = 0; n < 100000; ++n) {
    const double x = std::ldexp(
        static_cast<double>(static_cast<int64_t>(random())) / (n % 2 == 0 ? 1.0 : 0x1p12),
        -63 + static_cast<int>(random() % 40) - 22);
    mpfr_set_emin(format.LeastExponent() + 1);
    mpfr_set_emax(64);
    const int ternary = mpfr_set_d(y, x, MPFR_RNDN);
    mpfr_subnormalize(y, ternary, MPFR_RNDN);
    const double want = mpfr_get_d(y, MPFR_RNDN);
    const int got = this->Bits(x);
    if (std::fabs(want) > Facts<TypeParam>::kLargest) {
      ASSERT_EQ(got, want < 0 ? Facts<TypeParam>::kTooSmall : Facts<TypeParam>::kTooLarge)
          << std::hexfloat << x;
    } else {
      ASSERT_EQ(ToF32(TypeParam{static_cast<uint8_t>(got)}), want) << std::hexfloat << x;
    }
  }
  mpfr_clear(y);
  mpfr_set_emin(emin);
  mpfr_set_emax(emax);
}

// The chance to go up is the dropped fraction.
TYPED_TEST(Float8Test, Stochastic) {
  const double low = 1, step = std::ldexp(1.0, -TypeParam::kFormat.StoredBits());
  int ups = 0;
  for (uint32_t top = 0; top < 256; ++top) {
    const TypeParam got =
        ToFloat8<TypeParam>(low + step * (37.0 / 256), Rounding::kStochastic, top << 24);
    ASSERT_TRUE(ToF32(got) == low || ToF32(got) == low + step);
    ups += ToF32(got) != low;
  }
  EXPECT_EQ(ups, 37);
}

// A few by hand, from the specifications' tables.
TEST(Float8, ByHand) {
  EXPECT_EQ(ToF32(E4M3{0x7E}), 448);
  EXPECT_EQ(ToF32(E4M3{0x01}), 0x1p-9f);
  EXPECT_EQ(ToF32(E4M3{0xB8}), -1);
  EXPECT_EQ(ToF32(E5M2{0x01}), 0x1p-16f);
  EXPECT_EQ(ToF32(E4M3FNUZ{0x01}), 0x1p-10f);
  EXPECT_EQ(ToF32(E4M3FNUZ{0x40}), 1);
  EXPECT_EQ(ToF32(E5M2FNUZ{0x01}), 0x1p-17f);
  EXPECT_EQ(ToFloat8<E4M3>(464).bits, 0x7E);  // half-way to 480, which would be odd
  EXPECT_EQ(ToFloat8<E4M3>(std::nextafter(464, 500)).bits, 0x7F);
  EXPECT_EQ(ToFloat8<E4M3>(-1e9).bits, 0xFF);
  EXPECT_EQ(ToFloat8<E4M3>(-1e9, Rounding::kNearestEven, 0, Overflow::kSaturate).bits, 0xFE);
  EXPECT_EQ(ToFloat8<E4M3FNUZ>(-0x1p-12).bits, 0);
}

// The integers that a number is taken apart into give it again.
TEST(Unpacked, GivesTheNumberAgain) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const Unpacked half = Unpack(kFormatF16, bits), brain = Unpack(kFormatBF16, bits);
    const float want[] = {ToF32(F16{static_cast<uint16_t>(bits)}),
                          ToF32(BF16{static_cast<uint16_t>(bits)})};
    const double got[] = {ToF64(half), ToF64(brain)};
    for (int n = 0; n < 2; ++n) {
      if (std::isnan(want[n])) {
        ASSERT_TRUE(std::isnan(got[n])) << bits;
      } else {
        ASSERT_EQ(std::bit_cast<uint64_t>(got[n]), std::bit_cast<uint64_t>(double{want[n]}))
            << bits;
      }
    }
  }
  const Unpacked least = Unpack(kFormatF32, 0x80000001u);
  EXPECT_EQ(least.significand, 1u);
  EXPECT_EQ(least.exponent, -149);
  EXPECT_TRUE(least.negative);
  EXPECT_EQ(Unpack(kFormatF32, 0x3F800000u).significand, 1u << 23);
}

// Rounding an integer times a power of two, where it has more bits than an f64.
TEST(Format, RoundsIntegersOfSixtyFourBits) {
  const auto bits = [](uint64_t significand, int exponent, Rounding rounding) {
    return RoundBits(kFormatF32, false, significand, exponent, rounding);
  };
  const uint64_t half = (uint64_t{1} << 63) | (uint64_t{1} << 39);  // a tie in f32
  EXPECT_EQ(bits(half, -63, Rounding::kNearestEven), 0x3F800000u);
  EXPECT_EQ(bits(half + 1, -63, Rounding::kNearestEven), 0x3F800001u);
  EXPECT_EQ(bits(half - 1, -63, Rounding::kNearestEven), 0x3F800000u);
  EXPECT_EQ(bits(half - 1, -63, Rounding::kUp), 0x3F800001u);
  EXPECT_EQ(bits(3, 0, Rounding::kNearestEven), 0x40400000u);
  EXPECT_EQ(bits(1, 128, Rounding::kTowardZero), 0x7F7FFFFFu);
  EXPECT_EQ(RoundBits(kFormatF32, true, 1, 128, Rounding::kTowardZero, 0, Overflow::kInfinity),
            0xFF800000u);
  EXPECT_EQ(RoundBits(kFormatF32, true, 1, -150, Rounding::kNearestEven), 0x80000000u);
  EXPECT_EQ(RoundBits(kFormatF32, true, 3, -151, Rounding::kNearestEven), 0x80000001u);
  EXPECT_EQ(RoundBits(kFormatF32, true, 0, 5, Rounding::kNearestEven), 0x80000000u);
}

}  // namespace
}  // namespace bitanchor
