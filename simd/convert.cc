#include "simd/convert.h"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/convert.cc"
#include "hwy/foreach_target.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

void RoundToBF16Block(const float* HWY_RESTRICT in, size_t count, uint16_t* HWY_RESTRICT out) {
  for (size_t i = 0; i < count; ++i) out[i] = ToBF16(in[i]).bits;
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "simd/dispatch.h"
#include "simd/parallel.h"

namespace bitanchor::simd {

HWY_EXPORT(RoundToBF16Block);

namespace {

constexpr size_t kBlock = 1 << 16;  // elements per task

}  // namespace

void RoundToBF16(std::span<const float> in, std::span<uint16_t> out, const EngineOptions& options) {
  assert(in.size() == out.size());
  const size_t tasks = (in.size() + kBlock - 1) / kBlock;
  ParallelFor(options, static_cast<int64_t>(tasks), [&](int64_t task, int /*worker*/) {
    const size_t begin = static_cast<size_t>(task) * kBlock;
    BITANCHOR_DISPATCH(RoundToBF16Block, options.target)
    (&in[begin], std::min(kBlock, in.size() - begin), &out[begin]);
  });
}

}  // namespace bitanchor::simd
#endif  // HWY_ONCE
