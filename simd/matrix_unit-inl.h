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
#include "simd/matrix_unit_plan.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

using I32 = hn::Vec<I32Tag>;
using I16Tag = hn::CappedTag<int16_t, 2 * kMaxLanes>;
using I16 = hn::Vec<I16Tag>;

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

// Operands.

// Magnitudes as f32 bits, exponents stored with `bias`, `special` being that of what is not finite.
HWY_INLINE I32 Exponents(hn::Vec<U32Tag> magnitude, int bias, int special) {
  const I32Tag d;
  const I32 field = hn::BitCast(d, hn::ShiftRight<23>(magnitude));
  I32 exponent = hn::Sub(hn::Max(field, hn::Set(d, 1)), hn::Set(d, bias));
  const auto zero = hn::Eq(hn::BitCast(d, magnitude), hn::Zero(d));
  exponent = hn::IfThenElse(zero, hn::Set(d, kZeroExponent), exponent);
  return hn::IfThenElse(hn::Eq(field, hn::Set(d, special)), hn::Set(d, kSpecialExponent), exponent);
}

struct Operands {
  F32 value;
  I32 exponent;
};

HWY_INLINE hn::Vec<U32Tag> LoadHalves(const std::byte* from) {
  const hn::Rebind<uint16_t, U32Tag> narrow;
  return hn::PromoteTo(U32Tag(), hn::LoadU(narrow, reinterpret_cast<const uint16_t*>(from)));
}

HWY_INLINE Operands OfF32Bits(hn::Vec<U32Tag> bits) {
  const auto magnitude = hn::And(bits, hn::Set(U32Tag(), 0x7fffffffu));
  return {hn::BitCast(F32Tag(), bits), Exponents(magnitude, 127, 255)};
}

struct FromBF16 {
  static constexpr int64_t kBytes = 2;
  static HWY_INLINE Operands Load(const std::byte* from) {
    return OfF32Bits(hn::ShiftLeft<16>(LoadHalves(from)));
  }
};

struct FromTF32 {
  static constexpr int64_t kBytes = 4;
  static HWY_INLINE Operands Load(const std::byte* from) {
    const U32Tag du;
    const auto bits = hn::LoadU(du, reinterpret_cast<const uint32_t*>(from));
    return OfF32Bits(hn::And(bits, hn::Set(du, 0xffffe000u)));
  }
};

struct FromF16 {
  static constexpr int64_t kBytes = 2;
  static HWY_INLINE Operands Load(const std::byte* from) {
    const U32Tag du;
    const F32Tag d;
    const auto bits = LoadHalves(from);
    const auto magnitude = hn::ShiftLeft<13>(hn::And(bits, hn::Set(du, 0x7fffu)));
    const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(du, 0x8000u)));
    // With f32's bias that is 2^-112 times the number, a subnormal one too.
    const F32 value = hn::Mul(hn::BitCast(d, magnitude), hn::Set(d, 0x1p112f));
    return {hn::Or(value, hn::BitCast(d, sign)), Exponents(magnitude, 15, 31)};
  }
};

template <typename From>
void UnpackRowA(const std::byte* from, int64_t count, float* values, int32_t* twice) {
  const I32Tag di;
  const int64_t N = static_cast<int64_t>(hn::Lanes(di));
  for (int64_t i = 0; i < count; i += N) {
    const Operands x = From::Load(from + i * From::kBytes);
    const I32 low = hn::And(x.exponent, hn::Set(di, 0xffff));
    hn::StoreU(x.value, F32Tag(), values + i);
    hn::StoreU(hn::Or(low, hn::ShiftLeft<16>(x.exponent)), di, twice + i);
  }
}

template <typename From>
void UnpackRowB(const std::byte* from, int64_t count, float* values, int16_t* exponents) {
  const I32Tag di;
  const hn::Rebind<int16_t, I32Tag> narrow;
  const int64_t N = static_cast<int64_t>(hn::Lanes(di));
  for (int64_t i = 0; i < count; i += N) {
    const Operands x = From::Load(from + i * From::kBytes);
    const I32 biased = hn::Add(x.exponent, hn::Set(di, kExponentBias));
    hn::StoreU(x.value, F32Tag(), values + i);
    hn::StoreU(hn::DemoteTo(narrow, biased), narrow, exponents + i);
  }
}

void UnpackA(DType dtype, const std::byte* from, int64_t count, float* values, int32_t* twice) {
  if (dtype == DType::kBF16) return UnpackRowA<FromBF16>(from, count, values, twice);
  if (dtype == DType::kF16) return UnpackRowA<FromF16>(from, count, values, twice);
  UnpackRowA<FromTF32>(from, count, values, twice);
}

void UnpackB(DType dtype, const std::byte* from, int64_t count, float* values, int16_t* exponents) {
  if (dtype == DType::kBF16) return UnpackRowB<FromBF16>(from, count, values, exponents);
  if (dtype == DType::kF16) return UnpackRowB<FromF16>(from, count, values, exponents);
  UnpackRowB<FromTF32>(from, count, values, exponents);
}

// Sums.

HWY_INLINE I16 Splat(int32_t twice) {
#if BITANCHOR_ONE_LANE
  return hn::Set(I16Tag(), static_cast<int16_t>(twice & 0xffff));
#else
  return hn::BitCast(I16Tag(), hn::Set(hn::RepartitionToWide<I16Tag>(), twice));
#endif
}

// largest[j] = max over k of a[k] + b[k, j].
template <int kProducts>
HWY_INLINE void LargestExponents(const int32_t* HWY_RESTRICT a, const int16_t* HWY_RESTRICT b,
                                 int64_t columns, int16_t* HWY_RESTRICT largest) {
  const I16Tag d;
  const int64_t N = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t j = 0; j < columns; j += 2 * N) {
    I16 most0 = hn::Add(Splat(a[0]), hn::Load(d, b + j));
    I16 most1 = hn::Add(Splat(a[0]), hn::Load(d, b + j + N));
    for (int k = 1; k < kProducts; ++k) {
      const int16_t* row = b + k * kPanelColumns + j;
      most0 = hn::Max(most0, hn::Add(Splat(a[k]), hn::Load(d, row)));
      most1 = hn::Max(most1, hn::Add(Splat(a[k]), hn::Load(d, row + N)));
    }
    hn::Store(most0, d, largest + j);
    hn::Store(most1, d, largest + j + N);
  }
}

// The sum of trunc(a[k] b[k] scale).
template <int kCount>
HWY_INLINE I32 SumOfProducts(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, F32 scale,
                             I32 sum) {
  const F32Tag d;
#pragma GCC unroll 8
  for (int k = 0; k < kCount; ++k) {
    const F32 product = hn::Mul(hn::Set(d, a[k]), hn::Load(d, b + k * kPanelColumns));
    sum = hn::Add(sum, Truncate(hn::Mul(product, scale)));
  }
  return sum;
}

HWY_INLINE F32 PowerOfTwo(I32 biased) { return hn::BitCast(F32Tag(), hn::ShiftLeft<23>(biased)); }

template <int kProducts>
int64_t GroupOf(const UnitGroup& group, float* HWY_RESTRICT c, LeftLanes* HWY_RESTRICT left) {
  const F32Tag d;
  const I32Tag di;
  const hn::Rebind<int16_t, I32Tag> narrow;
  const int64_t N = static_cast<int64_t>(hn::Lanes(d));
  constexpr int kHalf = kProducts / 2;
  const I32 least = hn::Set(di, group.least_exponent), most = hn::Set(di, kExponentBias + 126);
  const I32 fraction_bits = hn::Set(di, group.fraction_bits), twice_bias = hn::Set(di, 254);
  LeftLanes* const first = left;
  HWY_ALIGN int16_t largest[kPanelColumns];
  for (int64_t i = 0; i < group.rows; ++i) {
    const float* a = group.a + i * kPanelProducts;
    LargestExponents<kProducts>(group.a_twice + i * kPanelProducts, group.b_exponents,
                                group.columns, largest);
    for (int64_t j = 0; j < group.columns; j += N) {
      float* const at = c + i * kPanelColumns + j;
      const F32 from = hn::Load(d, at);
      const I32 from_bits = hn::BitCast(di, from);
      const I32 field =
          hn::BitCast(di, hn::ShiftRight<24>(hn::ShiftLeft<1>(hn::BitCast(U32Tag(), from_bits))));
      const I32 of_products = hn::PromoteTo(di, hn::Load(narrow, largest + j));
      const I32 E = hn::Max(of_products, field);
      const I32 quantum = hn::Sub(E, fraction_bits);
      const F32 scale = PowerOfTwo(hn::Sub(twice_bias, quantum));
      const float* b = group.b + j;
      const I32 sum0 = SumOfProducts<kHalf>(a, b, scale, Truncate(hn::Mul(from, scale)));
      const I32 sum1 =
          SumOfProducts<kHalf>(a + kHalf, b + kHalf * kPanelColumns, scale, hn::Zero(di));
      const I32 sum = hn::Add(sum0, sum1);
      F32 to = hn::Mul(RoundTowardZero(sum), PowerOfTwo(quantum));
      const I32 outside = hn::Or(hn::Sub(E, least), hn::Sub(most, E));
      const auto unusual = hn::Lt(hn::Or(outside, OverflowSign(sum0, sum1, sum)), hn::Zero(di));
      if (HWY_UNLIKELY(!hn::AllFalse(di, unusual))) {
        // Zeros add nothing to a finite c, and make +0 of -0.
        const auto only_c =
            hn::And(hn::Lt(of_products, hn::Set(di, kNoProduct)), hn::Lt(field, hn::Set(di, 255)));
        to = hn::IfThenElse(hn::RebindMask(d, unusual), from, to);
        to = hn::IfThenElse(hn::RebindMask(d, only_c), hn::Add(from, hn::Zero(d)), to);
        uint8_t bits[8] = {};
        hn::StoreMaskBits(di, hn::AndNot(only_c, unusual), bits);
        const uint32_t lanes = bits[0] | static_cast<uint32_t>(bits[1]) << 8;
        if (lanes != 0) *left++ = {static_cast<int32_t>(i), static_cast<int32_t>(j), lanes};
      }
      hn::Store(to, d, at);
    }
  }
  return left - first;
}

int64_t Group(const UnitGroup& group, float* c, LeftLanes* left) {
  if (group.products == 4) return GroupOf<4>(group, c, left);
  if (group.products == 8) return GroupOf<8>(group, c, left);
  return GroupOf<16>(group, c, left);
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
