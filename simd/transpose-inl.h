// Transposing words of four bytes, and rows of f32 rounded into a tensor.

#if defined(BITANCHOR_SIMD_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_TRANSPOSE_INL_H_
#undef BITANCHOR_SIMD_TRANSPOSE_INL_H_
#else
#define BITANCHOR_SIMD_TRANSPOSE_INL_H_
#endif

#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR
template <typename Word>
HWY_INLINE void Transpose4x4(const Word* HWY_RESTRICT in, size_t in_stride, Word* HWY_RESTRICT out,
                             size_t out_stride) {
  const hn::FixedTag<Word, 4> d;
  const hn::FixedTag<uint64_t, 2> d2;
  const auto a = hn::LoadU(d, in), b = hn::LoadU(d, in + in_stride),
             e = hn::LoadU(d, in + 2 * in_stride), f = hn::LoadU(d, in + 3 * in_stride);
  const auto ab_low = hn::BitCast(d2, hn::InterleaveLower(d, a, b));
  const auto ab_high = hn::BitCast(d2, hn::InterleaveUpper(d, a, b));
  const auto ef_low = hn::BitCast(d2, hn::InterleaveLower(d, e, f));
  const auto ef_high = hn::BitCast(d2, hn::InterleaveUpper(d, e, f));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, ab_low, ef_low)), d, out);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, ab_low, ef_low)), d, out + out_stride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, ab_high, ef_high)), d, out + 2 * out_stride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, ab_high, ef_high)), d, out + 3 * out_stride);
}
#endif

// out[c][r] = in[r][c] for r < rows and c < columns; rows of `in` lie in_stride apart, those of
// `out` out_stride. Four by four in 128-bit vectors, the rest one by one.
template <typename Word>
HWY_INLINE void TransposeWords(const Word* HWY_RESTRICT in, size_t in_stride, size_t rows,
                               size_t columns, Word* HWY_RESTRICT out, size_t out_stride) {
  size_t whole_rows = 0, whole_columns = 0;
#if HWY_TARGET != HWY_SCALAR
  whole_rows = rows / 4 * 4;
  whole_columns = columns / 4 * 4;
  constexpr size_t kLineRows = 64 / sizeof(Word);
  for (size_t line = 0; line < whole_rows; line += kLineRows) {
    const size_t last = HWY_MIN(line + kLineRows, whole_rows);
    for (size_t c = 0; c < whole_columns; c += 4) {
      for (size_t r = line; r < last; r += 4) {
        Transpose4x4(in + r * in_stride + c, in_stride, out + c * out_stride + r, out_stride);
      }
    }
  }
#endif
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = r < whole_rows ? whole_columns : 0; c < columns; ++c) {
      out[c * out_stride + r] = in[r * in_stride + c];
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
