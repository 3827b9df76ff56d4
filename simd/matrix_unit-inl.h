// A group of a matrix unit's truncated sum on lanes, lanes being columns of d. Per-target include
// guard: included once per foreach_target pass.
//
// With E the largest exponent of a result's terms, each is multiplied by 2^(F-E), exactly, and cut
// to an int32 by the conversion itself; the int32 are added, and their sum is rounded toward zero
// to an f32 and multiplied by 2^(E-F). That is the definition's arithmetic where
//   - F - 126 <= E <= 126: all these powers of two are normal numbers, a product does not overflow,
//     one that is too small for f32 is cut to zero anyway, and no result is subnormal;
//   - no term is infinite or a NaN, whose exponents lie above;
//   - the sum fits an int32 (16 products near 4 times 2^E may not);
//   - E is not below any reading's floor.
// Everything else is left to the definition.

#if defined(BITANCHOR_SIMD_MATRIX_UNIT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_MATRIX_UNIT_INL_H_
#undef BITANCHOR_SIMD_MATRIX_UNIT_INL_H_
#else
#define BITANCHOR_SIMD_MATRIX_UNIT_INL_H_
#endif

#include "simd/lanes-inl.h"
#include "simd/matrix_unit_operands-inl.h"
#include "simd/matrix_unit_plan.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

using I16Tag = hn::CappedTag<int16_t, 2 * kMaxLanes>;

// Toward zero, of |v| < 2^31; anything at all elsewhere (Highway's own spends instructions there).
HWY_INLINE I32 Truncate(F32 v) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  return I32{_mm512_cvttps_epi32(v.raw)};
#elif HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
  return I32{_mm256_cvttps_epi32(v.raw)};
#elif HWY_ARCH_X86 && HWY_TARGET <= HWY_SSE2
  return I32{_mm_cvttps_epi32(v.raw)};
#else
  return hn::ConvertTo(I32Tag(), v);
#endif
}

// To f32 toward zero.
HWY_INLINE F32 RoundTowardZero(I32 v) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  return F32{_mm512_cvt_roundepi32_ps(v.raw, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC)};
#else
  // Without the bit after its 24 leading ones a magnitude is rounded down by nearest-even.
  const auto size = hn::BitCast(U32Tag(), hn::Abs(v));
  const auto cut = hn::BitCast(I32Tag(), hn::AndNot(hn::ShiftRight<24>(size), size));
  return hn::CopySign(hn::ConvertTo(F32Tag(), cut), hn::BitCast(F32Tag(), v));
#endif
}

// Negative where x + y, which is `sum` modulo 2^32, does not fit an int32.
HWY_INLINE I32 OverflowSign(I32 x, I32 y, I32 sum) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  return I32{_mm512_ternarylogic_epi32(x.raw, y.raw, sum.raw, 0x42)};  // x == y != sum
#else
  return hn::AndNot(hn::Xor(x, y), hn::Xor(x, sum));
#endif
}

template <class D>
HWY_INLINE hn::Vec<D> Splat(D d, int32_t copies) {
#if BITANCHOR_ONE_LANE
  return hn::Set(d, static_cast<hn::TFromD<D>>(copies));
#else
  return hn::BitCast(d, hn::Set(hn::Repartition<int32_t, D>(), copies));
#endif
}

// largest[j] = max over k of a[k] + b[k, j].
template <int kProducts, class D, typename T = hn::TFromD<D>>
HWY_INLINE void LargestExponents(D d, const int32_t* HWY_RESTRICT a, const T* HWY_RESTRICT b,
                                 int64_t columns, T* HWY_RESTRICT largest) {
  const int64_t N = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t j = 0; j < columns; j += N) {
    auto most = hn::SaturatedAdd(Splat(d, a[0]), hn::Load(d, b + j));
#pragma GCC unroll 3
    for (int k = 1; k < kProducts; ++k) {
      most =
          hn::Max(most, hn::SaturatedAdd(Splat(d, a[k]), hn::Load(d, b + k * kPanelColumns + j)));
    }
    hn::Store(most, d, largest + j);
  }
}

// The sum of trunc(a[k] b[k] scale).
template <int kCount>
HWY_INLINE I32 SumOfProducts(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, F32 scale) {
  const F32Tag d;
  I32 sum = hn::Zero(I32Tag());
#pragma GCC unroll 8
  for (int k = 0; k < kCount; ++k) {
    const F32 product = hn::Mul(hn::Set(d, a[k]), hn::Load(d, b + k * kPanelColumns));
    sum = hn::Add(sum, Truncate(hn::Mul(product, scale)));
  }
  return sum;
}

// x 2^23: where f32 has its exponent.
HWY_INLINE int32_t InField(int x) { return static_cast<int32_t>(static_cast<uint32_t>(x) << 23); }

// The exponents of products from their maxima, in f32's field. Any below kNone are of zeros alone.
struct WideExponents {
  using Tag = I16Tag;
  static constexpr int kNone = -255;
  const int32_t* a;
  const int16_t* b;
  HWY_INLINE I32 InFields(I32 largest) const {
    const I32Tag d;
    return hn::ShiftLeft<23>(hn::Max(hn::Min(largest, hn::Set(d, 255)), hn::Set(d, kNone - 1)));
  }
  int None() const { return kNone; }
};

struct NarrowExponents {
  using Tag = hn::CappedTag<int8_t, 4 * kMaxLanes>;
  const int32_t* a;
  const int8_t* b;
  int base;
  HWY_INLINE I32 InFields(I32 largest) const {
    return hn::ShiftLeft<23>(hn::Add(largest, hn::Set(I32Tag(), base)));
  }
  int None() const { return base + kNarrowZero + 1; }
};

// The products' half sums and c, cut alike, to an f32; `overflow` becomes negative where that
// fails.
HWY_INLINE F32 WithC(F32 c, I32 half0, I32 half1, F32 scale, F32 quantum, I32& overflow) {
  const I32 sum0 = hn::Add(Truncate(hn::Mul(c, scale)), half0), sum = hn::Add(sum0, half1);
  overflow = hn::Or(overflow, OverflowSign(sum0, half1, sum));
  return hn::Mul(RoundTowardZero(sum), quantum);
}

// With kPair, c_high too: what differs from c in sign or exponent is left.
template <int kProducts, bool kPair, class Exponents>
int64_t GroupOf(const UnitGroup& group, const Exponents exponents, float* HWY_RESTRICT c,
                float* HWY_RESTRICT c_high, LeftLanes* HWY_RESTRICT left) {
  const F32Tag d;
  const I32Tag di;
  using T = hn::TFromD<typename Exponents::Tag>;
  const hn::Rebind<T, I32Tag> narrow;
  const int64_t N = static_cast<int64_t>(hn::Lanes(d));
  constexpr int kHalf = kProducts / 2;
  const I32 least = hn::Set(di, InField(group.least_exponent));
  const I32 most = hn::Set(di, InField(kExponentBias + 126));
  const I32 fraction_bits = hn::Set(di, InField(group.fraction_bits));
  const I32 twice_bias = hn::Set(di, InField(2 * kExponentBias));
  const I32 infinite = hn::Set(di, InField(255)), none = hn::Set(di, InField(exponents.None()));
  const I32 sign_and_exponent = hn::Set(di, InField(511));
  LeftLanes* const first = left;
  HWY_ALIGN T largest[kPanelColumns];
  for (int64_t i = 0; i < group.rows; ++i) {
    const float* a = group.a + i * kPanelProducts;
    LargestExponents<kProducts>(typename Exponents::Tag(), exponents.a + i * kPanelProducts,
                                exponents.b, group.columns, largest);
    for (int64_t j = 0; j < group.columns; j += N) {
      float* const at = c + i * kPanelColumns + j;
      float* const at_high = kPair ? c_high + i * kPanelColumns + j : at;
      const F32 from = hn::Load(d, at), from_high = hn::Load(d, at_high);
      // Exponents are where f32 has them, which is a power of two already.
      const I32 field = hn::And(hn::BitCast(di, from), infinite);
      const I32 of_products = exponents.InFields(hn::PromoteTo(di, hn::Load(narrow, largest + j)));
      const I32 E = hn::Max(of_products, field), quantum = hn::Sub(E, fraction_bits);
      const F32 unit = hn::BitCast(d, quantum);
      const F32 scale = hn::BitCast(d, hn::Sub(twice_bias, quantum));
      const float* b = group.b + j;
      const I32 half0 = SumOfProducts<kHalf>(a, b, scale);
      const I32 half1 = SumOfProducts<kHalf>(a + kHalf, b + kHalf * kPanelColumns, scale);
      I32 outside = hn::Or(hn::Sub(E, least), hn::Sub(most, E));
      F32 to = WithC(from, half0, half1, scale, unit, outside), to_high = to;
      auto unusual = hn::Lt(outside, hn::Zero(di));
      if constexpr (kPair) {
        to_high = WithC(from_high, half0, half1, scale, unit, outside);
        const I32 apart =
            hn::And(hn::Xor(hn::BitCast(di, from), hn::BitCast(di, from_high)), sign_and_exponent);
        unusual = hn::Or(hn::Lt(outside, hn::Zero(di)), hn::Ne(apart, hn::Zero(di)));
      }
      if (HWY_UNLIKELY(!hn::AllFalse(di, unusual))) {
        // Zeros add nothing to a finite c, and make +0 of -0.
        const I32 field_high = hn::And(hn::BitCast(di, from_high), infinite);
        const auto only_c = hn::And(hn::Lt(of_products, none),
                                    hn::Lt(kPair ? hn::Max(field, field_high) : field, infinite));
        const auto kept = hn::RebindMask(d, unusual), added = hn::RebindMask(d, only_c);
        to = hn::IfThenElse(kept, from, to);
        to = hn::IfThenElse(added, hn::Add(from, hn::Zero(d)), to);
        to_high = hn::IfThenElse(kept, from_high, to_high);
        to_high = hn::IfThenElse(added, hn::Add(from_high, hn::Zero(d)), to_high);
        uint8_t bits[8] = {};
        hn::StoreMaskBits(di, hn::AndNot(only_c, unusual), bits);
        const uint32_t lanes = bits[0] | static_cast<uint32_t>(bits[1]) << 8;
        if (lanes != 0) *left++ = {static_cast<int32_t>(i), static_cast<int32_t>(j), lanes};
      }
      hn::Store(to, d, at);
      if (kPair) hn::Store(to_high, d, at_high);
    }
  }
  return left - first;
}

template <int kProducts, class Exponents>
int64_t GroupOf(const UnitGroup& group, const Exponents& exponents, float* c, float* c_high,
                LeftLanes* left) {
  if (c_high == nullptr) {
    return GroupOf<kProducts, false>(group, exponents, c, nullptr, left);
  }
  return GroupOf<kProducts, true>(group, exponents, c, c_high, left);
}

template <class Exponents>
int64_t GroupBy(const UnitGroup& group, const Exponents& exponents, float* c, float* c_high,
                LeftLanes* left) {
  if (group.products == 4) return GroupOf<4>(group, exponents, c, c_high, left);
  if (group.products == 8) return GroupOf<8>(group, exponents, c, c_high, left);
  return GroupOf<16>(group, exponents, c, c_high, left);
}

int64_t Group(const UnitGroup& group, float* c, float* c_high, LeftLanes* left) {
  if (group.b_narrow == nullptr) {
    return GroupBy(group, WideExponents{group.a_twice, group.b_exponents}, c, c_high, left);
  }
  return GroupBy(group, NarrowExponents{group.a_narrow, group.b_narrow, group.base}, c, c_high,
                 left);
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
