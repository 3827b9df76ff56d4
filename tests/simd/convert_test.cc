// The engine's conversions of arrays against lib/number, on every target.
#include "simd/convert.h"

#include <gtest/gtest.h>

#include <bit>
#include <random>
#include <vector>

#include "lib/number/format.h"
#include "simd/targets.h"

namespace bitanchor {
namespace {

float FromBits(uint32_t bits) { return std::bit_cast<float>(bits); }

// Every 16-bit pattern's value, the middle of it and its neighbour, and what lies next to those:
// all the places where rounding changes its mind.
std::vector<float> Boundaries() {
  std::vector<float> x;
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float bf16 = ToF32(BF16{static_cast<uint16_t>(bits)});
    const float f16 = ToF32(F16{static_cast<uint16_t>(bits)});
    for (const uint32_t at :
         {std::bit_cast<uint32_t>(bf16), std::bit_cast<uint32_t>(bf16) + 0x8000u,
          std::bit_cast<uint32_t>(f16), std::bit_cast<uint32_t>(f16) + 0x1000u}) {
      for (const uint32_t step : {0xFFFFFFFFu, 0u, 1u}) x.push_back(FromBits(at + step));
    }
    // Between subnormal f16 values the middle is not 13 bits down.
    const float middle = (static_cast<float>(bits % 1025) + 0.5f) * 0x1p-24f;
    for (const int step : {-1, 0, 1}) {
      x.push_back(FromBits(std::bit_cast<uint32_t>(middle) + step));
      x.push_back(-x.back());
    }
  }
  return x;
}

std::vector<float> Sample(size_t size) {
  std::vector<float> x(size);
  std::mt19937 random(1);
  for (float& value : x) value = FromBits(random());
  return x;
}

void ExpectRounded(const std::vector<float>& x, int threads) {
  ASSERT_FALSE(simd::Targets().empty());
  for (const simd::Target& target : simd::Targets()) {
    simd::EngineOptions options;
    options.target = target.bit;
    options.threads = threads;
    constexpr uint16_t kGuard = 0xA5A5;
    // On a cache line's boundary, without which nothing is streamed, and off it.
    std::vector<uint16_t> bf16_owned(x.size() + 34, kGuard), f16_owned(x.size() + 34, kGuard);
    const auto boundary = [](std::vector<uint16_t>& owned) {
      return owned.data() + (64 - reinterpret_cast<uintptr_t>(owned.data()) % 64) % 64 / 2;
    };
    uint16_t* const bf16 = boundary(bf16_owned);
    uint16_t* const f16 = boundary(f16_owned) + 1;
    simd::RoundToBF16(x, {bf16, x.size()}, options);
    simd::RoundToF16(x, {f16, x.size()}, options);
    int wrong = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      if (bf16[i] == ToBF16(x[i]).bits && f16[i] == ToF16(x[i]).bits) continue;
      if (++wrong > 5) continue;
      ADD_FAILURE() << target.name << std::hexfloat << " " << x[i] << ": got " << std::hex
                    << bf16[i] << " " << f16[i] << ", want " << ToBF16(x[i]).bits << " "
                    << ToF16(x[i]).bits;
    }
    EXPECT_EQ(wrong, 0) << target.name << " " << x.size();
    EXPECT_EQ(bf16[x.size()], kGuard);
    EXPECT_EQ(f16[x.size()], kGuard);
  }
}

TEST(Convert, RoundsAtEveryBoundary) { ExpectRounded(Boundaries(), 1); }

TEST(Convert, RoundsASampleOfAllInputs) {
  std::vector<float> x;
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 2999)
    x.push_back(FromBits(static_cast<uint32_t>(bits)));
  ExpectRounded(x, 2);
}

TEST(Convert, AnySizeAndThreadCount) {
  for (const size_t size :
       {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 65535, 65537, 200001})
    ExpectRounded(Sample(size), static_cast<int>(1 + size % 3));
}

// Large enough that results go past the caches.
TEST(Convert, StreamedResults) { ExpectRounded(Sample((size_t{9} << 20) + 5), 2); }

TEST(Convert, WidensEveryPattern) {
  std::vector<uint16_t> in(65536 + 3);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint16_t>(i * 40503);
  for (const simd::Target& target : simd::Targets()) {
    simd::EngineOptions options;
    options.target = target.bit;
    std::vector<float> bf16(in.size()), f16(in.size());
    simd::BF16ToF32(in, bf16, options);
    simd::F16ToF32(in, f16, options);
    int wrong = 0;
    for (size_t i = 0; i < in.size(); ++i) {
      wrong += std::bit_cast<uint32_t>(bf16[i]) != std::bit_cast<uint32_t>(ToF32(BF16{in[i]}));
      wrong += std::bit_cast<uint32_t>(f16[i]) != std::bit_cast<uint32_t>(ToF32(F16{in[i]}));
    }
    EXPECT_EQ(wrong, 0) << target.name;
  }
}

}  // namespace
}  // namespace bitanchor
