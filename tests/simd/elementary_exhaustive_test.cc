// All 2^32 f32 through the engine's elementary functions on every target, against lib/number
// (which number_exhaustive_test.cc holds to MPFR). By hand:
//   build/release/tests/simd_elementary_exhaustive_test [--gtest_filter=*SinCos]
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdio>
#include <span>
#include <thread>
#include <vector>

#include "hwy/aligned_allocator.h"
#include "lib/number/elementary.h"
#include "simd/elementary.h"
#include "simd/replay_plan.h"
#include "simd/targets.h"

namespace bitanchor {
namespace {

constexpr uint64_t kChunk = 1 << 20, kAll = uint64_t{1} << 32;

uint32_t Bits(float x) { return std::bit_cast<uint32_t>(x); }

// wrong(xs): how many of a chunk are wrong; it may change xs.
template <typename Wrong>
void ForAllF32(const Wrong& wrong) {
  for (const simd::Target& target : simd::Targets())
    std::printf("target %s\n", target.name.c_str());
  std::atomic<uint64_t> next{0}, failures{0}, checked{0};
  std::vector<std::thread> threads;
  for (unsigned n = 0; n < std::max(1u, std::thread::hardware_concurrency()); ++n) {
    threads.emplace_back([&] {
      std::vector<float> x(kChunk);
      for (uint64_t begin = next.fetch_add(kChunk); begin < kAll; begin = next.fetch_add(kChunk)) {
        for (uint64_t i = 0; i < kChunk; ++i)
          x[i] = std::bit_cast<float>(static_cast<uint32_t>(begin + i));
        failures.fetch_add(wrong(x));
        checked.fetch_add(kChunk);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures.load(), 0u);
  EXPECT_EQ(checked.load(), kAll);
}

// The sum of wrong(options) over every target, with one thread: the kernels' tables, bounds and
// fused or unfused arithmetic differ among them.
template <typename Wrong>
uint64_t OnEveryTarget(const Wrong& wrong) {
  uint64_t failures = 0;
  for (const simd::Target& target : simd::Targets()) {
    simd::EngineOptions options;
    options.threads = 1;
    options.target = target.bit;
    failures += wrong(options);
  }
  return failures;
}

uint64_t Different(const std::vector<float>& got, const std::vector<float>& want) {
  uint64_t different = 0;
  for (size_t i = 0; i < want.size(); ++i) different += Bits(got[i]) != Bits(want[i]);
  return different;
}

TEST(ElementaryExhaustive, Exp) {
  ForAllF32([](const std::vector<float>& x) {
    std::vector<float> y(x.size()), want(x.size());
    for (size_t i = 0; i < x.size(); ++i) want[i] = number::Exp(x[i]);
    return OnEveryTarget([&](const simd::EngineOptions& options) {
      simd::Exp(x, y, options);
      return Different(y, want);
    });
  });
}

// Beyond 2^31 the engine calls lib/number itself, which is slow there: one in 4099 of those stays.
TEST(ElementaryExhaustive, SinCos) {
  ForAllF32([](std::vector<float>& x) {
    for (size_t i = 0; i < x.size(); ++i) {
      if (std::fabs(x[i]) > 0x1p31f && i % 4099 != 0) x[i] = 0;
    }
    std::vector<float> sin(x.size()), cos(x.size()), want_sin(x.size()), want_cos(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      want_sin[i] = number::Sin(x[i]);
      want_cos[i] = number::Cos(x[i]);
    }
    return OnEveryTarget([&](const simd::EngineOptions& options) {
      simd::SinCos(x, sin, cos, options);
      return Different(sin, want_sin) + Different(cos, want_cos);
    });
  });
}

// What the loops of schedules leave open is computed by number::Exp2 itself.
TEST(ElementaryExhaustive, Exp2OfSchedules) {
  constexpr simd::RowArguments kAsIs = {ExpArgument::kScaled, 1, 0, 0, 0};
  ForAllF32([&](std::vector<float>& x) {
    const auto s = hwy::AllocateAligned<float>(kChunk),
               arguments = hwy::AllocateAligned<float>(kChunk);
    const auto low = hwy::AllocateAligned<float>(kChunk),
               high = hwy::AllocateAligned<float>(kChunk);
    std::vector<float> want(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      s[i] = std::fabs(x[i]) < 0x1p-126f ? 0 : x[i];
      want[i] = x[i] < -128 ? 0 : number::Exp2(s[i]);
    }
    return OnEveryTarget([&](const simd::EngineOptions& options) {
      simd::ReplayKernelsOf(options.target)
          .powers(kAsIs, s.get(), kChunk, arguments.get(), low.get(), high.get());
      uint64_t different = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        different += low[i] != simd::kOpenPower &&
                     (Bits(low[i]) != Bits(want[i]) || Bits(high[i]) != Bits(want[i]));
        different += low[i] == simd::kOpenPower && std::fabs(x[i]) < 124;
      }
      return different;
    });
  });
}

}  // namespace
}  // namespace bitanchor
