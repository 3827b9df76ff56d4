// Correctly rounded sin and cos on lanes.
//
// Claim: SinCos(x, s, c) gives s == number::Sin(x) and c == number::Cos(x), bit for bit, for every
// f32 x, on every target, whether MulAdd is fused or not.
//
// Argument, for |x| <= 2^31 (all other lanes, infinities and NaN among them, go to lib/number):
//   k    = the integer next to x (2/pi), |k| < 2^31. Two f64 roundings move x (2/pi) by less than
//          2^-20, so |x - k pi/2| <= (1/2 + 2^-20) pi/2 < 0.7855, whichever way MulAdd works.
//   r    = x - k pi/2, pi/2 in parts of 22, 22, 22 and 53 bits whose last bits weigh 2^-21, 2^-43,
//          2^-65 and 2^-121. k has 31 bits, so the first three products are exact. Differences:
//          after the first part a multiple of 2^-24 (x's last bit where k != 0) below 2^10, after
//          the second a multiple of 2^-43 below 1: exact. The third and the fourth round, 2^-53 of
//          |r| (1 + 2^-5) each, since the fourth product is below 2^-37 and |r| >= 2^-28: the least
//          |x - k pi/2| of all f32 x with 0.5 <= |x| <= 2^31 is 0x1.1fa3p-28, at x = 0x1.f9cbe2p+7.
//          The fourth product's own rounding and what pi/2 leaves out are below 2^-90 together. So
//          r errs by less than 2^-51.9 of itself, and it is exact where k = 0.
//   sin r = r (1 - z/3! + ... - z^7/15!), cos r = 1 - z/2! + ... + z^8/16!, z = r^2.
//
//   relative error            sin        cos
//   of r, carried over        2^-51.9    2^-52.2   (|r cot r| <= 1, |r tan r| <= 0.79)
//   Taylor's remainder        2^-53.8    2^-57.9   (r^16/17!, r^18/18! / cos 0.7855)
//   of z and Horner           2^-53      2^-51.6   (z's weighs z/6 <= 0.11, z/2 <= 0.31 over 0.7)
//   last operations           2^-52      2^-52.5   (1 + z p, times r; 1 + z p over 0.7)
//   together, below           2^-50.5    2^-50.5
//
// So the true value lies within y (1 +- 2^-48), at most 32 units of y's last place. f64 has 29 more
// bits than f32: unless those of y lie within 32 of the half-way pattern 2^28, both ends round to
// one f32, and that is the answer. (Subnormal results come from subnormal x alone; there y = x, and
// sin x = x (1 - 2^-250) rounds to x.) Where they do lie there, for 80 of the positive x,
// lib/number decides. Signs of zero: k is +0 there, so r is x itself, and sin r is a
// product: sin(-0) = -0. (By NegMulAdd r would be -0 for both: POWER and z compute it as
// -(k p - x).)
//
// Checked: tests/simd/elementary_test.cc on every target (a dense sample, edges, neighbours of
// multiples of pi/2, the hardest cases); tests/simd/elementary_exhaustive_test.cc, all 2^32 inputs.

#if defined(BITANCHOR_SIMD_SINCOS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_SINCOS_INL_H_
#undef BITANCHOR_SIMD_SINCOS_INL_H_
#else
#define BITANCHOR_SIMD_SINCOS_INL_H_
#endif

#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

// sin x and cos x within 2^-50.5 relative for |x| <= 2^31.
HWY_INLINE void SinCosKernel(F64 x, F64& sin_x, F64& cos_x) {
  const F64Tag d;
  const I64Tag di;
  const F64 shifter = hn::Set(d, 0x1.8p52);  // adding it rounds to an integer held in the low bits
  const F64 shifted = hn::MulAdd(x, hn::Set(d, 0x1.45f306dc9c883p-1), shifter);
  const F64 k = hn::Sub(shifted, shifter);
  F64 r = hn::MulAdd(k, hn::Set(d, -0x1.921fbp+0), x);
  r = hn::MulAdd(k, hn::Set(d, -0x1.5110bp-22), r);
  r = hn::MulAdd(k, hn::Set(d, -0x1.184698p-44), r);
  r = hn::MulAdd(k, hn::Set(d, -0x1.3198a2e037073p-69), r);
  const F64 z = hn::Mul(r, r);
  F64 s = hn::Set(d, -1.0 / 1307674368000.0);  // -1/15!, then up to -1/3!
  s = hn::MulAdd(s, z, hn::Set(d, 1.0 / 6227020800.0));
  s = hn::MulAdd(s, z, hn::Set(d, -1.0 / 39916800.0));
  s = hn::MulAdd(s, z, hn::Set(d, 1.0 / 362880.0));
  s = hn::MulAdd(s, z, hn::Set(d, -1.0 / 5040.0));
  s = hn::MulAdd(s, z, hn::Set(d, 1.0 / 120.0));
  s = hn::MulAdd(s, z, hn::Set(d, -1.0 / 6.0));
  s = hn::Mul(r, hn::MulAdd(s, z, hn::Set(d, 1.0)));
  F64 c = hn::Set(d, 1.0 / 20922789888000.0);  // 1/16!, then down to 1/0!
  c = hn::MulAdd(c, z, hn::Set(d, -1.0 / 87178291200.0));
  c = hn::MulAdd(c, z, hn::Set(d, 1.0 / 479001600.0));
  c = hn::MulAdd(c, z, hn::Set(d, -1.0 / 3628800.0));
  c = hn::MulAdd(c, z, hn::Set(d, 1.0 / 40320.0));
  c = hn::MulAdd(c, z, hn::Set(d, -1.0 / 720.0));
  c = hn::MulAdd(c, z, hn::Set(d, 1.0 / 24.0));
  c = hn::MulAdd(c, z, hn::Set(d, -0.5));
  c = hn::MulAdd(c, z, hn::Set(d, 1.0));
  // Quarter turns, k modulo 4 in the two's complement of the low bits: (s, c), (c, -s), (-s, -c),
  // (-c, s).
  const auto turn = hn::BitCast(di, shifted), one = hn::Set(di, 1);
  const auto odd = hn::RebindMask(d, hn::TestBit(turn, one));
  const auto sin_sign = hn::ShiftLeft<62>(hn::AndNot(one, turn));  // bit 1 to bit 63
  const auto cos_sign = hn::ShiftLeft<62>(hn::AndNot(one, hn::Add(turn, one)));
  sin_x = hn::Xor(hn::IfThenElse(odd, c, s), hn::BitCast(d, sin_sign));
  cos_x = hn::Xor(hn::IfThenElse(odd, s, c), hn::BitCast(d, cos_sign));
}

// Whether some y (1 +- 2^-48) may round to two f32: the 29 bits that rounding drops lie within 32
// of 2^28.
HWY_INLINE bool Undecided(F64 y1, F64 y2) {
  const I64Tag di;
  const auto near = [&](F64 y) HWY_ATTR {
    const auto dropped = hn::Add(hn::BitCast(di, y), hn::Set(di, 32));
    return hn::Eq(hn::And(dropped, hn::Set(di, 0x1FFFFFC0)), hn::Set(di, 0x10000000));
  };
  return !hn::AllFalse(di, hn::Or(near(y1), near(y2)));
}

// Every lane by lib/number.
HWY_NOINLINE inline void SinCosDecide(F32 x, F32& sin_x, F32& cos_x) {
  const F32Tag d;
  HWY_ALIGN float in[kMaxLanes], s[kMaxLanes], c[kMaxLanes];
  hn::Store(x, d, in);
  for (size_t i = 0; i < hn::Lanes(d); ++i) {
    s[i] = number::Sin(in[i]);
    c[i] = number::Cos(in[i]);
  }
  sin_x = hn::Load(d, s);
  cos_x = hn::Load(d, c);
}

HWY_INLINE void SinCos(F32 x, F32& sin_x, F32& cos_x) {
  const F32Tag d;
  const auto fits = hn::Le(hn::Abs(x), hn::Set(d, 0x1p31f));
  if (HWY_UNLIKELY(!hn::AllTrue(d, fits))) return SinCosDecide(x, sin_x, cos_x);
  F64 s0, c0;
  SinCosKernel(ToF64(LowerLanes(x)), s0, c0);
  F64 s1 = s0, c1 = c0;
  if (!BITANCHOR_ONE_LANE) SinCosKernel(ToF64(UpperLanes(x)), s1, c1);
  if (HWY_UNLIKELY(Undecided(s0, c0) || Undecided(s1, c1))) return SinCosDecide(x, sin_x, cos_x);
  sin_x = Combine(RoundToF32(s1), RoundToF32(s0));
  cos_x = Combine(RoundToF32(c1), RoundToF32(c0));
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
