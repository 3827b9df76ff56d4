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

// Rows that one TransposeBlock takes: four for every 128 bits of a vector. Vectors of unknown size
// are used by their first 128 bits.
#if HWY_ARCH_X86 && HWY_TARGET != HWY_EMU128
constexpr size_t kBlockRows = HWY_MAX_BYTES / 4 < kMaxLanes ? HWY_MAX_BYTES / 4 : kMaxLanes;
#else
constexpr size_t kBlockRows = 4;
#endif
template <typename Word>
using BlockTag = hn::FixedTag<Word, kBlockRows>;

// Four words of each of the rows 0, 4, 8, ... of a block, side by side.
template <class D, typename Word = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> LoadEveryFourthRow(D d, const Word* HWY_RESTRICT in, size_t stride) {
  if constexpr (hn::MaxLanes(d) == 4) {
    return hn::LoadU(d, in);
  } else {
    const hn::Half<D> dh;
    const auto upper = LoadEveryFourthRow(dh, in + hn::MaxLanes(d) / 2 * stride, stride);
    return hn::Combine(d, upper, LoadEveryFourthRow(dh, in, stride));
  }
}

// Calls emit(c, v) for c = 0 .. 3, v being words in[r * stride + c] of kBlockRows rows r.
template <typename Word, class Emit>
HWY_INLINE void TransposeBlock(const Word* HWY_RESTRICT in, size_t stride, const Emit& emit) {
  const BlockTag<Word> d;
  const hn::Repartition<uint64_t, BlockTag<Word>> d2;
  const auto r0 = LoadEveryFourthRow(d, in, stride);
  const auto r1 = LoadEveryFourthRow(d, in + stride, stride);
  const auto r2 = LoadEveryFourthRow(d, in + 2 * stride, stride);
  const auto r3 = LoadEveryFourthRow(d, in + 3 * stride, stride);
  const auto low01 = hn::BitCast(d2, hn::InterleaveLower(d, r0, r1));
  const auto high01 = hn::BitCast(d2, hn::InterleaveUpper(d, r0, r1));
  const auto low23 = hn::BitCast(d2, hn::InterleaveLower(d, r2, r3));
  const auto high23 = hn::BitCast(d2, hn::InterleaveUpper(d, r2, r3));
  emit(0, hn::BitCast(d, hn::InterleaveLower(d2, low01, low23)));
  emit(1, hn::BitCast(d, hn::InterleaveUpper(d2, low01, low23)));
  emit(2, hn::BitCast(d, hn::InterleaveLower(d2, high01, high23)));
  emit(3, hn::BitCast(d, hn::InterleaveUpper(d2, high01, high23)));
}

#endif

// out[c][r] = in[r][c] for r < rows and c < columns; rows of `in` lie in_stride apart, those of
// `out` out_stride. Block by block, the rest one by one.
template <typename Word>
HWY_INLINE void TransposeWords(const Word* HWY_RESTRICT in, size_t in_stride, size_t rows,
                               size_t columns, Word* HWY_RESTRICT out, size_t out_stride) {
  size_t whole_rows = 0, whole_columns = 0;
#if HWY_TARGET != HWY_SCALAR
  const BlockTag<Word> d;
  whole_rows = rows / kBlockRows * kBlockRows;
  whole_columns = columns / 4 * 4;
  constexpr size_t kLineRows = 64 / sizeof(Word);
  for (size_t line = 0; line < whole_rows; line += kLineRows) {
    const size_t last = HWY_MIN(line + kLineRows, whole_rows);
    for (size_t c = 0; c < whole_columns; c += 4) {
      for (size_t r = line; r < last; r += kBlockRows) {
        Word* to = out + c * out_stride + r;
        TransposeBlock(in + r * in_stride + c, in_stride,
                       [&](size_t n, auto v) HWY_ATTR { hn::StoreU(v, d, to + n * out_stride); });
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
