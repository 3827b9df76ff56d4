// Conversions against the independent method of format_reference.h.
#include "lib/number/format.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "tests/number/format_reference.h"

namespace bitanchor {
namespace {

using testing::BF16Reference;
using testing::F16Reference;
using testing::Reference;
using testing::TF32Reference;

int64_t failures = 0;

template <typename T>
void Check(T x) {
  if (!testing::ConversionsAreRight(x) && ++failures < 10) ADD_FAILURE() << std::hexfloat << x;
}

TEST(Format, EveryPatternOfBF16AndF16IsItsValue) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    for (const bool half : {false, true}) {
      const Reference& reference = half ? F16Reference() : BF16Reference();
      const float got =
          half ? ToF32(F16{static_cast<uint16_t>(bits)}) : ToF32(BF16{static_cast<uint16_t>(bits)});
      const uint32_t size = bits & 0x7FFF;
      if (size > reference.values.size()) {
        EXPECT_TRUE(std::isnan(got));
        continue;
      }
      const double want = size == reference.values.size() ? HUGE_VAL : reference.values[size];
      ASSERT_EQ(std::fabs(static_cast<double>(got)), want) << bits;
      ASSERT_EQ(std::signbit(got), bits >= 32768) << bits;
      const uint16_t back = half ? ToF16(got).bits : ToBF16(got).bits;
      ASSERT_EQ(back, bits);
    }
  }
}

TEST(Format, DenseSampleOfF32) {
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 4801)
    Check(std::bit_cast<float>(static_cast<uint32_t>(bits)));
}

// Every value of either format, every half-way point, and what lies next to them, as f32 and as
// f64.
TEST(Format, NeighboursOfEveryValueAndMidpoint) {
  for (const Reference* reference : {&BF16Reference(), &F16Reference()}) {
    const std::vector<double>& values = reference->values;
    for (size_t n = 0; n < values.size(); n += reference == &BF16Reference() ? 3 : 1) {
      const double next = n + 1 < values.size() ? values[n + 1] : 2 * values[n] - values[n - 1];
      for (const double at : {values[n], (values[n] + next) / 2}) {
        for (const double sign : {1.0, -1.0}) {
          Check(sign * at);
          Check(sign * std::nextafter(at, 0.0));
          Check(sign * std::nextafter(at, HUGE_VAL));
          const float f = static_cast<float>(sign * at);
          Check(f);
          Check(std::nextafter(f, 0.0f));
          Check(
              std::nextafter(f, static_cast<float>(sign) * std::numeric_limits<float>::infinity()));
        }
      }
    }
  }
}

TEST(Format, OneRoundingFromF64) {
  EXPECT_EQ(ToBF16(1 + 0x1p-8 + 0x1p-50).bits, 0x3F81);  // through f32 it would be 3f80
  EXPECT_EQ(ToBF16(1 + 0x1p-8).bits, 0x3F80);
  EXPECT_EQ(ToF16(1 + 0x1p-11 + 0x1p-40).bits, 0x3C01);
  EXPECT_EQ(ToBF16(0x1p-134 + 0x1p-180).bits, 1);
  EXPECT_EQ(ToBF16(0x1p-134).bits, 0);
  std::mt19937_64 random(5);
  for (int n = 0; n < 200000; ++n) Check(std::bit_cast<double>(random()));
  for (int n = 0; n < 200000; ++n)
    Check(std::ldexp(static_cast<double>(random()), -64 + static_cast<int>(random() % 60) - 30));
}

// TF32 is f32 without its 13 low bits, subnormals included.
TEST(Format, TF32NextToEveryNinthValueAndMidpoint) {
  const std::vector<double>& values = TF32Reference().values;
  ASSERT_EQ(values.size(), 255u << 10);
  const auto expect = [](double x) {
    for (const Rounding mode : testing::kModes) {
      const uint32_t want = TF32Reference().Round(std::fabs(x), std::signbit(x), mode) << 13 |
                            (std::signbit(x) ? 0x80000000u : 0u);
      ASSERT_EQ(std::bit_cast<uint32_t>(RoundToTF32(x, mode)), want) << std::hexfloat << x;
    }
  };
  for (size_t n = 0; n < values.size(); n += n < 40 || n + 40 > values.size() ? 1 : 9) {
    const double next = n + 1 < values.size() ? values[n + 1] : 2 * values[n] - values[n - 1];
    for (const double at : {values[n], (values[n] + next) / 2}) {
      for (const double sign : {1.0, -1.0}) {
        for (const double to : {at, 0.0, HUGE_VAL}) expect(sign * std::nextafter(at, to));
      }
    }
  }
  EXPECT_EQ(RoundToTF32(2049), 2048);
  EXPECT_EQ(RoundToTF32(2049, Rounding::kNearestAway), 2050);
  EXPECT_EQ(RoundToTF32(std::numeric_limits<double>::infinity()), HUGE_VALF);
  EXPECT_EQ(std::bit_cast<uint32_t>(RoundToTF32(-std::nan(""))), 0x7FC00000u);
}

TEST(Format, F64ToF32) {
  std::mt19937_64 random(6);
  const float inf = std::numeric_limits<float>::infinity();
  for (int n = 0; n < 300000; ++n) {
    const double x = n % 2 == 0
                         ? std::bit_cast<double>((random() & 0x800FFFFFFFFFFFFF) |
                                                 (uint64_t{800 + random() % 400} << 52))
                         : std::ldexp(static_cast<double>(static_cast<int64_t>(random() >> 30)),
                                      static_cast<int>(random() % 300) - 180);
    const float nearest = static_cast<float>(x);  // hardware, nearest-even
    ASSERT_EQ(std::bit_cast<uint32_t>(RoundToF32(x)), std::bit_cast<uint32_t>(nearest))
        << std::hexfloat << x;
    const float down = static_cast<double>(nearest) <= x ? nearest : std::nextafter(nearest, -inf);
    const float up = static_cast<double>(nearest) >= x ? nearest : std::nextafter(nearest, inf);
    ASSERT_EQ(RoundToF32(x, Rounding::kDown), down) << std::hexfloat << x;
    ASSERT_EQ(RoundToF32(x, Rounding::kUp), up) << std::hexfloat << x;
    ASSERT_EQ(RoundToF32(x, Rounding::kTowardZero), x < 0 ? up : down) << std::hexfloat << x;
  }
  EXPECT_EQ(std::bit_cast<uint32_t>(RoundToF32(std::nan(""))), 0x7FC00000u);
  EXPECT_EQ(std::bit_cast<uint32_t>(Canonical(std::bit_cast<float>(0xFFC12345u))), 0x7FC00000u);
}

// Stochastic: the chance to go up is the dropped fraction, in steps of 2^-16 from f32 to bf16;
// never past a neighbour.
TEST(Format, StochasticFromF32ToBF16) {
  const float x = std::bit_cast<float>(0x3F801234u);
  int64_t ups = 0;
  for (uint32_t top = 0; top < 65536; ++top) {
    const uint16_t bits = ToBF16(x, Rounding::kStochastic, top << 16).bits;
    ASSERT_TRUE(bits == 0x3F80 || bits == 0x3F81);
    ups += bits == 0x3F81;
  }
  EXPECT_EQ(ups, 0x1234);
  EXPECT_EQ(ToBF16(1.0f, Rounding::kStochastic, 0xFFFFFFFFu).bits, 0x3F80);
}

}  // namespace
}  // namespace bitanchor
