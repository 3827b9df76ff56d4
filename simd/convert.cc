#include "simd/convert.h"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/convert.cc"
#include "hwy/foreach_target.h"
#include "simd/convert-inl.h"
#include "simd/lanes-inl.h"
#include "simd/rows-inl.h"
#include "simd/stream-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

// The upper halves of `count` lanes Up(in), in order, and Scalar(in) for what fills no vector.
template <class Up, class Scalar>
HWY_INLINE void RoundBlock(const float* HWY_RESTRICT in, size_t count, bool stream,
                           uint16_t* HWY_RESTRICT out, [[maybe_unused]] const Up& up,
                           const Scalar& scalar) {
  size_t i = 0;
#if !BITANCHOR_ONE_LANE
  const F32Tag d;
  const hn::Repartition<uint16_t, U32Tag> dh;
  const size_t N = hn::Lanes(d);
  for (; i + 2 * N <= count; i += 2 * N) {
    PrefetchAhead(in + i);
    PrefetchAhead(in + i + N);
    const auto first = hn::BitCast(dh, up(hn::LoadU(d, in + i)));
    const auto second = hn::BitCast(dh, up(hn::LoadU(d, in + i + N)));
    const auto halves = std::endian::native == std::endian::little
                            ? hn::ConcatOdd(dh, second, first)
                            : hn::ConcatEven(dh, second, first);
    StoreVector(halves, dh, stream, out + i);
  }
#endif
  for (; i < count; ++i) out[i] = scalar(in[i]);
  EndOfStream(stream);
}

void RoundToBF16Block(const float* in, size_t count, bool stream, uint16_t* out) {
  RoundBlock(
      in, count, stream, out, [](F32 v) HWY_ATTR { return BF16Up(v); },
      [](float x) { return ToBF16(x).bits; });
}

void RoundToF16Block(const float* in, size_t count, bool stream, uint16_t* out) {
  RoundBlock(
      in, count, stream, out, [](F32 v) HWY_ATTR { return F16Up(RoundToF16(v)); },
      [](float x) { return ToF16(x).bits; });
}

void ToF32Block(DType dtype, const uint16_t* in, size_t count, float* out) {
  LoadRow(dtype, reinterpret_cast<const std::byte*>(in), count, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "simd/dispatch.h"
#include "simd/element_blocks.h"

namespace bitanchor::simd {

HWY_EXPORT(RoundToBF16Block);
HWY_EXPORT(RoundToF16Block);
HWY_EXPORT(ToF32Block);

namespace {

constexpr size_t kBlock = 1 << 16;  // elements per task

void ToF32(DType dtype, std::span<const uint16_t> in, std::span<float> out,
           const EngineOptions& options) {
  assert(in.size() == out.size());
  const auto block = &BITANCHOR_DISPATCH(ToF32Block, options.target);
  ForBlocks(in.size(), kBlock, options,
            [&](size_t begin, size_t count) { block(dtype, &in[begin], count, &out[begin]); });
}

}  // namespace

void RoundToBF16(std::span<const float> in, std::span<uint16_t> out, const EngineOptions& options) {
  assert(in.size() == out.size());
  const bool stream = MayStream(out.data(), out.size_bytes());
  const auto block = &BITANCHOR_DISPATCH(RoundToBF16Block, options.target);
  ForBlocks(in.size(), kBlock, options,
            [&](size_t begin, size_t count) { block(&in[begin], count, stream, &out[begin]); });
}

void RoundToF16(std::span<const float> in, std::span<uint16_t> out, const EngineOptions& options) {
  assert(in.size() == out.size());
  const bool stream = MayStream(out.data(), out.size_bytes());
  const auto block = &BITANCHOR_DISPATCH(RoundToF16Block, options.target);
  ForBlocks(in.size(), kBlock, options,
            [&](size_t begin, size_t count) { block(&in[begin], count, stream, &out[begin]); });
}

void BF16ToF32(std::span<const uint16_t> in, std::span<float> out, const EngineOptions& options) {
  ToF32(DType::kBF16, in, out, options);
}

void F16ToF32(std::span<const uint16_t> in, std::span<float> out, const EngineOptions& options) {
  ToF32(DType::kF16, in, out, options);
}

}  // namespace bitanchor::simd
#endif  // HWY_ONCE
