// The only arithmetic vocabulary the kernels may use. Every operation here returns the same bits on
// every Highway target, or says that it does not. Per-target include guard: included once per
// foreach_target pass.
//
// Comparisons with a NaN are ordered (false), and Ne is not used on floating point: Highway's
// differs by ISA there. Not here on purpose: sums across lanes, approximate reciprocals, hardware
// bf16 conversions (they flush subnormals), Highway's contrib math, Max/Min (NaN and zero handling
// differ by ISA), NegMulAdd where a zero's sign matters (POWER and z compute -(a b - c)).

#if defined(BITANCHOR_SIMD_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_LANES_INL_H_
#undef BITANCHOR_SIMD_LANES_INL_H_
#else
#define BITANCHOR_SIMD_LANES_INL_H_
#endif

#undef BITANCHOR_ONE_LANE

#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "lib/number/elementary.h"
#include "lib/number/format.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kMaxLanes =
    16;  // wider vectors are used in part; a block's lanes must fit 64 mask bits
using F32Tag = hn::CappedTag<float, kMaxLanes>;
using U32Tag = hn::RebindToUnsigned<F32Tag>;
using I32Tag = hn::RebindToSigned<F32Tag>;
using F32 = hn::Vec<F32Tag>;
using F32Mask = hn::Mask<F32Tag>;
using F32Half = hn::Half<F32Tag>;  // lanes of one f64 vector
using F64Tag = hn::Rebind<double, F32Half>;
using F64 = hn::Vec<F64Tag>;
using I64Tag = hn::RebindToSigned<F64Tag>;
using U64Tag = hn::RebindToUnsigned<F64Tag>;

// On the one-lane target Half is the vector itself.
#if HWY_TARGET == HWY_SCALAR
#define BITANCHOR_ONE_LANE 1
HWY_INLINE F32 LowerLanes(F32 v) { return v; }
HWY_INLINE F32 UpperLanes(F32 v) { return v; }
HWY_INLINE F32 Combine(F32 /*upper*/, F32 lower) { return lower; }
#else
#define BITANCHOR_ONE_LANE 0
HWY_INLINE hn::Vec<F32Half> LowerLanes(F32 v) { return hn::LowerHalf(F32Half(), v); }
HWY_INLINE hn::Vec<F32Half> UpperLanes(F32 v) { return hn::UpperHalf(F32Half(), v); }
HWY_INLINE F32 Combine(hn::Vec<F32Half> upper, hn::Vec<F32Half> lower) {
  return hn::Combine(F32Tag(), upper, lower);
}
#endif

HWY_INLINE F64 ToF64(hn::Vec<F32Half> v) { return hn::PromoteTo(F64Tag(), v); }  // exact
// Nearest-even, overflow to infinity.
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
// Highway's emulated DemoteTo clamps to the largest finite number instead.
HWY_INLINE hn::Vec<F32Half> RoundToF32(F64 v) {
  HWY_ALIGN double wide[kMaxLanes];
  HWY_ALIGN float narrow[kMaxLanes];
  hn::Store(v, F64Tag(), wide);
  for (size_t i = 0; i < hn::Lanes(F64Tag()); ++i) narrow[i] = static_cast<float>(wide[i]);
  return hn::Load(F32Half(), narrow);
}
#else
HWY_INLINE hn::Vec<F32Half> RoundToF32(F64 v) { return hn::DemoteTo(F32Half(), v); }
#endif

#if HWY_NATIVE_FMA && HWY_ARCH_PPC && HWY_COMPILER_GCC_ACTUAL
// For MulAdd g++ 12 takes AltiVec's vmaddfp where registers suit it better, which flushes subnormals
// and gives other zeros.
HWY_INLINE F32 Fma(F32 a, F32 b, F32 c) {
  asm("xvmaddasp %x0, %x1, %x2" : "+wa"(c.raw) : "wa"(a.raw), "wa"(b.raw));
  return c;
}
#elif HWY_NATIVE_FMA
HWY_INLINE F32 Fma(F32 a, F32 b, F32 c) { return hn::MulAdd(a, b, c); }
#else
// fma without the instruction: the product of two f32 is exact in f64; the sum with c is rounded to
// odd in f64 (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums", IEEE TC 2008),
// after which rounding to f32, 53 >= 24 + 2 digits, is the single rounding wanted, subnormal
// results included.
HWY_INLINE hn::Vec<F32Half> FmaHalf(hn::Vec<F32Half> a, hn::Vec<F32Half> b, hn::Vec<F32Half> c) {
  const F64Tag d;
  const I64Tag di;
  const F64 product = hn::Mul(ToF64(a), ToF64(b)), addend = ToF64(c);
  const F64 sum = hn::Add(product, addend);
  const F64 shadow = hn::Sub(sum, product);  // TwoSum: sum + error == product + addend, exactly
  const F64 error = hn::Add(hn::Sub(product, hn::Sub(sum, shadow)), hn::Sub(addend, shadow));
  const F64 zero = hn::Zero(d);
  const auto bits = hn::BitCast(di, sum);
  const auto even = hn::Eq(hn::And(bits, hn::Set(di, 1)), hn::Zero(di));
  // Away from zero where error and sum have one sign. NaN errors (Inf, NaN sums) compare false.
  const auto up = hn::Or(hn::And(hn::Gt(error, zero), hn::Gt(sum, zero)),
                         hn::And(hn::Lt(error, zero), hn::Lt(sum, zero)));
  const auto down = hn::Or(hn::And(hn::Gt(error, zero), hn::Lt(sum, zero)),
                           hn::And(hn::Lt(error, zero), hn::Gt(sum, zero)));
  const auto one = hn::Set(di, 1);
  auto odd = hn::Add(bits, hn::IfThenElseZero(hn::And(hn::RebindMask(di, up), even), one));
  odd = hn::Sub(odd, hn::IfThenElseZero(hn::And(hn::RebindMask(di, down), even), one));
  return RoundToF32(hn::BitCast(d, odd));
}

HWY_INLINE F32 Fma(F32 a, F32 b, F32 c) {
  const auto lower = FmaHalf(LowerLanes(a), LowerLanes(b), LowerLanes(c));
  const auto upper =
      BITANCHOR_ONE_LANE ? lower : FmaHalf(UpperLanes(a), UpperLanes(b), UpperLanes(c));
  return Combine(upper, lower);
}
#endif

// Larger of the two by comparison: a NaN in `candidate` is not taken, in `best` it stays; of two
// zeros `best` is taken. x86's max instruction is defined as that comparison.
HWY_INLINE F32 GreaterOf(F32 candidate, F32 best) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
  return hn::Max(candidate, best);
#else
  return hn::IfThenElse(hn::Gt(candidate, best), candidate, best);
#endif
}

// RN_bf16 as an f32 value, of numbers, infinities and the canonical NaN. Integer arithmetic:
// subnormals kept.
HWY_INLINE F32 RoundCanonicalToBF16(F32 v) {
  const U32Tag du;
  const auto bits = hn::BitCast(du, v);
  const auto lsb = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto rounded = hn::Add(bits, hn::Add(lsb, hn::Set(du, 0x7FFFu)));
  return hn::BitCast(F32Tag(), hn::And(rounded, hn::Set(du, 0xFFFF0000u)));
}

// RN_bf16 as an f32 value; any NaN becomes the canonical one.
HWY_INLINE F32 RoundToBF16(F32 v) {
  const F32 nan = hn::Set(F32Tag(), ToF32(BF16{0x7FC0}));
  return hn::IfThenElse(hn::IsNaN(v), nan, RoundCanonicalToBF16(v));
}

HWY_INLINE F32 Canonical(F32 v) {
  const F32Tag d;
  return hn::IfThenElse(hn::IsNaN(v), hn::BitCast(d, hn::Set(U32Tag(), 0x7FC00000u)), v);
}

#undef BITANCHOR_LOOKUP_BITS
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3 && HWY_NATIVE_FMA
#define BITANCHOR_LOOKUP_BITS 5
// The low bits of `index` choose from 32 floats, which are 64-byte aligned.
HWY_INLINE F32 Lookup(const float* HWY_RESTRICT table, hn::Vec<U32Tag> index) {
  const F32Tag d;
  return F32{
      _mm512_permutex2var_ps(hn::Load(d, table).raw, index.raw, hn::Load(d, table + 16).raw)};
}
#elif HWY_TARGET == HWY_AVX2 && HWY_NATIVE_FMA
#define BITANCHOR_LOOKUP_BITS 3
// The low bits of `index` choose from 8 floats, which are 32-byte aligned.
HWY_INLINE F32 Lookup(const float* HWY_RESTRICT table, hn::Vec<U32Tag> index) {
  return F32{_mm256_permutevar8x32_ps(hn::Load(F32Tag(), table).raw, index.raw)};
}
#else
#define BITANCHOR_LOOKUP_BITS 0  // no table of floats in registers
#endif

HWY_INLINE F32 NaN() { return hn::BitCast(F32Tag(), hn::Set(U32Tag(), 0x7FC00000u)); }

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
