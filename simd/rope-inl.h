// RoPE on lanes of rotary pairs.

#if defined(BITANCHOR_SIMD_ROPE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_ROPE_INL_H_
#undef BITANCHOR_SIMD_ROPE_INL_H_
#else
#define BITANCHOR_SIMD_ROPE_INL_H_
#endif

#include "lib/problem/attention_problem.h"
#include "lib/recipe/rope_recipe.h"
#include "simd/lanes-inl.h"
#include "simd/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

// y1 = x1 c - x2 s, y2 = x2 c + x1 s in f32, not yet rounded to the model's format.
HWY_INLINE void RotateF32(RopeApply apply, F32 x1, F32 x2, F32 c, F32 s, F32& y1, F32& y2) {
  if (apply == RopeApply::kF32FmaX1) {
    y1 = Fma(x1, c, hn::Neg(hn::Mul(x2, s)));
    y2 = Fma(x1, s, hn::Mul(x2, c));
  } else {
    y1 = hn::Sub(hn::Mul(x1, c), hn::Mul(x2, s));
    y2 = hn::Add(hn::Mul(x2, c), hn::Mul(x1, s));
  }
}

HWY_INLINE F32Mask Small(F32 v) { return hn::Lt(hn::Abs(v), hn::Set(F32Tag(), 0x1p-120f)); }

// "3R" in bf16. Products of bf16 are exact in f32 unless they reach below its smallest subnormal:
// lanes where one does are counted in `tiny` and are to be redone.
HWY_INLINE void Rotate3RBF16(F32 x1, F32 x2, F32 c, F32 s, F32& y1, F32& y2, F32Mask& tiny) {
  const F32 x1c = hn::Mul(x1, c), x2s = hn::Mul(x2, s), x2c = hn::Mul(x2, c), x1s = hn::Mul(x1, s);
  y1 = RoundToBF16(hn::Sub(RoundToBF16(x1c), RoundToBF16(x2s)));
  y2 = RoundToBF16(hn::Add(RoundToBF16(x2c), RoundToBF16(x1s)));
  tiny = hn::Or(hn::Or(Small(x1c), Small(x2s)), hn::Or(Small(x2c), Small(x1s)));
}

// One pair, in f64, where every product of F values is exact: for f16 and for what the lanes cannot
// do.
HWY_INLINE void RotateScalar3R(DType F, float x1, float x2, float c, float s, float& y1,
                               float& y2) {
  const auto round = [F](double x) {
    return F == DType::kBF16 ? ToF32(ToBF16(x)) : ToF32(ToF16(x));
  };
  const double a = round(static_cast<double>(x1) * c), b = round(static_cast<double>(x2) * s);
  const double e = round(static_cast<double>(x2) * c), f = round(static_cast<double>(x1) * s);
  y1 = round(a - b);
  y2 = round(e + f);
}

// x1, x2, c, s [half], padded to whole vectors; results replace x1 and x2. The last rounding to F
// is the store's, where it is idempotent after 3R.
void RotatePairs(RopeApply apply, DType F, size_t half, const float* c, const float* s, float* x1,
                 float* x2) {
  const F32Tag d;
  const size_t N = hn::Lanes(d);
  if (apply == RopeApply::kThreeRoundings && F == DType::kF16) {
    for (size_t i = 0; i < half; ++i) RotateScalar3R(F, x1[i], x2[i], c[i], s[i], x1[i], x2[i]);
    return;
  }
  const bool bf16_3r = apply == RopeApply::kThreeRoundings && F == DType::kBF16;
  for (size_t i = 0; i < half; i += N) {
    const F32 a = hn::Load(d, x1 + i), b = hn::Load(d, x2 + i), ci = hn::Load(d, c + i),
              si = hn::Load(d, s + i);
    F32 y1, y2;
    if (bf16_3r) {
      F32Mask tiny;
      Rotate3RBF16(a, b, ci, si, y1, y2, tiny);
      if (HWY_UNLIKELY(!hn::AllFalse(d, tiny))) {
        for (size_t j = i; j < HWY_MIN(i + N, half); ++j) {
          RotateScalar3R(F, x1[j], x2[j], c[j], s[j], x1[j], x2[j]);
        }
        continue;
      }
    } else {
      RotateF32(apply, a, b, ci, si, y1, y2);
    }
    hn::Store(y1, d, x1 + i);
    hn::Store(y2, d, x2 + i);
  }
}

// Rotates every head of one token; c and s are [padded half].
void RopeToken(const RopeConfig& config, const RopeRecipe& recipe, const TensorView& in, int64_t b,
               int64_t t, const float* c, const float* s, const MutableTensorView& out) {
  const int64_t H = in.shape[2], D = in.shape[3];
  const size_t R = config.rotary_dim, half = R / 2;
  const bool interleaved = config.pairing == RopePairing::kInterleaved;
  const size_t size_bytes = DTypeBytes(in.dtype);
  HWY_ALIGN float row[kMaxHeadDim], x1[kMaxHeadDim] = {}, x2[kMaxHeadDim] = {};
  for (int64_t h = 0; h < H; ++h) {
    LoadRow(in.dtype, in.Row(b, t, h), D, row);
    for (size_t i = 0; i < half; ++i) {
      x1[i] = interleaved ? row[2 * i] : row[i];
      x2[i] = interleaved ? row[2 * i + 1] : row[i + half];
    }
    RotatePairs(recipe.apply, in.dtype, half, c, s, x1, x2);
    for (size_t i = 0; i < half; ++i) {
      row[interleaved ? 2 * i : i] = x1[i];
      row[interleaved ? 2 * i + 1 : i + half] = x2[i];
    }
    std::byte* to = out.Row(b, t, h);
    for (int64_t i = 0; i < D; ++i) StoreRounded(in.dtype, to + i * size_bytes, row[i]);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
