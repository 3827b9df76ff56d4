// Rows of tensors in and out of the engine: any floating dtype to f32, and back with one rounding.

#if defined(BITANCHOR_SIMD_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_ROWS_INL_H_
#undef BITANCHOR_SIMD_ROWS_INL_H_
#else
#define BITANCHOR_SIMD_ROWS_INL_H_
#endif

#include <limits>

#include "lib/number/elementary.h"
#include "lib/tensor/tensor_view.h"
#include "simd/attention_plan.h"
#include "simd/convert-inl.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

// Elements [i, i + N) of a row of a floating dtype, which need not be aligned, as f32. Exact.
HWY_INLINE F32 LoadVector(DType dtype, const std::byte* row, size_t i) {
  const F32Tag d;
  const U32Tag du;
  const hn::Rebind<uint16_t, U32Tag> dh;
  if (dtype == DType::kF32) return hn::LoadU(d, reinterpret_cast<const float*>(row) + i);
  const auto halves = hn::LoadU(dh, reinterpret_cast<const uint16_t*>(row) + i);
  const U32 up = hn::ShiftLeft<16>(hn::PromoteTo(du, halves));
  return dtype == DType::kBF16 ? hn::BitCast(d, up) : F16ToF32(up);
}

// `count` elements at `in`, which need not be aligned, to f32. Exact.
HWY_INLINE void LoadRow(DType dtype, const std::byte* HWY_RESTRICT in, size_t count,
                        float* HWY_RESTRICT out) {
  const F32Tag d;
  const size_t N = hn::Lanes(d), size_bytes = DTypeBytes(dtype);
  size_t i = 0;
  for (; i + N <= count; i += N) hn::StoreU(LoadVector(dtype, in, i), d, out + i);
  for (; i < count; ++i) out[i] = LoadF32(dtype, in + size_bytes * i);
}

// `count` f32, each rounded once to dtype, nearest-even, NaN canonical; `out` need not be aligned.
HWY_INLINE void StoreRow(DType dtype, const float* HWY_RESTRICT in, size_t count,
                         std::byte* HWY_RESTRICT out) {
  const F32Tag d;
  const hn::Rebind<uint16_t, U32Tag> dh;
  const size_t N = hn::Lanes(d), size_bytes = DTypeBytes(dtype);
  size_t i = 0;
  for (; i + N <= count; i += N) {
    const F32 v = hn::LoadU(d, in + i);
    if (dtype == DType::kF32) {
      hn::StoreU(Canonical(v), d, reinterpret_cast<float*>(out) + i);
      continue;
    }
    const U32 up = dtype == DType::kBF16 ? BF16Up(v) : F16Up(RoundToF16(v));
    hn::StoreU(hn::TruncateTo(dh, hn::ShiftRight<16>(up)), dh,
               reinterpret_cast<uint16_t*>(out) + i);
  }
  for (; i < count; ++i) StoreRounded(dtype, out + size_bytes * i, in[i]);
}

// What is wanted of a query's maximum m and row sum l; `at` counts [B, Hq, Sq]. l is 0 only where
// no key is visible.
HWY_INLINE void StoreRowStatistics(float m, float l, int64_t at, const ForwardOutputs& out) {
  if (out.m != nullptr) out.m[at] = m;
  if (out.l != nullptr) out.l[at] = l;
  if (out.lse == nullptr) return;
  out.lse[at] = l == 0.0f ? -std::numeric_limits<float>::infinity()
                          : bitanchor::Canonical(m + number::Log(l));
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
