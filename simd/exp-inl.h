// Correctly rounded exp on lanes.
//
// Claim: Exp(x) == RN_f32(e^x) for every f32 x, on every target. There are two kernels; both end in
// a rounding test, and what the test leaves undecided goes to the next more exact one.
//
// ExpNarrow, f32 at full width, for targets that can look up 32 or 8 floats in registers and have
// an FMA: with a table of 2^B floats, x = (2^B K + k) ln2/2^B + r, |r| <= ln2/2^(B+1), and e^x =
// 2^K T[k] e^(r + d[k]) with the constants of exp_table.h. n L1 is exact inside the FMA and so is x
// - n L1, a multiple of 2^-30 below 2^-4. The sum is kept as hi + lo: hi = T + T r rounded, its
// exact remainder, and T times the rest of the series. What is lost: rounding r + delta (half an
// ulp, times r), three roundings of a rest below 2^-13 (B = 5) or 2^-10 (B = 3), and the series'
// next term; T < 2. Over every x in [-87, 88] the most is 2^-35.1 and 2^-31.2, below kNarrowError =
// 2^-35 and 2^-31. Where hi + lo -+ kNarrowError round to one f32, that is the answer: 2^K is exact
// for results that are normal. The rest, about one vector in 100 or 30, and other x, goes to
//
// ExpWide, f64: x = k ln2 + r with |r| <= 0.35. k has 8 bits and ln2's upper part 33, so their
// product is exact in f64. So is its difference from x: where k is not 0, both are multiples of
// 2^-33 and the difference is below 1. r then errs by at most 2^-53 |k ln2lo| + ulp(r)/2 < 2^-53.
// The Taylor polynomial of degree 13 errs by r^14/14! < 2^-57; its Horner evaluation, fused or not,
// by less than 3 ulp of a result in [0.7, 1.42]. So y = p 2^k errs by less than 2^-50 relative.
// Both ends y (1 +- 2^-48) are rounded to f32 (one rounding, subnormals included); where they
// agree, that is the answer. Where not, about once in 2^22 calls, the scalar function of lib/number
// decides, which is proved against MPFR on its own.
//
// Checked: tests/simd/elementary_test.cc (sample), elementary_exhaustive_test.cc (all 2^32 inputs
// against lib/number).

#if defined(BITANCHOR_SIMD_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_EXP_INL_H_
#undef BITANCHOR_SIMD_EXP_INL_H_
#else
#define BITANCHOR_SIMD_EXP_INL_H_
#endif

#include "simd/exp_table.h"
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

HWY_INLINE F32 ExpWide(F32 x) {
  const F32Tag d;
  const U32Tag du;
  // Below -110 the result is 0, above 89 it is Inf, as at those ends. Comparisons keep NaN.
  F32 clamped = hn::IfThenElse(hn::Gt(x, hn::Set(d, 89.0f)), hn::Set(d, 89.0f), x);
  clamped = hn::IfThenElse(hn::Lt(x, hn::Set(d, -110.0f)), hn::Set(d, -110.0f), clamped);
  const F64 shrink = hn::Set(F64Tag(), 1.0 - 0x1p-48), grow = hn::Set(F64Tag(), 1.0 + 0x1p-48);
  const F64 lower = ExpKernel(ToF64(LowerLanes(clamped)));
  const F64 upper = BITANCHOR_ONE_LANE ? lower : ExpKernel(ToF64(UpperLanes(clamped)));
  F32 low = Combine(RoundToF32(hn::Mul(upper, shrink)), RoundToF32(hn::Mul(lower, shrink)));
  const F32 high = Combine(RoundToF32(hn::Mul(upper, grow)), RoundToF32(hn::Mul(lower, grow)));
  const auto undecided = hn::Ne(hn::BitCast(du, low), hn::BitCast(du, high));
  if (HWY_UNLIKELY(!hn::AllFalse(du, undecided))) {
    low = ExpDecide(x, low, high);
  }
  return hn::IfThenElse(hn::IsNaN(x), NaN(), low);
}

#if BITANCHOR_LOOKUP_BITS

constexpr int kBits = BITANCHOR_LOOKUP_BITS;
constexpr float kNarrowError = kBits == 5 ? 0x1p-35f : 0x1p-31f;
constexpr float kCoarser = 32 >> kBits;  // steps are ln2/32 times this

// The lanes of x that the narrow kernel left open (`open`), `answer` for the others. Results that
// vanish are common where scores are far apart, so they are not worth the wide kernel.
HWY_NOINLINE inline F32 ExpReconsider(F32 x, F32Mask open, F32 answer) {
  const F32Tag d;
  const F32Mask vanishes = hn::Lt(x, hn::Set(d, -104.0f));  // e^-104 < 2^-150
  answer = hn::IfThenZeroElse(vanishes, answer);
  open = hn::AndNot(vanishes, open);
  if (hn::AllFalse(d, open)) return answer;
  return hn::IfThenElse(open, ExpWide(x), answer);
}

// in_range: x is a number in [-87, 88].
HWY_INLINE F32 ExpNarrow(F32 x, F32Mask in_range) {
  const F32Tag d;
  const U32Tag du;
  const F32 shifter = hn::Set(d, 0x1.8p23f);  // adding it rounds to an integer held in the low bits
  const F32 shifted = hn::MulAdd(x, hn::Set(d, kExpSteps / kCoarser), shifter);
  const F32 n = hn::Sub(shifted, shifter);
  const F32 r = hn::NegMulAdd(n, hn::Set(d, kCoarser * kExpStepHigh), x);
  const auto bits = hn::BitCast(du, shifted);
  const F32 power = Lookup(kBits == 5 ? kExpPower : kExpPower8, bits);
  const F32 delta = hn::NegMulAdd(n, hn::Set(d, kCoarser * kExpStepLow),
                                  Lookup(kBits == 5 ? kExpMissing : kExpMissing8, bits));
  const F32 s = hn::Add(r, delta);
  F32 series = hn::Set(d, 1.0f / 24);
  if constexpr (kBits < 5) series = hn::MulAdd(s, hn::Set(d, 1.0f / 120), series);
  series = hn::MulAdd(series, s, hn::Set(d, 1.0f / 6));
  series = hn::MulAdd(series, s, hn::Set(d, 0.5f));
  series = hn::MulAdd(series, hn::Mul(s, s), delta);
  const F32 hi = hn::MulAdd(power, r, power);
  const F32 remainder = hn::MulAdd(power, r, hn::Sub(power, hi));
  const F32 lo = hn::MulAdd(power, series, remainder);
  const F32 low = hn::Add(hi, hn::Sub(lo, hn::Set(d, kNarrowError)));
  const F32 high = hn::Add(hi, hn::Add(lo, hn::Set(d, kNarrowError)));
  // K stands above the bits of k; what lies above K is shifted out.
  const auto exponent = hn::And(hn::ShiftLeft<23 - kBits>(bits), hn::Set(du, 0xFF800000u));
  const F32 answer = hn::BitCast(d, hn::Add(hn::BitCast(du, low), exponent));
  const F32Mask decided = hn::And(hn::Eq(low, high), in_range);
  if (HWY_UNLIKELY(!hn::AllTrue(d, decided))) return ExpReconsider(x, hn::Not(decided), answer);
  return answer;
}

HWY_INLINE F32 Exp(F32 x) {
  const F32Tag d;
  const F32Mask above = hn::Gt(x, hn::Set(d, -87.0f)), below = hn::Lt(x, hn::Set(d, 88.0f));
  return ExpNarrow(x, hn::And(above, below));
}

// The same for x that is known to be 0 or less, or NaN.
HWY_INLINE F32 ExpNonPositive(F32 x) { return ExpNarrow(x, hn::Gt(x, hn::Set(F32Tag(), -87.0f))); }

#else

HWY_INLINE F32 Exp(F32 x) { return ExpWide(x); }
HWY_INLINE F32 ExpNonPositive(F32 x) { return ExpWide(x); }

#endif  // BITANCHOR_LOOKUP_BITS

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
