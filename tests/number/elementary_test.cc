// The elementary functions against MPFR, which is correctly rounded: strided samples of all f32,
// dense stretches where the functions are used, hard cases, special values.
#include "lib/number/elementary.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <span>

#include "lib/number/elementary_accurate.h"
#include "tests/number/hard_cases.h"
#include "tests/number/mpfr_oracle.h"

namespace bitanchor {
namespace {

using testing::Function;
using testing::kFunctions;
using testing::Oracle;

int64_t failures = 0;

void Check(Oracle& oracle, const Function& f, float x) {
  const float got = f.ours(x), want = oracle.Of(f.theirs, x);
  if (std::bit_cast<uint32_t>(got) == std::bit_cast<uint32_t>(want)) return;
  if (++failures < 20) {
    ADD_FAILURE() << f.name << "(" << std::hexfloat << x << "): got " << got << " want " << want;
  }
}

float FromBits(uint32_t bits) { return std::bit_cast<float>(bits); }

TEST(Elementary, SampleOfAllInputs) {
  Oracle oracle;
  for (const Function& f : kFunctions) {
    for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 9973)
      Check(oracle, f, FromBits(static_cast<uint32_t>(bits)));
  }
}

TEST(Elementary, WhereAttentionAndRopeUseThem) {
  Oracle oracle;
  std::mt19937 random(1);
  std::uniform_real_distribution<float> weight(-104, 0), sum(1, 200000), angle(0, 131072),
      small(0, 3.2f);
  for (int n = 0; n < 100000; ++n) {
    Check(oracle, kFunctions[0], weight(random));
    Check(oracle, kFunctions[2], sum(random));
    Check(oracle, kFunctions[3], angle(random));
    Check(oracle, kFunctions[4], angle(random));
    Check(oracle, kFunctions[3], small(random));
    Check(oracle, kFunctions[4], small(random));
    Check(oracle, kFunctions[4], static_cast<float>(random() % 16777216));
  }
}

TEST(Elementary, EdgesAndHugeArguments) {
  Oracle oracle;
  for (const Function& f : kFunctions) {
    for (int exponent = 0; exponent < 256; ++exponent) {
      for (const uint32_t mantissa :
           {0u, 1u, 2u, 0x3FFFFFu, 0x400000u, 0x400001u, 0x7FFFFEu, 0x7FFFFFu}) {
        Check(oracle, f, FromBits(static_cast<uint32_t>(exponent) << 23 | mantissa));
        Check(oracle, f, FromBits(0x80000000u | static_cast<uint32_t>(exponent) << 23 | mantissa));
      }
    }
    std::mt19937 random(2);
    for (int n = 0; n < 50000; ++n)
      Check(oracle, f, FromBits(0x4A000000u + random() % 0x35000000u));
    // Around multiples of pi/2 and the thresholds of exp, where results are smallest or flip.
    for (int k = 1; k < 3000; ++k) {
      const float at = static_cast<float>(k * 1.5707963267948966);
      for (const float x : {at, std::nextafter(at, 0.0f), std::nextafter(at, 1e9f)})
        Check(oracle, f, x);
    }
  }
  for (int bits = 0; bits < 4000; ++bits) {
    Check(oracle, kFunctions[0], FromBits(std::bit_cast<uint32_t>(-103.97f) - 2000 + bits));
    Check(oracle, kFunctions[0], FromBits(std::bit_cast<uint32_t>(-87.34f) - 2000 + bits));
    Check(oracle, kFunctions[0], FromBits(std::bit_cast<uint32_t>(88.72f) - 2000 + bits));
    Check(oracle, kFunctions[2], FromBits(std::bit_cast<uint32_t>(1.0f) - 2000 + bits));
  }
}

// The double-double halves decide hard cases: they must be right on their own, so every call goes
// through them.
TEST(Elementary, SlowPathsAloneAreCorrectlyRounded) {
  Oracle oracle;
  const auto round = [](number::DoubleDouble x) {
    return static_cast<float>(number::RoundToOdd(x));
  };
  const auto same = [&](const char* what, float x, float got, float want) {
    if (std::bit_cast<uint32_t>(got) == std::bit_cast<uint32_t>(want)) return;
    if (++failures < 20)
      ADD_FAILURE() << what << "(" << std::hexfloat << x << "): got " << got << " want " << want;
  };
  std::mt19937 random(3);
  for (int n = 0; n < 60000; ++n) {
    const float x = FromBits(random() & 0x7FFFFFFF);
    if (!(x < std::numeric_limits<float>::infinity())) continue;
    same("sin", x, round(number::accurate::Sin(x, 0)), oracle.Of(mpfr_sin, x));
    same("cos", x, round(number::accurate::Sin(x, 1)), oracle.Of(mpfr_cos, x));
    if (x > 0 && x != 1) same("log", x, round(number::accurate::Log(x)), oracle.Of(mpfr_log, x));
    const float e = std::uniform_real_distribution<float>(-120, 89)(random);
    same("exp", e, round(number::accurate::Exp({e, 0})), oracle.Of(mpfr_exp, e));
    const float near_one = 1 + std::ldexp(static_cast<float>(random() % 1000) - 500, -23);
    if (near_one != 1)
      same("log", near_one, round(number::accurate::Log(near_one)), oracle.Of(mpfr_log, near_one));
  }
}

// What the exhaustive runs found: here a kernel's last bits decide. The double-double halves must
// get them right alone, too.
TEST(Elementary, HardestCasesOfAllInputs) {
  using number::DoubleDouble;
  namespace accurate = number::accurate;
  struct Hardest {
    const Function& f;
    DoubleDouble (*slow)(float);
    float (*mirror)(float);  // f(-x) from f(x), where that holds
    std::span<const testing::HardRow> rows;
  };
  const Hardest kAll[] = {
      {kFunctions[0],
       [](float x) {
         return accurate::Exp({x, 0});
       },
       nullptr, testing::kHardExp},
      {kFunctions[1], [](float x) { return accurate::Exp2(x); }, nullptr, testing::kHardExp2},
      {kFunctions[2], [](float x) { return accurate::Log(x); }, nullptr, testing::kHardLog},
      {kFunctions[3], [](float x) { return accurate::Sin(x, 0); }, [](float y) { return -y; },
       testing::kHardSin},
      {kFunctions[4], [](float x) { return accurate::Sin(x, 1); }, [](float y) { return y; },
       testing::kHardCos}};
  Oracle oracle;
  for (const Hardest& hardest : kAll) {
    EXPECT_GE(hardest.rows.size(), 15u);
    for (const testing::HardRow& row : hardest.rows) {
      const auto same = [&](const char* what, float x, float got, uint32_t want) {
        EXPECT_EQ(std::bit_cast<uint32_t>(got), want)
            << hardest.f.name << "(" << std::hexfloat << x << "), " << what;
      };
      same("ours", row.x, hardest.f.ours(row.x), row.want);
      same("slow path", row.x, static_cast<float>(number::RoundToOdd(hardest.slow(row.x))),
           row.want);
      same("MPFR", row.x, oracle.Of(hardest.f.theirs, row.x), row.want);
      if (hardest.mirror == nullptr) continue;
      same("mirrored", -row.x, hardest.f.ours(-row.x),
           std::bit_cast<uint32_t>(hardest.mirror(FromBits(row.want))));
    }
  }
}

void CheckPow(Oracle& oracle, float x, float y) {
  const float got = number::Pow(x, y), want = oracle.Pow(x, y);
  if (std::bit_cast<uint32_t>(got) == std::bit_cast<uint32_t>(want)) return;
  if (++failures < 20) {
    ADD_FAILURE() << "pow(" << std::hexfloat << x << ", " << y << "): got " << got << " want "
                  << want;
  }
}

TEST(Elementary, PowOfEveryModelsFrequencies) {
  Oracle oracle;
  for (const float theta :
       {1e4f, 1e5f, 1.5e5f, 2.5e5f, 5e5f, 1e6f, 3.5e6f, 5e6f, 1e7f, 1e8f, 10.0f, 1.5f}) {
    for (int R = 2; R <= 256; R += 2) {
      for (int i = 0; i < R / 2; ++i) {
        const float x = static_cast<float>(2 * i) / static_cast<float>(R);
        CheckPow(oracle, theta, x);
        CheckPow(oracle, theta, -x);
      }
    }
  }
}

TEST(Elementary, PowRandomExactAndSpecial) {
  Oracle oracle;
  std::mt19937 random(4);
  for (int n = 0; n < 100000; ++n) {
    const float x = FromBits(random() & 0x7FFFFFFF);
    const float y = std::ldexp(static_cast<float>(static_cast<int32_t>(random())),
                               -31 + static_cast<int>(random() % 10));
    if (!std::isnan(x)) CheckPow(oracle, x, y);
  }
  // Exact and half-way results: m^n of 24, 25 and 26 bits, roots of squares, powers of two down to
  // subnormals.
  for (int m = 1; m < 9000; m += 2) {
    for (const float y : {1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 0.5f, 1.5f, 0.25f, -1.0f, -2.0f, -0.5f}) {
      CheckPow(oracle, static_cast<float>(m), y);
      if (m < 4096) CheckPow(oracle, static_cast<float>(m * m), y);
      CheckPow(oracle, std::ldexp(static_cast<float>(m), -70), y);
    }
  }
  for (int e = -149; e < 128; ++e) {
    for (const float y : {0.5f, 1.0f, 1.5f, 2.0f, -1.0f, -0.5f, 0.75f, 150.0f, -150.0f, 149.0f}) {
      CheckPow(oracle, std::ldexp(1.0f, e), y);
    }
  }
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  const float special[] = {0.0f,  -0.0f, 1.0f, -1.0f, 2.0f,   -2.0f, 0.5f,
                           -3.0f, inf,   -inf, nan,   1e-40f, 3e38f, 16777217.0f};
  for (const float x : special) {
    for (const float y : special) CheckPow(oracle, x, y);
  }
}

}  // namespace
}  // namespace bitanchor
