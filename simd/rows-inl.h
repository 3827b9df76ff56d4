// Rows of tensors in and out of the engine: any floating dtype to f32, and back with one rounding.

#if defined(BITANCHOR_SIMD_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_ROWS_INL_H_
#undef BITANCHOR_SIMD_ROWS_INL_H_
#else
#define BITANCHOR_SIMD_ROWS_INL_H_
#endif

#include "lib/tensor/tensor_view.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

// Elements [i, i + N) of a row of BF16 or F32, which need not be aligned, as f32.
HWY_INLINE F32 LoadVector(DType dtype, const std::byte* row, size_t i) {
  const F32Tag d;
  const U32Tag du;
  const hn::Rebind<uint16_t, U32Tag> dh;
  if (dtype == DType::kF32) return hn::LoadU(d, reinterpret_cast<const float*>(row) + i);
  const auto half = hn::LoadU(dh, reinterpret_cast<const uint16_t*>(row) + i);
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, half)));
}

// `count` elements at `in`, which need not be aligned, to f32. Exact.
HWY_INLINE void LoadRow(DType dtype, const std::byte* HWY_RESTRICT in, size_t count,
                        float* HWY_RESTRICT out) {
  if (dtype == DType::kF32) {
    std::memcpy(out, in, count * sizeof(float));
    return;
  }
  size_t i = 0;
  if (dtype == DType::kBF16) {
    const F32Tag d;
    const size_t lanes = hn::Lanes(d);
    for (; i + lanes <= count; i += lanes) hn::StoreU(LoadVector(dtype, in, i), d, out + i);
  }
  const size_t size_bytes = DTypeBytes(dtype);
  for (; i < count; ++i) out[i] = LoadF32(dtype, in + size_bytes * i);
}

// `count` f32, each rounded once to dtype, nearest-even, NaN canonical; `out` need not be aligned.
HWY_INLINE void StoreRow(DType dtype, const float* HWY_RESTRICT in, size_t count,
                         std::byte* HWY_RESTRICT out) {
  size_t i = 0;
  if (dtype == DType::kBF16) {
    const F32Tag d;
    const U32Tag du;
    const hn::Rebind<uint16_t, U32Tag> dh;
    const size_t lanes = hn::Lanes(d);
    auto* half = reinterpret_cast<uint16_t*>(out);  // only for unaligned vector stores
    for (; i + lanes <= count; i += lanes) {
      const auto bits = hn::ShiftRight<16>(hn::BitCast(du, RoundToBF16(hn::LoadU(d, in + i))));
      hn::StoreU(hn::TruncateTo(dh, bits), dh, half + i);
    }
  }
  const size_t size_bytes = DTypeBytes(dtype);
  for (; i < count; ++i) StoreRounded(dtype, out + size_bytes * i, in[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
