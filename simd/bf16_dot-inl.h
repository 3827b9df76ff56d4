// Products of bf16 pairs by the instruction that does two of them at a time.
//
// VDPBF16PS adds a_1 b_1 and then a_0 b_0 to an f32, each sum rounded to nearest-even: with the
// pair stored later-first it is the ascending fold's next two fma. It flushes subnormals in and
// out. So its result is the fold's where every operand is finite and not subnormal and no nonzero
// product or partial sum can be subnormal: all are multiples of 2^(ea + eb - 14), ea and eb being
// the least exponents of nonzero operands, and rounding keeps them multiples; ea + eb - 14 >= -126
// therefore suffices. Zeros: the fold starts at +0 and then never meets -0 (a sum that cancels is
// +0), so +0 and -0 products leave it alone. Overflow is kept away by the largest exponents.
// PairsAreExact is that argument; BF16DotLevel() in bf16_dot.h asks this CPU as well.
//
// Arm's BFMLALB and BFMLALT are fma one after the other, the even element first, at the rate of the
// plain FMA: nothing is gained there.

#if defined(BITANCHOR_SIMD_BF16_DOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_BF16_DOT_INL_H_
#undef BITANCHOR_SIMD_BF16_DOT_INL_H_
#else
#define BITANCHOR_SIMD_BF16_DOT_INL_H_
#endif

#include "simd/lanes-inl.h"
#include "simd/tiles-inl.h"

#undef BITANCHOR_HAVE_BF16_DOT
// AVX3, AVX3_DL, and newer Highway's AVX3_ZEN4 and AVX3_SPR, which are lower bits.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3 && HWY_NATIVE_FMA
#define BITANCHOR_HAVE_BF16_DOT 1
#else
#define BITANCHOR_HAVE_BF16_DOT 0
#endif

#if BITANCHOR_HAVE_BF16_DOT

HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512bf16")
namespace bitanchor::simd {
namespace HWY_NAMESPACE {
namespace bf16_dot {

struct PairMultiply {
  using Word = uint32_t;  // later element in the low half
  static HWY_INLINE hn::Vec<U32Tag> Load(const uint32_t* p) { return hn::Load(U32Tag(), p); }
  static HWY_INLINE hn::Vec<U32Tag> Set(uint32_t x) { return hn::Set(U32Tag(), x); }
  static HWY_INLINE F32 MulAdd(hn::Vec<U32Tag> a, hn::Vec<U32Tag> b, F32 acc) {
    return F32{_mm512_dpbf16_ps(acc.raw, reinterpret_cast<__m512bh>(a.raw),
                                reinterpret_cast<__m512bh>(b.raw))};
  }
};

#include "simd/tile_loops-inl.h"

// The doors from the rest of the engine, which is compiled without the instruction.
HWY_NOINLINE inline void PairScores(const uint32_t* q, const uint32_t* k, size_t ldk, size_t keys,
                                    size_t steps, float scale, float* t, float* greatest) {
  if (greatest != nullptr) {
    Scores<PairMultiply, true>(q, k, ldk, keys, steps, scale, t, greatest);
  } else {
    Scores<PairMultiply, false>(q, k, ldk, keys, steps, scale, t, nullptr);
  }
}

HWY_NOINLINE inline void PairOutputs(const uint32_t* w, const uint32_t* v, size_t v_rows,
                                     size_t row, size_t rows, size_t dims, float* o) {
  Outputs<PairMultiply, false>(w, v, v_rows, row, rows, dims, nullptr, o);
}

// acc[N] advances over `count` pairs a[count][N], b[count][N].
HWY_NOINLINE inline void PairFold(const uint32_t* a, const uint32_t* b, size_t count, float* acc) {
  const F32Tag d;
  F32 sum = hn::Load(d, acc);
  for (size_t i = 0; i < count; ++i) {
    sum = PairMultiply::MulAdd(PairMultiply::Load(a + i * hn::Lanes(d)),
                               PairMultiply::Load(b + i * hn::Lanes(d)), sum);
  }
  hn::Store(sum, d, acc);
}

}  // namespace bf16_dot
}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_POP_ATTRIBUTES

#endif  // BITANCHOR_HAVE_BF16_DOT

#endif  // per-target guard
