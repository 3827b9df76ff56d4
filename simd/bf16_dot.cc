#include "simd/bf16_dot.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/bf16_dot.cc"
#include "hwy/foreach_target.h"
#include "simd/bf16_dot-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

// acc[N] over `count` pairs by the instruction (false: not compiled for this target) and by Fma.
bool DotFold(const uint32_t* a, const uint32_t* b, size_t count, float* acc) {
#if BITANCHOR_HAVE_BF16_DOT
  bf16_dot::PairFold(a, b, count, acc);
  return true;
#else
  (void)a, (void)b, (void)count, (void)acc;
  return false;
#endif
}

void FmaFold(const uint32_t* a, const uint32_t* b, size_t count, float* acc) {
  const F32Tag d;
  const U32Tag du;
  const auto first = hn::Set(du, 0xFFFF0000u);
  F32 sum = hn::Load(d, acc);
  for (size_t i = 0; i < count; ++i) {
    const auto x = hn::Load(du, a + i * hn::Lanes(d)), y = hn::Load(du, b + i * hn::Lanes(d));
    sum = Fma(hn::BitCast(d, hn::And(x, first)), hn::BitCast(d, hn::And(y, first)), sum);
    sum = Fma(hn::BitCast(d, hn::ShiftLeft<16>(x)), hn::BitCast(d, hn::ShiftLeft<16>(y)), sum);
  }
  hn::Store(sum, d, acc);
}

size_t DotLanes() { return hn::Lanes(F32Tag()); }

// One tile of scores by the instruction, and the same products by FMA; the engine's own loops.
void DotTile(const uint32_t* q, const uint32_t* k, size_t pairs, float* t) {
#if BITANCHOR_HAVE_BF16_DOT
  bf16_dot::PairScores(q, k, pairs, kTile, pairs, 1.0f, t, nullptr);
#else
  (void)q, (void)k, (void)pairs, (void)t;
#endif
}

HWY_NOINLINE void FmaTile(const float* q, const float* k, size_t steps, float* t) {
  Scores<F32Multiply, false>(q, k, steps, kTile, steps, 1.0f, t, nullptr);
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <chrono>
#include <cstring>
#include <random>
#include <vector>

#include "hwy/aligned_allocator.h"
#include "lib/number/float_environment.h"
#include "simd/dispatch.h"

namespace bitanchor::simd {

HWY_EXPORT(DotFold);
HWY_EXPORT(FmaFold);
HWY_EXPORT(DotLanes);
HWY_EXPORT(DotTile);
HWY_EXPORT(FmaTile);

namespace {

bool CpuHasInstruction() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

// A bf16 with an exponent within +-spread of 1, an occasional zero or a power of two.
uint32_t DrawBF16(std::mt19937& random, uint32_t spread) {
  const uint32_t bits = random();
  const uint32_t sign = (bits & 1) << 15;
  if (bits % 61 == 0) return sign;
  const uint32_t fraction = bits % 7 == 0 ? 0 : bits >> 8 & 0x7F;
  return sign | (127 - spread + (bits >> 16) % (2 * spread + 1)) << 7 | fraction;
}

bool CheckInstruction() {
  if (!CpuHasInstruction()) return false;
  const FloatEnvironment environment;
  const size_t N = BITANCHOR_DISPATCH(DotLanes, kBF16DotLevel)();
  constexpr size_t kPairs = 24;
  std::mt19937 random(1);
  const auto a = hwy::AllocateAligned<uint32_t>(kPairs * N),
             b = hwy::AllocateAligned<uint32_t>(kPairs * N);
  const auto got = hwy::AllocateAligned<float>(N), want = hwy::AllocateAligned<float>(N);
  for (int round = 0; round < 256; ++round) {
    const uint32_t spread = 1u << round % 5;  // products within 2^+-32, sums far from subnormal
    for (size_t i = 0; i < kPairs * N; ++i) {
      a[i] = DrawBF16(random, spread) << 16 | DrawBF16(random, spread);
      b[i] = DrawBF16(random, spread) << 16 | DrawBF16(random, spread);
      if (i >= N && random() % 3 == 0) a[i] = a[i - N] ^ 0x80008000u, b[i] = b[i - N];  // cancels
    }
    std::fill(got.get(), got.get() + N, 0.0f);
    std::fill(want.get(), want.get() + N, 0.0f);
    if (!BITANCHOR_DISPATCH(DotFold, kBF16DotLevel)(a.get(), b.get(), kPairs, got.get())) {
      return false;
    }
    BITANCHOR_DISPATCH(FmaFold, kBF16DotLevel)(a.get(), b.get(), kPairs, want.get());
    if (std::memcmp(got.get(), want.get(), N * sizeof(float)) != 0) return false;
  }
  return true;
}

template <typename Body>
double BestSeconds(const Body& body) {
  double best = 1;
  for (int n = 0; n < 15; ++n) {
    const auto start = std::chrono::steady_clock::now();
    for (int repeat = 0; repeat < 8; ++repeat) body();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    best = std::min(best, taken.count());
  }
  return best;
}

double TimeInstruction() {
  constexpr size_t kSteps = 256, kMost = 48 * kSteps;
  const auto q = hwy::AllocateAligned<float>(kMost), k = hwy::AllocateAligned<float>(kMost);
  const auto t = hwy::AllocateAligned<float>(kMost);
  std::fill(q.get(), q.get() + kMost, 0.5f);
  std::fill(k.get(), k.get() + kMost, 0.5f);
  const auto pairs_q = hwy::AllocateAligned<uint32_t>(kMost),
             pairs_k = hwy::AllocateAligned<uint32_t>(kMost);
  std::fill(pairs_q.get(), pairs_q.get() + kMost, 0x3F003F00u);
  std::fill(pairs_k.get(), pairs_k.get() + kMost, 0x3F003F00u);
  const double fma = BestSeconds([&] {
    BITANCHOR_DISPATCH(FmaTile, kBF16DotLevel)(q.get(), k.get(), kSteps, t.get());
  });
  const double dot = BestSeconds([&] {
    BITANCHOR_DISPATCH(DotTile, kBF16DotLevel)(pairs_q.get(), pairs_k.get(), kSteps / 2, t.get());
  });
  return fma / dot;
}

}  // namespace

bool BF16DotExact() {
  static const bool exact = CheckInstruction();
  return exact;
}

double BF16DotSpeed() {
  static const double speed = BF16DotExact() ? TimeInstruction() : 0;
  return speed;
}

bool UsesBF16Dot(int64_t target) {
  if (target == kBF16DotLevel) return BF16DotExact();
  return target == 0 && BF16DotExact() && BF16DotSpeed() > 1.1;
}

}  // namespace bitanchor::simd
#endif  // HWY_ONCE
