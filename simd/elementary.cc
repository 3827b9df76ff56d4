#include "simd/elementary.h"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/elementary.cc"
#include "hwy/foreach_target.h"
#include "simd/exp-inl.h"
#include "simd/lanes-inl.h"
#include "simd/sincos-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

void ExpBlock(const float* x, size_t count, float* y) {
  const F32Tag d;
  const size_t N = hn::Lanes(d);
  size_t i = 0;
  for (; i + N <= count; i += N) hn::StoreU(Exp(hn::LoadU(d, x + i)), d, y + i);
  if (i == count) return;
  HWY_ALIGN float rest[kMaxLanes] = {};
  std::copy(x + i, x + count, rest);
  hn::Store(Exp(hn::Load(d, rest)), d, rest);
  std::copy(rest, rest + (count - i), y + i);
}

void SinCosBlock(const float* angle, size_t count, float* sin, float* cos) {
  const F32Tag d;
  const size_t N = hn::Lanes(d);
  F32 s, c;
  size_t i = 0;
  for (; i + N <= count; i += N) {
    SinCos(hn::LoadU(d, angle + i), s, c);
    hn::StoreU(s, d, sin + i);
    hn::StoreU(c, d, cos + i);
  }
  if (i == count) return;
  HWY_ALIGN float rest[kMaxLanes] = {}, more[kMaxLanes];
  std::copy(angle + i, angle + count, rest);
  SinCos(hn::Load(d, rest), s, c);
  hn::Store(s, d, rest);
  hn::Store(c, d, more);
  std::copy(rest, rest + (count - i), sin + i);
  std::copy(more, more + (count - i), cos + i);
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "simd/dispatch.h"
#include "simd/element_blocks.h"

namespace bitanchor::simd {

HWY_EXPORT(ExpBlock);
HWY_EXPORT(SinCosBlock);

namespace {

constexpr size_t kBlock = 1 << 14;  // elements per task

}  // namespace

void Exp(std::span<const float> x, std::span<float> y, const EngineOptions& options) {
  assert(x.size() == y.size());
  const auto block = &BITANCHOR_DISPATCH(ExpBlock, options.target);
  ForBlocks(x.size(), kBlock, options,
            [&](size_t begin, size_t count) { block(&x[begin], count, &y[begin]); });
}

void SinCos(std::span<const float> angle, std::span<float> sin, std::span<float> cos,
            const EngineOptions& options) {
  assert(angle.size() == sin.size() && angle.size() == cos.size());
  const auto block = &BITANCHOR_DISPATCH(SinCosBlock, options.target);
  ForBlocks(angle.size(), kBlock, options, [&](size_t begin, size_t count) {
    block(&angle[begin], count, &sin[begin], &cos[begin]);
  });
}

}  // namespace bitanchor::simd
#endif  // HWY_ONCE
