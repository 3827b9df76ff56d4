// Correctly rounded exp on lanes.
//
// Claim: Exp(x) == RN_f32(e^x) for every f32 x, on every target.
// Argument: x = k ln2 + r with |r| <= 0.35. k has 8 bits and ln2's upper part 33, so their product
// is exact in f64. So is its difference from x: where k is not 0, both are multiples of 2^-33 and
// the difference is below
// 1. r then errs by at most 2^-53 |k ln2lo| + ulp(r)/2 < 2^-53. The Taylor polynomial of degree 13
// errs by r^14/14! < 2^-57; its Horner evaluation, fused or not, by less than 3 ulp of a result in
// [0.7, 1.42]. So y = p 2^k errs by less than 2^-50 relative. Both ends y (1 +- 2^-48) are rounded
// to f32 (one rounding, subnormals included); where they agree, that is the answer. Where not,
// about once in 2^22 calls, the scalar function of lib/number decides, which is proved against MPFR
// on its own. Checked: tests/simd/exp_test.cc (sample), exp_exhaustive_test.cc (all 2^32 inputs
// against lib/number).

#if defined(BITANCHOR_SIMD_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_EXP_INL_H_
#undef BITANCHOR_SIMD_EXP_INL_H_
#else
#define BITANCHOR_SIMD_EXP_INL_H_
#endif

#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

// e^x within 2^-50 relative for -110 <= x <= 89. Fused or not: both keep the bound.
HWY_INLINE F64 ExpKernel(F64 x) {
  const F64Tag d;
  const I64Tag di;
  const F64 shifter = hn::Set(d, 0x1.8p52);  // adding it rounds to an integer held in the low bits
  const F64 shifted = hn::MulAdd(x, hn::Set(d, 0x1.71547652b82fep0), shifter);
  const F64 k = hn::Sub(shifted, shifter);
  F64 r = hn::Sub(x, hn::Mul(k, hn::Set(d, 0x1.62e42fefp-1)));
  r = hn::Sub(r, hn::Mul(k, hn::Set(d, 0x1.473de6af278edp-34)));
  F64 p = hn::Set(d, 1.0 / 6227020800.0);  // 1/13!, then down to 1/0!
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 479001600.0));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 39916800.0));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 3628800.0));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 362880.0));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 40320.0));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 5040.0));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 720.0));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 120.0));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 24.0));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 6.0));
  p = hn::MulAdd(p, r, hn::Set(d, 0.5));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0));
  // p 2^k: k stands in the low bits of `shifted`; shifting by 52 drops all else. 2^-160 .. 2^129 is
  // normal.
  const auto exponent = hn::ShiftLeft<52>(hn::BitCast(di, shifted));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p), exponent));
}

// The lanes in which the two roundings differ, one by one.
HWY_NOINLINE inline F32 ExpDecide(F32 x, F32 low, F32 high) {
  const F32Tag d;
  HWY_ALIGN float in[kMaxLanes], a[kMaxLanes], b[kMaxLanes];
  hn::Store(x, d, in);
  hn::Store(low, d, a);
  hn::Store(high, d, b);
  for (size_t i = 0; i < hn::Lanes(d); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0) a[i] = number::Exp(in[i]);
  }
  return hn::Load(d, a);
}

HWY_INLINE F32 Exp(F32 x) {
  const F32Tag d;
  const U32Tag du;
  // Below -110 the result is 0, above 89 it is Inf, as at those ends. Comparisons keep NaN.
  F32 clamped = hn::IfThenElse(hn::Gt(x, hn::Set(d, 89.0f)), hn::Set(d, 89.0f), x);
  clamped = hn::IfThenElse(hn::Lt(x, hn::Set(d, -110.0f)), hn::Set(d, -110.0f), clamped);
  const F64 shrink = hn::Set(F64Tag(), 1.0 - 0x1p-48), grow = hn::Set(F64Tag(), 1.0 + 0x1p-48);
  const F64 lower = ExpKernel(ToF64(LowerHalf(clamped)));
  const F64 upper = BITANCHOR_ONE_LANE ? lower : ExpKernel(ToF64(UpperHalf(clamped)));
  F32 low = Combine(RoundToF32(hn::Mul(upper, shrink)), RoundToF32(hn::Mul(lower, shrink)));
  const F32 high = Combine(RoundToF32(hn::Mul(upper, grow)), RoundToF32(hn::Mul(lower, grow)));
  const auto undecided = hn::Ne(hn::BitCast(du, low), hn::BitCast(du, high));
  if (HWY_UNLIKELY(!hn::AllFalse(du, undecided))) {
    low = ExpDecide(x, low, high);
  }
  return hn::IfThenElse(hn::IsNaN(x), NaN(), low);
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
