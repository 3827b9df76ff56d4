// Correctly rounded exp2 on lanes, of numbers whose answer is a normal one.
//
// Claim: Exp2Normal(x) == RN_f32(2^x) for -125 <= x < 128, on every target. 2^x = e^(x ln2), the
// product in f64: it errs by 2^-53 relative and ln2 by 2^-54, of at most 89, so by less than 2^-46
// together; ExpKernel adds 2^-50. Both ends y (1 +- 2^-45) are rounded to f32; where they agree,
// that is the answer, and where not, about once in 2^20 calls, lib/number decides.
//
// Checked: tests/simd/scheduled_attention_test.cc (sample), elementary_exhaustive_test.cc (all).

#if defined(BITANCHOR_SIMD_EXP2_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_EXP2_INL_H_
#undef BITANCHOR_SIMD_EXP2_INL_H_
#else
#define BITANCHOR_SIMD_EXP2_INL_H_
#endif

#include "simd/exp-inl.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

// The lanes in which the two roundings differ, one by one.
HWY_NOINLINE inline F32 Exp2Decide(F32 x, F32 low, F32 high) {
  const F32Tag d;
  HWY_ALIGN float in[kMaxLanes], a[kMaxLanes], b[kMaxLanes];
  hn::Store(x, d, in);
  hn::Store(low, d, a);
  hn::Store(high, d, b);
  for (size_t i = 0; i < hn::Lanes(d); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0) a[i] = number::Exp2(in[i]);
  }
  return hn::Load(d, a);
}

// Any number at all for other x.
HWY_INLINE F32 Exp2Normal(F32 x) {
  const U32Tag du;
  const F64 ln2 = hn::Set(F64Tag(), 0x1.62e42fefa39efp-1);
  const F64 shrink = hn::Set(F64Tag(), 1.0 - 0x1p-45), grow = hn::Set(F64Tag(), 1.0 + 0x1p-45);
  const F64 lower = ExpKernel(hn::Mul(ToF64(LowerLanes(x)), ln2));
  const F64 upper = BITANCHOR_ONE_LANE ? lower : ExpKernel(hn::Mul(ToF64(UpperLanes(x)), ln2));
  const F32 low = Combine(RoundToF32(hn::Mul(upper, shrink)), RoundToF32(hn::Mul(lower, shrink)));
  const F32 high = Combine(RoundToF32(hn::Mul(upper, grow)), RoundToF32(hn::Mul(lower, grow)));
  const auto undecided = hn::Ne(hn::BitCast(du, low), hn::BitCast(du, high));
  if (HWY_UNLIKELY(!hn::AllFalse(du, undecided))) return Exp2Decide(x, low, high);
  return low;
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
