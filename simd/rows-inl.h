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
    const U32Tag du;
    const hn::Rebind<uint16_t, U32Tag> dh;
    const size_t lanes = hn::Lanes(d);
    HWY_ALIGN uint16_t half[kMaxLanes];
    for (; i + lanes <= count; i += lanes) {
      std::memcpy(half, in + 2 * i, lanes * sizeof(uint16_t));  // becomes one unaligned load
      const auto bits = hn::ShiftLeft<16>(hn::PromoteTo(du, hn::Load(dh, half)));
      hn::StoreU(hn::BitCast(d, bits), d, out + i);
    }
  }
  const size_t size_bytes = DTypeBytes(dtype);
  for (; i < count; ++i) out[i] = LoadF32(dtype, in + size_bytes * i);
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
