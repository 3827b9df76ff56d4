// The engine's elementary functions over arrays against lib/number, on every target.
#include "simd/elementary.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "lib/number/elementary.h"
#include "simd/targets.h"

namespace bitanchor {
namespace {

float FromBits(uint32_t bits) { return std::bit_cast<float>(bits); }
uint32_t Bits(float x) { return std::bit_cast<uint32_t>(x); }

// Each value between lanes of other values, so that lanes that touch each other are seen.
void ExpectSinCos(const std::vector<float>& x) {
  std::vector<float> want_sin(x.size()), want_cos(x.size()), sin(x.size()), cos(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    want_sin[i] = number::Sin(x[i]);
    want_cos[i] = number::Cos(x[i]);
  }
  ASSERT_FALSE(simd::Targets().empty());
  for (const simd::Target& target : simd::Targets()) {
    simd::EngineOptions options;
    options.target = target.bit;
    simd::SinCos(x, sin, cos, options);
    int wrong = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      if (Bits(sin[i]) == Bits(want_sin[i]) && Bits(cos[i]) == Bits(want_cos[i])) continue;
      if (++wrong > 5) continue;
      ADD_FAILURE() << target.name << std::hexfloat << " x " << x[i] << ": got " << sin[i] << " "
                    << cos[i] << ", want " << want_sin[i] << " " << want_cos[i];
    }
    EXPECT_EQ(wrong, 0) << target.name;
  }
}

TEST(SinCos, SampleOfAllInputs) {
  std::vector<float> x;
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 8999)
    x.push_back(FromBits(static_cast<uint32_t>(bits)));
  ExpectSinCos(x);
}

TEST(SinCos, AnglesOfRope) {
  std::vector<float> x;
  std::mt19937 random(1);
  for (int i = 0; i < 64; ++i) {
    const float frequency = 1.0f / number::Pow(500000, static_cast<float>(i) / 64);
    for (int n = 0; n < 1500; ++n) {
      const uint32_t position = n < 300 ? n : random() >> (1 + n % 31);  // up to 2^31 - 1
      x.push_back(static_cast<float>(position) * frequency);
    }
  }
  ExpectSinCos(x);
}

TEST(SinCos, Edges) {
  std::vector<float> x = {FromBits(0x7FC00000), FromBits(0xFFC00000), FromBits(0x7F800001),
                          FromBits(0x7F800000), FromBits(0xFF800000)};
  // All exponents; around 2^20 and 2^31, where methods change.
  for (uint32_t exponent = 0; exponent < 256; ++exponent) {
    for (const uint32_t mantissa : {0u, 1u, 2u, 3u, 0x3FFFFFu, 0x400000u, 0x7FFFFEu, 0x7FFFFFu}) {
      x.push_back(FromBits(exponent << 23 | mantissa));
      x.push_back(FromBits(0x80000000u | exponent << 23 | mantissa));
    }
  }
  // Next to multiples of pi/4: results next to 0 and to 1, the quadrant's boundaries.
  std::mt19937 random(2);
  for (int n = 0; n < 40000; ++n) {
    const double k = n < 10000 ? n : static_cast<double>(random() >> (n % 24));
    const uint32_t at = Bits(static_cast<float>(k * 0x1.921fb54442d18p-1));
    for (int step = -2; step <= 2; ++step) x.push_back(FromBits(at + step));
  }
  ExpectSinCos(x);
}

// Of all 0 < x <= 2^31, those whose sin or cos lies nearest to the middle of two f32: within 3
// units of f64's last place. The first is the only one that the f64 kernel alone rounds wrongly.
// The last is the x with the least |x - k pi/2|. Found by running the kernel over all of them.
TEST(SinCos, HardCases) {
  std::vector<float> x;
  for (const float hard :
       {0x1.33333p+13f, 0x1.e35bc6p+7f, 0x1.515766p+12f, 0x1.e7061ep-2f, 0x1.9eab2ep-4f,
        0x1.20ffccp-7f, 0x1p-12f, 0x1.8f219cp+5f, 0x1.a8872ap-11f, 0x1.03b948p+21f, 0x1.0d5fdcp+20f,
        0x1.6f1b7p+5f, 0x1.f9cbe2p+7f}) {
    x.push_back(hard);
    x.push_back(-hard);
  }
  ExpectSinCos(x);
}

TEST(SinCos, AnySizeAndThreadCountAndInPlace) {
  std::mt19937 random(3);
  std::vector<float> x(70001);
  for (float& value : x) value = FromBits(random());
  for (const size_t size : {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 16383, 16384, 16385, 70001}) {
    for (const simd::Target& target : simd::Targets()) {
      simd::EngineOptions options;
      options.target = target.bit;
      options.threads = static_cast<int>(1 + size % 3);
      constexpr float kGuard = 12345;
      std::vector<float> sin(x.begin(), x.begin() + size), cos(size + 1, kGuard);
      sin.push_back(kGuard);
      simd::SinCos({sin.data(), size}, {sin.data(), size}, {cos.data(), size}, options);
      int wrong = 0;
      for (size_t i = 0; i<size; i += size> 100 ? 13 : 1) {
        wrong += Bits(sin[i]) != Bits(number::Sin(x[i])) || Bits(cos[i]) != Bits(number::Cos(x[i]));
      }
      EXPECT_EQ(wrong, 0) << target.name << " " << size;
      EXPECT_EQ(sin[size], kGuard);
      EXPECT_EQ(cos[size], kGuard);
    }
  }
}

TEST(Exp, EqualsTheDefinitionAtAnySize) {
  std::mt19937 random(4);
  std::vector<float> x(40003);
  for (size_t i = 0; i < x.size(); ++i) {
    const float any = FromBits(random());
    x[i] = i % 2 == 0 ? any : std::ldexp(static_cast<float>(random() % 20000) - 10000, -6);
  }
  for (const size_t size : {0, 1, 3, 4, 15, 16, 17, 40003}) {
    for (const simd::Target& target : simd::Targets()) {
      simd::EngineOptions options;
      options.target = target.bit;
      std::vector<float> y(size + 1, 12345.0f);
      simd::Exp({x.data(), size}, {y.data(), size}, options);
      int wrong = 0;
      for (size_t i = 0; i < size; ++i) wrong += Bits(y[i]) != Bits(number::Exp(x[i]));
      EXPECT_EQ(wrong, 0) << target.name << " " << size;
      EXPECT_EQ(y[size], 12345.0f);
    }
  }
}

}  // namespace
}  // namespace bitanchor
