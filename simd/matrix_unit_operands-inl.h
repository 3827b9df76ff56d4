// Operands of a matrix unit as its loops take them: values in f32, exponents in integers.
// Per-target include guard: included once per foreach_target pass.

#if defined(BITANCHOR_SIMD_MATRIX_UNIT_OPERANDS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_MATRIX_UNIT_OPERANDS_INL_H_
#undef BITANCHOR_SIMD_MATRIX_UNIT_OPERANDS_INL_H_
#else
#define BITANCHOR_SIMD_MATRIX_UNIT_OPERANDS_INL_H_
#endif

#include "lib/tensor/dtype.h"
#include "simd/lanes-inl.h"
#include "simd/matrix_unit_plan.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

using I32 = hn::Vec<I32Tag>;

// Magnitudes as f32 bits, exponents stored with `bias`, `special` being that of what is not finite.
HWY_INLINE I32 Exponents(hn::Vec<U32Tag> magnitude, int bias, int special) {
  const I32Tag d;
  const I32 field = hn::BitCast(d, hn::ShiftRight<23>(magnitude));
  I32 exponent = hn::Sub(hn::Max(field, hn::Set(d, 1)), hn::Set(d, bias));
  const auto zero = hn::Eq(hn::BitCast(d, magnitude), hn::Zero(d));
  exponent = hn::IfThenElse(zero, hn::Set(d, kZeroExponent), exponent);
  return hn::IfThenElse(hn::Eq(field, hn::Set(d, special)), hn::Set(d, kSpecialExponent), exponent);
}

HWY_INLINE hn::Vec<U32Tag> LoadHalves(const std::byte* from) {
  const hn::Rebind<uint16_t, U32Tag> narrow;
  return hn::PromoteTo(U32Tag(), hn::LoadU(narrow, reinterpret_cast<const uint16_t*>(from)));
}

// Two results: no struct can hold vectors whose length is not known.
HWY_INLINE F32 OfF32Bits(hn::Vec<U32Tag> bits, I32& exponent) {
  const auto magnitude = hn::And(bits, hn::Set(U32Tag(), 0x7fffffffu));
  exponent = Exponents(magnitude, 127, 255);
  return hn::BitCast(F32Tag(), bits);
}

// Each loads numbers, and their exponents into `exponent`.
struct FromBF16 {
  static constexpr int64_t kBytes = 2;
  static HWY_INLINE F32 Load(const std::byte* from, I32& exponent) {
    return OfF32Bits(hn::ShiftLeft<16>(LoadHalves(from)), exponent);
  }
};

struct FromTF32 {
  static constexpr int64_t kBytes = 4;
  static HWY_INLINE F32 Load(const std::byte* from, I32& exponent) {
    const U32Tag du;
    const auto bits = hn::LoadU(du, reinterpret_cast<const uint32_t*>(from));
    return OfF32Bits(hn::And(bits, hn::Set(du, 0xffffe000u)), exponent);
  }
};

struct FromF16 {
  static constexpr int64_t kBytes = 2;
  static HWY_INLINE F32 Load(const std::byte* from, I32& exponent) {
    const U32Tag du;
    const F32Tag d;
    const auto bits = LoadHalves(from);
    const auto magnitude = hn::ShiftLeft<13>(hn::And(bits, hn::Set(du, 0x7fffu)));
    const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(du, 0x8000u)));
    // With f32's bias that is 2^-112 times the number, a subnormal one too.
    const F32 value = hn::Mul(hn::BitCast(d, magnitude), hn::Set(d, 0x1p112f));
    exponent = Exponents(magnitude, 15, 31);
    return hn::Or(value, hn::BitCast(d, sign));
  }
};

template <typename From>
void UnpackRowA(const std::byte* from, int64_t count, float* values, int32_t* twice) {
  const I32Tag di;
  const int64_t N = static_cast<int64_t>(hn::Lanes(di));
  for (int64_t i = 0; i < count; i += N) {
    I32 exponent;
    const F32 value = From::Load(from + i * From::kBytes, exponent);
    const I32 low = hn::And(exponent, hn::Set(di, 0xffff));
    hn::StoreU(value, F32Tag(), values + i);
    hn::StoreU(hn::Or(low, hn::ShiftLeft<16>(exponent)), di, twice + i);
  }
}

template <typename From>
void UnpackRowB(const std::byte* from, int64_t count, float* values, int16_t* exponents) {
  const I32Tag di;
  const hn::Rebind<int16_t, I32Tag> narrow;
  const int64_t N = static_cast<int64_t>(hn::Lanes(di));
  for (int64_t i = 0; i < count; i += N) {
    I32 exponent;
    const F32 value = From::Load(from + i * From::kBytes, exponent);
    const I32 biased = hn::Add(exponent, hn::Set(di, kExponentBias));
    hn::StoreU(value, F32Tag(), values + i);
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

// e - top, zeros kNarrowZero; `low` becomes negative where that is below kLeastNarrow.
HWY_INLINE I32 BelowTop(I32 e, int top, I32& low) {
  const I32Tag d;
  const auto zero = hn::Lt(e, hn::Set(d, kNoProduct));
  const I32 below = hn::Sub(e, hn::Set(d, top));
  low = hn::Or(low, hn::IfThenZeroElse(zero, hn::Sub(below, hn::Set(d, kLeastNarrow))));
  return hn::IfThenElse(zero, hn::Set(d, kNarrowZero), below);
}

HWY_INLINE int Largest(I32 v) { return hn::GetLane(hn::MaxOfLanes(I32Tag(), v)); }

bool Narrow(const UnitChunk& chunk, int32_t* a, int8_t* b, int& base) {
  const I32Tag d;
  const hn::Rebind<int16_t, I32Tag> half;
  const hn::Rebind<int8_t, I32Tag> quarter;
  const int64_t N = static_cast<int64_t>(hn::Lanes(d));
  const auto of_a = [&](int64_t at) HWY_ATTR {  // exponents are in the upper half too
    return hn::ShiftRight<16>(hn::LoadU(d, chunk.a_twice + at));
  };
  const auto of_b = [&](int64_t at) HWY_ATTR {
    return hn::PromoteTo(d, hn::LoadU(half, chunk.b_exponents + at));
  };
  const int64_t a_end = chunk.rows * kPanelProducts, b_end = chunk.products * kPanelColumns;
  I32 most_a = hn::Set(d, 2 * kZeroExponent), most_b = most_a, low = hn::Zero(d);
  for (int64_t row = 0; row < a_end; row += kPanelProducts) {
    for (int64_t k = 0; k < chunk.products; k += N) most_a = hn::Max(most_a, of_a(row + k));
  }
  for (int64_t at = 0; at < b_end; at += N) most_b = hn::Max(most_b, of_b(at));
  const int top_a = Largest(most_a), top_b = Largest(most_b);
  base = top_a + top_b;
  if (top_a < kNoProduct || top_b < kNoProduct || base + kNarrowZero >= chunk.least_exponent) {
    return false;
  }
  for (int64_t row = 0; row < a_end; row += kPanelProducts) {
    for (int64_t k = 0; k < chunk.products; k += N) {
      const I32 byte = hn::And(BelowTop(of_a(row + k), top_a, low), hn::Set(d, 0xff));
      const I32 two = hn::Or(byte, hn::ShiftLeft<8>(byte));
      hn::StoreU(hn::Or(two, hn::ShiftLeft<16>(two)), d, a + row + k);
    }
  }
  for (int64_t at = 0; at < b_end; at += N) {
    hn::StoreU(hn::DemoteTo(quarter, BelowTop(of_b(at), top_b, low)), quarter, b + at);
  }
  return hn::AllFalse(d, hn::Lt(low, hn::Zero(d)));
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
