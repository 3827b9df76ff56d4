// One row of a replayed tile on lanes: arguments of exp2, powers, rescaling, rounding. f32 as a GPU
// has it with -ftz=true: subnormal operands and results are zeros of their sign. Per-target include
// guard: included once per foreach_target pass.

#if defined(BITANCHOR_SIMD_REPLAY_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_REPLAY_ROWS_INL_H_
#undef BITANCHOR_SIMD_REPLAY_ROWS_INL_H_
#else
#define BITANCHOR_SIMD_REPLAY_ROWS_INL_H_
#endif

#include "simd/convert-inl.h"
#include "simd/exp2-inl.h"
#include "simd/lanes-inl.h"
#include "simd/replay_plan.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

HWY_INLINE F32 Flush(F32 v) {
  const F32Tag d;
  const F32 sign = hn::And(v, hn::BitCast(d, hn::Set(U32Tag(), 0x80000000u)));
  return hn::IfThenElse(hn::Lt(hn::Abs(v), hn::Set(d, 0x1p-126f)), sign, v);
}

float LargestOfRow(float* HWY_RESTRICT s, int64_t count, float largest) {
  const F32Tag d;
  const int64_t N = static_cast<int64_t>(hn::Lanes(d));
  F32 best = hn::Set(d, largest);
  for (int64_t j = 0; j < count; j += N) {
    const F32 score = Flush(hn::Load(d, s + j));
    hn::Store(score, d, s + j);
    best = GreaterOf(score, best);
  }
  HWY_ALIGN float lanes[kMaxLanes];
  hn::Store(best, d, lanes);
  for (int64_t i = 0; i < N; ++i) largest = lanes[i] > largest ? lanes[i] : largest;
  return largest;
}

// The argument of exp2 of flushed scores.
HWY_INLINE F32 Argument(const RowArguments& row, F32 s) {
  const F32Tag d;
  const F32 factor = hn::Set(d, row.factor), scaled_max = hn::Set(d, row.scaled_max);
  switch (row.kind) {
    case ExpArgument::kFused:
      return Flush(Fma(s, factor, hn::Neg(scaled_max)));
    case ExpArgument::kScaled:
      return Flush(hn::Sub(Flush(hn::Mul(s, factor)), scaled_max));
    case ExpArgument::kShifted:
      return Flush(hn::Mul(Flush(hn::Sub(s, hn::Set(d, row.max))), factor));
  }
  return s;
}

bool PowersOfRow(const RowArguments& row, const float* HWY_RESTRICT s, int64_t count,
                 float* HWY_RESTRICT x, float* HWY_RESTRICT low, float* HWY_RESTRICT high) {
  const F32Tag d;
  const U32Tag du;
  const int64_t N = static_cast<int64_t>(hn::Lanes(d));
  const auto ulp = hn::Set(du, static_cast<uint32_t>(row.ulp));
  const F32 zero = hn::Zero(d), one = hn::Set(d, 1.0f), open = hn::Set(d, kOpenPower);
  bool any_open = false;
  for (int64_t j = 0; j < count; j += N) {
    const F32 argument = Argument(row, hn::Load(d, s + j));
    hn::Store(argument, d, x + j);
    const F32Mask usual =
        hn::And(hn::Ge(argument, hn::Set(d, -124.0f)), hn::Le(argument, hn::Set(d, 127.0f)));
    const F32Mask vanishes = hn::Lt(argument, hn::Set(d, -128.0f));
    const F32Mask is_zero = hn::Eq(argument, zero);
    const auto power = hn::BitCast(du, Exp2Normal(hn::IfThenElse(usual, argument, zero)));
    F32 least = hn::BitCast(d, hn::Sub(power, ulp)), most = hn::BitCast(d, hn::Add(power, ulp));
    least = hn::IfThenElse(is_zero, one, least);
    most = hn::IfThenElse(is_zero, one, most);
    const F32Mask known = hn::Or(usual, vanishes);
    if (HWY_UNLIKELY(!hn::AllTrue(d, usual))) {
      const F32 instead = hn::IfThenElse(vanishes, zero, open);
      least = hn::IfThenElse(usual, least, instead);
      most = hn::IfThenElse(usual, most, instead);
      any_open |= !hn::AllTrue(d, known);
    }
    hn::Store(least, d, low + j);
    hn::Store(most, d, high + j);
  }
  return any_open;
}

template <class Up>
HWY_INLINE void RoundWith(const float* HWY_RESTRICT from, int64_t count, uint16_t* HWY_RESTRICT to,
                          const Up& up) {
  const F32Tag d;
  const hn::Rebind<uint16_t, U32Tag> narrow;
  const int64_t N = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t j = 0; j < count; j += N) {
    const auto bits = hn::ShiftRight<16>(up(hn::Load(d, from + j)));
    hn::StoreU(hn::DemoteTo(narrow, hn::BitCast(I32Tag(), bits)), narrow, to + j);
  }
}

void RoundRow(DType dtype, const float* from, int64_t count, uint16_t* to) {
  if (dtype == DType::kBF16) {
    RoundWith(from, count, to, [](F32 v) HWY_ATTR { return BF16Up(v); });
  } else {
    RoundWith(from, count, to, [](F32 v) HWY_ATTR { return F16Up(RoundToF16(v)); });
  }
}

void ScaleRow(float* HWY_RESTRICT low, float* HWY_RESTRICT high, int64_t count, float least,
              float most) {
  const F32Tag d;
  const int64_t N = static_cast<int64_t>(hn::Lanes(d));
  const F32 zero = hn::Zero(d), less = hn::Set(d, least), more = hn::Set(d, most);
  for (int64_t j = 0; j < count; j += N) {
    const F32 from = Flush(hn::Load(d, low + j));
    if (high == nullptr) {
      hn::Store(Flush(hn::Mul(from, less)), d, low + j);
      continue;
    }
    const F32 to = Flush(hn::Load(d, high + j));
    // Of a zero either way, and a NaN stays one.
    const F32 down = hn::IfThenElse(hn::Lt(from, zero), more, less);
    const F32 up = hn::IfThenElse(hn::Lt(to, zero), less, more);
    hn::Store(Flush(hn::Mul(from, down)), d, low + j);
    hn::Store(Flush(hn::Mul(to, up)), d, high + j);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
