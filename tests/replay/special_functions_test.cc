// What GPUs may answer, against MPFR.
#include "lib/replay/special_functions.h"

#include <gtest/gtest.h>
#include <mpfr.h>

#include <random>
#include <vector>

#include "tests/replay/quad_oracle.h"

namespace {

using bitanchor::replay::Admissible;
using bitanchor::replay::AtPlace;
using bitanchor::replay::CorrectlyRounded;
using bitanchor::replay::FunctionTable;
using bitanchor::replay::Place;
using bitanchor::replay::SpecialFunctions;
using bitanchor::testing::Ex2ByMpfr;
using bitanchor::testing::Ftz;
using bitanchor::testing::Lg2ByMpfr;
using bitanchor::testing::RcpByMpfr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kNaN = std::numeric_limits<float>::quiet_NaN();

void ExpectSet(const Admissible& got, float low, float high, float x) {
  EXPECT_EQ(Place(got.low), Place(low)) << "of " << x << ": " << got.low << ", want " << low;
  EXPECT_EQ(Place(got.high), Place(high)) << "of " << x << ": " << got.high << ", want " << high;
}

float Steps(float x, int64_t steps) {  // of a number that is not negative
  return Ftz(AtPlace(std::clamp<int64_t>(Place(x) + steps, 0, Place(kInfinity))));
}

std::vector<float> Operands() {
  std::mt19937 random(1);
  std::vector<float> operands = {
      1.0f,      -1.0f,           0.5f,          126.9999f,       127.99999f, 128.0f,
      -125.9f,   -126.0f,         -126.0000002f, -127.0f,         -149.0f,    -150.5f,
      0x1p-126f, 0x1.fffffep127f, 0x1p126f,      0x1.000002p126f, 0x1p-30f,   -0x1p-30f};
  for (int n = 0; n < 1500; ++n) {
    const auto bits = static_cast<uint32_t>(random());
    const float any = std::bit_cast<float>(bits);
    if (std::isfinite(any) && any == Ftz(any) && any != 0) operands.push_back(any);
    operands.push_back(-200 * static_cast<float>(bits) * 0x1p-32f);
  }
  return operands;
}

TEST(SpecialFunctionsTest, AreSoManyUlpAroundTheCorrectlyRoundedValue) {
  for (const int ulp : {0, 1, 2}) {
    SpecialFunctions functions;
    functions.ulp = ulp;
    for (const float x : Operands()) {
      const float exp2 = Ex2ByMpfr(x), size = RcpByMpfr(std::fabs(x));
      ExpectSet(functions.Exp2(x), Steps(exp2, -ulp), Steps(exp2, ulp), x);
      const Admissible reciprocal = functions.Reciprocal(x);
      const float low = Steps(size, -ulp), high = Steps(size, ulp);
      ExpectSet(reciprocal, x > 0 ? low : -high, x > 0 ? high : -low, x);
    }
  }
}

TEST(SpecialFunctionsTest, AreExactWhereNvidiaSaysSo) {
  const SpecialFunctions functions;
  for (const float zero : {0.0f, -0.0f, 0x1p-127f, -0x1p-149f}) {  // subnormals are zeros
    ExpectSet(functions.Exp2(zero), 1, 1, zero);
    const float infinity = std::signbit(zero) ? -kInfinity : kInfinity;
    ExpectSet(functions.Reciprocal(zero), infinity, infinity, zero);
    ExpectSet(functions.Log2(zero), -kInfinity, -kInfinity, zero);
  }
  ExpectSet(functions.Exp2(-kInfinity), 0, 0, -kInfinity);
  ExpectSet(functions.Exp2(kInfinity), kInfinity, kInfinity, kInfinity);
  ExpectSet(functions.Reciprocal(kInfinity), 0, 0, kInfinity);
  ExpectSet(functions.Reciprocal(-kInfinity), -0.0f, -0.0f, -kInfinity);
  ExpectSet(functions.Log2(kInfinity), kInfinity, kInfinity, kInfinity);
  for (const float x : {kNaN, -1.0f, -kInfinity}) EXPECT_TRUE(functions.Log2(x).IsNaN());
  EXPECT_TRUE(functions.Exp2(kNaN).IsNaN());
  EXPECT_TRUE(functions.Reciprocal(kNaN).IsNaN());
}

// The ends are the last f32 numbers within the bound.
TEST(SpecialFunctionsTest, Log2IsWithinItsBound) {
  const SpecialFunctions functions;
  mpfr_t exact, bound, end;
  mpfr_inits2(200, exact, bound, end, nullptr);
  for (const float operand : Operands()) {
    const float x = std::fabs(operand);
    const Admissible got = functions.Log2(x);
    mpfr_set_flt(exact, x, MPFR_RNDN);
    mpfr_log2(exact, exact, MPFR_RNDN);
    mpfr_abs(bound, exact, MPFR_RNDN);
    if (mpfr_cmp_ui(bound, 1) < 0) mpfr_set_ui(bound, 1, MPFR_RNDN);
    mpfr_mul_d(bound, bound, 0x1p-22, MPFR_RNDN);
    mpfr_sub(end, exact, bound, MPFR_RNDN);
    // Not above what is allowed, and no further below it than one number.
    EXPECT_LE(got.low, mpfr_get_flt(end, MPFR_RNDD)) << x;
    EXPECT_GE(Place(got.low), Place(mpfr_get_flt(end, MPFR_RNDD)) - 1) << x;
    mpfr_add(end, exact, bound, MPFR_RNDN);
    EXPECT_GE(got.high, mpfr_get_flt(end, MPFR_RNDU)) << x;
    EXPECT_LE(Place(got.high), Place(mpfr_get_flt(end, MPFR_RNDU)) + 1) << x;
  }
  mpfr_clears(exact, bound, end, nullptr);
}

TEST(SpecialFunctionsTest, CorrectlyRoundedIsOneNumber) {
  const SpecialFunctions functions = CorrectlyRounded();
  int unpinned = 0;
  for (const float operand : Operands()) {
    const float x = std::fabs(operand), want = Ftz(Lg2ByMpfr(x));
    const Admissible got = functions.Log2(x);
    EXPECT_TRUE(got.Contains(want)) << x;
    unpinned += !got.IsPinned();
    ExpectSet(functions.Exp2(x), Ftz(Ex2ByMpfr(x)), Ftz(Ex2ByMpfr(x)), x);
  }
  EXPECT_LE(unpinned, 1);
}

// What is not monotone, a table and 2^0 between its neighbours, all the same.
TEST(SpecialFunctionsTest, OfSetsHoldWhatTheirNumbersGive) {
  std::mt19937 random(2);
  SpecialFunctions functions;
  std::vector<float> values;  // of -1 (1 + n ulp)
  for (int n = 0; n < 3000; ++n)
    values.push_back(0.5f + static_cast<float>(random() % 99) * 0x1p-9f);
  std::vector<float> reciprocals;
  for (uint32_t n = 0; n < 1u << 23; ++n) {
    reciprocals.push_back(Steps(1 / std::bit_cast<float>(0x3f800000u + n), n * 2654435761u >> 30));
  }
  const float starts[] = {0.0f,         -0.0f,      -0x1p-126f, -0x1p-40f,    -1.0f,
                          -0x1.0004p0f, -0x1.02p0f, -30.0f,     -125.99f,     1.0f,
                          0x1.fffp0f,   127.9999f,  3.5f,       0x1.fff8p125f};
  for (const bool table : {false, true}) {
    if (table) {
      functions.exp2 = {0xbf800000u, values};
      functions.reciprocal = {0x3f800000u, reciprocals};
    }
    for (const float start : starts) {
      for (const int64_t width : {1, 9, 700, 5000}) {
        const Admissible x = {AtPlace(Place(start) - width / 2),
                              AtPlace(Place(start) + width / 2 + 1)};
        const Admissible exp2 = functions.Exp2(x), log2 = functions.Log2(x);
        for (int64_t at = Place(x.low); at <= Place(x.high); at += 1 + width / 300) {
          const float number = AtPlace(at);
          const Admissible one = functions.Exp2(number), log = functions.Log2(number);
          ASSERT_TRUE(exp2.Contains(one.low) && exp2.Contains(one.high)) << number;
          ASSERT_TRUE(log2.Contains(log.low) && log2.Contains(log.high)) << number;
          if (x.low <= 0) continue;
          const Admissible all = functions.Reciprocal(x), r = functions.Reciprocal(number);
          ASSERT_TRUE(all.Contains(r.low) && all.Contains(r.high)) << number;
        }
      }
    }
  }
}

TEST(SpecialFunctionsTest, TablesDecide) {
  SpecialFunctions functions;
  const std::vector<float> values = {3.0f, 4.0f, 5.0f};
  functions.exp2 = {std::bit_cast<uint32_t>(-2.0f), values};
  ExpectSet(functions.Exp2(-2.0f), 3, 3, -2);
  ExpectSet(functions.Exp2(AtPlace(Place(-2.0f) - 2)), 5, 5, -2);
  EXPECT_FALSE(functions.Exp2(AtPlace(Place(-2.0f) - 3)).IsPinned());
  EXPECT_FALSE(functions.Exp2(AtPlace(Place(-2.0f) + 1)).IsPinned());
  ExpectSet(functions.Exp2(Admissible(AtPlace(Place(-2.0f) - 2), -2.0f)), 3, 5, -2);
  functions.exp2 = {std::bit_cast<uint32_t>(2.0f), values};
  EXPECT_TRUE(functions.Exp2(Admissible(-1.0f, 2.0f)).Contains(1e30f));
  ExpectSet(functions.Exp2(Admissible(2.0f, AtPlace(Place(2.0f) + 1))), 3, 4, 2);
  std::vector<float> mantissas(1u << 23, 0.75f);
  mantissas[0] = 1;
  functions.reciprocal = {0x3f800000u, mantissas};
  ExpectSet(functions.Reciprocal(1.0f), 1, 1, 1);
  ExpectSet(functions.Reciprocal(-0x1p-3f), -8, -8, 8);
  ExpectSet(functions.Reciprocal(0x1.8p-126f), 0x1.8p125f, 0x1.8p125f, 0);
  ExpectSet(functions.Reciprocal(0x1.8p125f), 0x1.8p-126f, 0x1.8p-126f, 0);
  ExpectSet(functions.Reciprocal(0x1.8p126f), 0, 0, 0);
}

}  // namespace
