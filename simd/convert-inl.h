// bf16 and f16 on lanes, without a hardware or library conversion: integer arithmetic, and f32 sums
// that are exact or round where the format does. The bits of lib/number/format.h on every target.
//
// 16-bit elements are taken in pairs, as words of 32 bits: one word holds two neighbours in memory,
// the even one first. Splitting a vector of words gives the even elements in one vector and the odd
// ones in another by shifts alone; no lane moves.

#if defined(BITANCHOR_SIMD_CONVERT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_CONVERT_INL_H_
#undef BITANCHOR_SIMD_CONVERT_INL_H_
#else
#define BITANCHOR_SIMD_CONVERT_INL_H_
#endif

#include <bit>
#include <cstddef>

#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

using U32 = hn::Vec<U32Tag>;

// Memory need not be aligned. (Highway's unaligned loads and stores take bytes at any address on
// every target; the emulated ones copy.)
HWY_INLINE U32 LoadWords(const std::byte* p) {
  return hn::LoadU(U32Tag(), reinterpret_cast<const uint32_t*>(p));
}
HWY_INLINE F32 LoadFloats(const std::byte* p) {
  return hn::LoadU(F32Tag(), reinterpret_cast<const float*>(p));
}

// The two elements of each word in the upper half of a lane, the lower half zero; and back, the
// lower halves being ignored.
HWY_INLINE U32 EvenUp(U32 words) {
  if constexpr (std::endian::native == std::endian::little) return hn::ShiftLeft<16>(words);
  return hn::And(words, hn::Set(U32Tag(), 0xFFFF0000u));
}
HWY_INLINE U32 OddUp(U32 words) {
  if constexpr (std::endian::native == std::endian::big) return hn::ShiftLeft<16>(words);
  return hn::And(words, hn::Set(U32Tag(), 0xFFFF0000u));
}
HWY_INLINE U32 JoinUp(U32 even, U32 odd) {
  const bool little = std::endian::native == std::endian::little;
  return hn::Or(hn::ShiftRight<16>(little ? even : odd),
                hn::And(little ? odd : even, hn::Set(U32Tag(), 0xFFFF0000u)));
}

// RN_bf16 in the upper half of each lane; the lower half is left undefined.
HWY_INLINE U32 BF16Up(F32 v) {
  const U32Tag du;
  const U32 bits = hn::BitCast(du, v);
  const U32 last = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const U32 rounded = hn::Add(bits, hn::Add(last, hn::Set(du, 0x7FFFu)));
  return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), hn::Set(du, 0x7FC00000u), rounded);
}

// The value of the f16 in the upper half of each lane, the lower half being zero. Exact; a NaN
// stays one.
HWY_INLINE F32 F16ToF32(U32 up) {
  const F32Tag d;
  const U32Tag du;
  const U32 sign = hn::And(up, hn::Set(du, 0x80000000u));
  const U32 magnitude = hn::ShiftRight<3>(hn::Xor(up, sign));  // f32's places, exponent less 112
  const F32 normal = hn::BitCast(d, hn::Add(magnitude, hn::Set(du, 112u << 23)));
  // Below 2^-14 the fraction stands under the exponent of 2^-14 and that is taken away: exact.
  const F32 subnormal =
      hn::Sub(hn::BitCast(d, hn::Add(magnitude, hn::Set(du, 113u << 23))), hn::Set(d, 0x1p-14f));
  // 2^16 and up: infinity and NaN, exponent 31 becomes 255.
  const F32 special = hn::BitCast(d, hn::Or(magnitude, hn::Set(du, 0x7F800000u)));
  F32 value = hn::IfThenElse(hn::Lt(normal, hn::Set(d, 0x1p-14f)), subnormal, normal);
  value = hn::IfThenElse(hn::Ge(normal, hn::Set(d, 0x1p16f)), special, value);
  return hn::Or(value, hn::BitCast(d, sign));
}

// RN_tf32 as an f32 value: the 13 low bits go. NaN becomes the canonical one.
HWY_INLINE F32 RoundToTF32(F32 v) {
  const U32Tag du;
  const U32 bits = hn::BitCast(du, v);
  const U32 last = hn::And(hn::ShiftRight<13>(bits), hn::Set(du, 1u));
  const U32 rounded =
      hn::And(hn::Add(bits, hn::Add(last, hn::Set(du, 0xFFFu))), hn::Set(du, 0xFFFFE000u));
  return hn::IfThenElse(hn::IsNaN(v), NaN(), hn::BitCast(F32Tag(), rounded));
}

// RN_f16 as an f32 value; NaN becomes the canonical one.
HWY_INLINE F32 RoundToF16(F32 v) {
  const F32Tag d;
  const U32Tag du;
  const F32 size = hn::Abs(v);
  const U32 bits = hn::BitCast(du, size);
  const U32 last = hn::And(hn::ShiftRight<13>(bits), hn::Set(du, 1u));
  const F32 normal = hn::BitCast(
      d, hn::And(hn::Add(bits, hn::Add(last, hn::Set(du, 0xFFFu))), hn::Set(du, 0xFFFFE000u)));
  // Below 2^-14 f16 has the quantum that f32 has in [1/2, 1): 2^-24. The sum rounds, the difference
  // is exact.
  const F32 half = hn::Set(d, 0.5f);
  const F32 subnormal = hn::Sub(hn::Add(size, half), half);
  F32 rounded = hn::IfThenElse(hn::Lt(size, hn::Set(d, 0x1p-14f)), subnormal, normal);
  rounded = hn::IfThenElse(hn::Ge(rounded, hn::Set(d, 0x1p16f)),
                           hn::BitCast(d, hn::Set(du, 0x7F800000u)), rounded);
  const F32 sign = hn::And(v, hn::BitCast(d, hn::Set(du, 0x80000000u)));
  return hn::IfThenElse(hn::IsNaN(v), NaN(), hn::Or(rounded, sign));
}

// The f16 in the upper half of each lane of a value that RoundToF16 returned.
HWY_INLINE U32 F16Up(F32 v) {
  const F32Tag d;
  const U32Tag du;
  const F32 size = hn::Abs(v);
  const U32 normal = hn::Sub(hn::BitCast(du, size), hn::Set(du, 112u << 23));
  const U32 subnormal =
      hn::Sub(hn::BitCast(du, hn::Add(size, hn::Set(d, 0x1p-14f))), hn::Set(du, 113u << 23));
  const auto small = hn::RebindMask(du, hn::Lt(size, hn::Set(d, 0x1p-14f)));
  const auto finite = hn::RebindMask(du, hn::Lt(size, hn::Set(d, 0x1p16f)));
  U32 magnitude = hn::ShiftLeft<3>(hn::IfThenElse(small, subnormal, normal));
  // Infinity and NaN: 255 less 112 is 31 after the shift, the fraction stays.
  magnitude = hn::IfThenElse(
      finite, magnitude,
      hn::ShiftLeft<3>(hn::Sub(hn::BitCast(du, size), hn::Set(du, (255u - 31u) << 23))));
  return hn::Or(magnitude, hn::And(hn::BitCast(du, v), hn::Set(du, 0x80000000u)));
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
