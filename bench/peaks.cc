#include "bench/peaks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/peaks.cc"
#include "hwy/foreach_target.h"
#include "simd/bf16_dot-inl.h"

// Chains of a = a * x + y by Multiply: twenty hide any latency and fit the registers of AVX-512,
// ten those of the others. They start differently: equal chains would be merged into one.
#define BITANCHOR_CHAIN(n) auto a##n = hn::Set(d, 1.0f + 0.1f * (n));
#define BITANCHOR_STEP(n) a##n = Multiply(a##n, x, y);
#define BITANCHOR_SUM(n) sum = hn::Add(sum, a##n);
#define BITANCHOR_TEN(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9)
#define BITANCHOR_TEN_MORE(f) f(10) f(11) f(12) f(13) f(14) f(15) f(16) f(17) f(18) f(19)

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

// The number of multiplications done; `sink` keeps the results alive.
double FmaChains(int64_t rounds, float* sink) {
  const F32Tag d;
  const auto x = hn::Set(d, 0.999f), y = hn::Set(d, 0.001f);
  const auto Multiply = [](F32 a, F32 b, F32 c) HWY_ATTR { return hn::MulAdd(a, b, c); };
  BITANCHOR_TEN(BITANCHOR_CHAIN)
  for (int64_t n = 0; n < rounds; ++n) {
    BITANCHOR_TEN(BITANCHOR_STEP)
  }
  F32 sum = hn::Zero(d);
  BITANCHOR_TEN(BITANCHOR_SUM)
  *sink += hn::GetLane(sum);
  return 10.0 * static_cast<double>(rounds) * static_cast<double>(hn::Lanes(d));
}

uint64_t ReadAll(const uint64_t* data, size_t count) {
  const hn::ScalableTag<uint64_t> d;
  const size_t N = hn::Lanes(d);
  auto a = hn::Zero(d), b = a, c = a, e = a;
  for (size_t i = 0; i + 4 * N <= count; i += 4 * N) {
    a = hn::Xor(a, hn::Load(d, data + i));
    b = hn::Xor(b, hn::Load(d, data + i + N));
    c = hn::Xor(c, hn::Load(d, data + i + 2 * N));
    e = hn::Xor(e, hn::Load(d, data + i + 3 * N));
  }
  return hn::GetLane(hn::Xor(hn::Xor(a, b), hn::Xor(c, e)));
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#if BITANCHOR_HAVE_BF16_DOT
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512bf16")
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

HWY_NOINLINE double DotChainsRun(int64_t rounds, float* sink) {
  const F32Tag d;
  const auto x = hn::Set(U32Tag(), 0x3F003F00u), y = hn::Set(U32Tag(), 0x3E003E00u);
  const auto Multiply =
      [](F32 a, hn::Vec<U32Tag> b, hn::Vec<U32Tag> c) __attribute__((always_inline)) {
    return bf16_dot::PairMultiply::MulAdd(b, c, a);
  };
  BITANCHOR_TEN(BITANCHOR_CHAIN)
  BITANCHOR_TEN_MORE(BITANCHOR_CHAIN)
  for (int64_t n = 0; n < rounds; ++n) {
    BITANCHOR_TEN(BITANCHOR_STEP)
    BITANCHOR_TEN_MORE(BITANCHOR_STEP)
  }
  F32 sum = hn::Zero(d);
  BITANCHOR_TEN(BITANCHOR_SUM)
  BITANCHOR_TEN_MORE(BITANCHOR_SUM)
  *sink += hn::GetLane(sum);
  return 20.0 * static_cast<double>(rounds) * static_cast<double>(hn::Lanes(d));
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_POP_ATTRIBUTES
#endif

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

double DotChains(int64_t rounds, float* sink) {
#if BITANCHOR_HAVE_BF16_DOT
  return DotChainsRun(rounds, sink);
#else
  (void)rounds, (void)sink;
  return 0;
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "hwy/aligned_allocator.h"
#include "simd/dispatch.h"

namespace bitanchor::simd {
HWY_EXPORT(FmaChains);
HWY_EXPORT(DotChains);
HWY_EXPORT(ReadAll);
}  // namespace bitanchor::simd

namespace bitanchor::bench {
namespace {

// The highest rate of a few runs of `body`, which returns how much it did.
template <typename Body>
double BestRate(const Body& body) {
  double best = 0;
  for (int n = 0; n < 7; ++n) {
    const auto start = std::chrono::steady_clock::now();
    const double done = body();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    best = std::max(best, done / taken.count() / 1e9);
  }
  return best;
}

}  // namespace

double FmaPeakGFs(int64_t target) {
  using namespace simd;  // NOLINT: the dispatch tables are found by their plain names
  float sink = 0;
  return 2 * BestRate([&] { return BITANCHOR_DISPATCH(FmaChains, target)(2'000'000, &sink); });
}

double DotPeakGFs() {
  using namespace simd;  // NOLINT
  if (!BF16DotExact()) return 0;
  float sink = 0;
  return 4 *
         BestRate([&] { return BITANCHOR_DISPATCH(DotChains, kBF16DotLevel)(1'000'000, &sink); });
}

double ReadGBs(int threads) {
  using namespace simd;  // NOLINT
  constexpr size_t kWords = size_t{64} << 20;
  const auto data = hwy::AllocateAligned<uint64_t>(kWords);
  std::fill(data.get(), data.get() + kWords, uint64_t{1});
  std::vector<uint64_t> sinks(threads);
  const size_t part = kWords / threads / 64 * 64;
  return BestRate([&] {
    std::vector<std::thread> workers;
    for (int t = 0; t < threads; ++t) {
      workers.emplace_back(
          [&, t] { sinks[t] ^= BITANCHOR_DISPATCH(ReadAll, 0)(data.get() + t * part, part); });
    }
    for (std::thread& worker : workers) worker.join();
    return 8.0 * static_cast<double>(part * threads);
  });
}

}  // namespace bitanchor::bench
#endif  // HWY_ONCE
