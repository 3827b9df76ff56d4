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

// out[c][r] = in[r][c] for r < rows and c < columns; rows of `in` lie in_stride apart, those of
// `out` out_stride. Four by four in 128-bit vectors, the rest one by one.
template <typename Word>
HWY_INLINE void TransposeWords(const Word* HWY_RESTRICT in, size_t in_stride, size_t rows,
                               size_t columns, Word* HWY_RESTRICT out, size_t out_stride) {
  size_t whole_rows = 0, whole_columns = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<Word, 4> d;
  const hn::FixedTag<uint64_t, 2> d2;
  whole_rows = rows / 4 * 4;
  whole_columns = columns / 4 * 4;
  for (size_t r = 0; r < whole_rows; r += 4) {
    for (size_t c = 0; c < whole_columns; c += 4) {
      const Word* from = in + r * in_stride + c;
      const auto a = hn::LoadU(d, from), b = hn::LoadU(d, from + in_stride),
                 e = hn::LoadU(d, from + 2 * in_stride), f = hn::LoadU(d, from + 3 * in_stride);
      const auto ab_low = hn::BitCast(d2, hn::InterleaveLower(d, a, b));
      const auto ab_high = hn::BitCast(d2, hn::InterleaveUpper(d, a, b));
      const auto ef_low = hn::BitCast(d2, hn::InterleaveLower(d, e, f));
      const auto ef_high = hn::BitCast(d2, hn::InterleaveUpper(d, e, f));
      Word* to = out + c * out_stride + r;
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, ab_low, ef_low)), d, to);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, ab_low, ef_low)), d, to + out_stride);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, ab_high, ef_high)), d, to + 2 * out_stride);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, ab_high, ef_high)), d, to + 3 * out_stride);
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
