// RoPE from memory to memory, by whole vectors of rotary pairs.
//
// Claim: the bits of lib/scalar/rope.cc for every dtype, recipe and pairing, on every target.
//
// The general path does in each lane what the definition does: f32 operations, and products of bf16
// or f16 values, which f32 holds exactly (their sums, rounded to f32 first, still round right: 24
// >= 2 x 11 + 2 digits). Only bf16 products that reach below f32's least subnormal need more, and
// go to f64 one by one.
//
// bf16 has a shorter path where every |x| of a block lies in [2^-63, 2^65) and every |c| and |s| in
// [2^-32, 2^4): then nothing is zero but by cancellation, no NaN or infinity occurs, every
// intermediate is a multiple of 2^-125 below 2^90, and rounding v to bf16 costs three operations
// (Veltkamp; Dekker 1971): g = v (2^16 + 1), h = v - g, RN_bf16(v) = g + h, each rounded to f32.
//   - g + h is *a* nearest bf16 value of v (Boldo, "Pitfalls of a full floating-point proof", IJCAR
//     2006). Only ties are open, and in a tie v has 9 digits. For v of at most 16 digits, in units
//     u = ulp_f32(2^16 v), 2^16 v is even (a multiple of 2^8). g = 2^16 v + v + e, where e <= u/2
//     takes v to a multiple of u, to the even one in a tie; h = -(2^16 v + e) rounds to -2^16 v, e
//     being at most half a unit and 2^16 v even; their sum v + e is RN_bf16(v), ties to even.
//   - A product x c of bf16 values has 16 digits, so v need not be rounded first; c (2^16 + 1) has
//     24, so g = x (c (2^16 + 1)) is one operation, and h = x c - g another, fused or not.
// All operations scale with powers of two, so the significands are all there is to check:
// tests/simd/rope_test.cc runs all 2^14 products and all 2^23 sums through this path.

#if defined(BITANCHOR_SIMD_ROPE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_ROPE_INL_H_
#undef BITANCHOR_SIMD_ROPE_INL_H_
#else
#define BITANCHOR_SIMD_ROPE_INL_H_
#endif

#include <algorithm>

#include "lib/recipe/rope_recipe.h"
#include "simd/convert-inl.h"
#include "simd/lanes-inl.h"
#include "simd/rope_table-inl.h"
#include "simd/stream-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

// Two vectors of rotary pairs (x1, x2), or of results y, have slots [0, N) in `a` and [N, 2N) in
// `b`. They travel as references: vectors of unknown size can be no members of a struct.

// ---- what differs by dtype

struct BF16Lanes {
  static constexpr DType kDType = DType::kBF16;
  static HWY_INLINE F32 Value(U32 up) { return hn::BitCast(F32Tag(), up); }
  static HWY_INLINE U32 Up(F32 v) { return BF16Up(v); }
  static HWY_INLINE F32 Round(F32 v) { return RoundToBF16(v); }
};

struct F16Lanes {
  static constexpr DType kDType = DType::kF16;
  static HWY_INLINE F32 Value(U32 up) { return F16ToF32(up); }
  static HWY_INLINE U32 Up(F32 v) { return F16Up(RoundToF16(v)); }
  static HWY_INLINE F32 Round(F32 v) { return RoundToF16(v); }
};

template <class Lanes, bool kInterleaved>
HWY_INLINE void Split(U32 w1, U32 w2, F32& x1a, F32& x2a, F32& x1b, F32& x2b) {
  const F32 even1 = Lanes::Value(EvenUp(w1)), odd1 = Lanes::Value(OddUp(w1));
  const F32 even2 = Lanes::Value(EvenUp(w2)), odd2 = Lanes::Value(OddUp(w2));
  x1a = even1;
  x2a = kInterleaved ? odd1 : even2;
  x1b = kInterleaved ? even2 : odd1;
  x2b = odd2;
}

template <bool kInterleaved>
HWY_INLINE void StoreUp(U32 x1a, U32 x2a, U32 x1b, U32 x2b, bool stream, std::byte* q1,
                        std::byte* q2) {
  const U32 w1 = JoinUp(x1a, kInterleaved ? x2a : x1b), w2 = JoinUp(kInterleaved ? x1b : x2a, x2b);
  StoreVector(w1, U32Tag(), stream, reinterpret_cast<uint32_t*>(q1));
  StoreVector(w2, U32Tag(), stream, reinterpret_cast<uint32_t*>(q2));
}

// ---- the general path

// y1 = x1 c - x2 s, y2 = x2 c + x1 s in f32, not yet rounded to the model's format.
template <RopeApply kApply>
HWY_INLINE void RotateF32(F32 x1, F32 x2, F32 c, F32 s, F32& y1, F32& y2) {
  if (kApply == RopeApply::kF32FmaX1) {
    y1 = Fma(x1, c, hn::Neg(hn::Mul(x2, s)));
    y2 = Fma(x1, s, hn::Mul(x2, c));
  } else {
    y1 = hn::Sub(hn::Mul(x1, c), hn::Mul(x2, s));
    y2 = hn::Add(hn::Mul(x2, c), hn::Mul(x1, s));
  }
}

// "3R" in bf16 of one vector, through f64, where every product is exact.
HWY_NOINLINE inline void Rotate3RInF64(F32 x1, F32 x2, F32 c, F32 s, F32& y1, F32& y2) {
  const F32Tag d;
  HWY_ALIGN float x1s[kMaxLanes], x2s[kMaxLanes], cs[kMaxLanes], ss[kMaxLanes];
  hn::Store(x1, d, x1s);
  hn::Store(x2, d, x2s);
  hn::Store(c, d, cs);
  hn::Store(s, d, ss);
  const auto round = [](double x) { return ToF32(ToBF16(x)); };
  for (size_t i = 0; i < hn::Lanes(d); ++i) {
    const double p = x1s[i], q = x2s[i];
    const double a = round(p * cs[i]), b = round(q * ss[i]);
    const double e = round(q * cs[i]), f = round(p * ss[i]);
    x1s[i] = round(a - b);
    x2s[i] = round(e + f);
  }
  y1 = hn::Load(d, x1s);
  y2 = hn::Load(d, x2s);
}

template <class Lanes, RopeApply kApply>
HWY_INLINE void Rotate(F32 x1, F32 x2, F32 c, F32 s, F32& y1, F32& y2) {
  if constexpr (kApply != RopeApply::kThreeRoundings) {
    RotateF32<kApply>(x1, x2, c, s, y1, y2);
    return;
  }
  const F32Tag d;
  const F32 x1c = hn::Mul(x1, c), x2s = hn::Mul(x2, s), x2c = hn::Mul(x2, c), x1s = hn::Mul(x1, s);
  y1 = hn::Sub(Lanes::Round(x1c), Lanes::Round(x2s));
  y2 = hn::Add(Lanes::Round(x2c), Lanes::Round(x1s));
  if constexpr (Lanes::kDType == DType::kBF16) {
    // Inexact in f32, perhaps: below 2^-110, and not by a factor of zero.
    const F32 zero = hn::Zero(d), small = hn::Set(d, 0x1p-110f);
    const auto tiny = [&](F32 product, F32 x, F32 t) HWY_ATTR {
      return hn::And(hn::Lt(hn::Abs(product), small),
                     hn::And(hn::Gt(hn::Abs(x), zero), hn::Gt(hn::Abs(t), zero)));
    };
    const auto any = hn::Or(hn::Or(tiny(x1c, x1, c), tiny(x2s, x2, s)),
                            hn::Or(tiny(x2c, x2, c), tiny(x1s, x1, s)));
    if (HWY_UNLIKELY(!hn::AllFalse(d, any))) Rotate3RInF64(x1, x2, c, s, y1, y2);
  }
}

// ---- the shorter path of bf16

// Exponents from 64 to 191 (less 127) are those whose two upper bits differ.
HWY_INLINE bool Ordinary(U32 w1, U32 w2) {
  const U32Tag du;
  const U32 top = hn::Set(du, 0x40004000u);
  const U32 differ = hn::And(hn::Xor(w1, hn::Add(w1, w1)), hn::Xor(w2, hn::Add(w2, w2)));
  return hn::AllTrue(du, hn::Eq(hn::And(differ, top), top));
}

HWY_INLINE U32 RoundOrdinary(F32 v) {
  const F32 g = hn::Mul(v, hn::Set(F32Tag(), 65537.0f));
  return hn::BitCast(U32Tag(), hn::Add(g, hn::Sub(v, g)));
}

HWY_INLINE F32 RoundedProduct(F32 x, F32 t, F32 t_split) {
  const F32 g = hn::Mul(x, t_split);
  return hn::Add(g, hn::MulSub(x, t, g));
}

template <RopeApply kApply>
HWY_INLINE void RotateOrdinary(const RopeTable& table, size_t slot, F32 x1, F32 x2, U32& y1,
                               U32& y2) {
  const F32Tag d;
  const F32 c = hn::Load(d, table.c + slot), s = hn::Load(d, table.s + slot);
  F32 v1, v2;
  if (kApply == RopeApply::kThreeRoundings) {
    const F32 c_split = hn::Load(d, table.c_split + slot),
              s_split = hn::Load(d, table.s_split + slot);
    v1 = hn::Sub(RoundedProduct(x1, c, c_split), RoundedProduct(x2, s, s_split));
    v2 = hn::Add(RoundedProduct(x2, c, c_split), RoundedProduct(x1, s, s_split));
  } else {
    RotateF32<kApply>(x1, x2, c, s, v1, v2);
  }
  y1 = RoundOrdinary(v1);
  y2 = RoundOrdinary(v2);
}

// ---- blocks: two spans of 2N elements in, two out

template <class Lanes, bool kInterleaved, RopeApply kApply>
struct HalfWordBlocks {
  static constexpr size_t kBytes = 2;

  static HWY_INLINE void Rotate2N(const RopeTable& table, size_t slot, const std::byte* p1,
                                  const std::byte* p2, bool stream, std::byte* q1, std::byte* q2) {
    const F32Tag d;
    const size_t N = hn::Lanes(d);
    const U32 w1 = LoadWords(p1), w2 = LoadWords(p2);
    F32 x1a, x2a, x1b, x2b;
    Split<Lanes, kInterleaved>(w1, w2, x1a, x2a, x1b, x2b);
    if constexpr (Lanes::kDType == DType::kBF16) {
      if (HWY_LIKELY(table.ordinary && Ordinary(w1, w2))) {
        U32 y1a, y2a, y1b, y2b;
        RotateOrdinary<kApply>(table, slot, x1a, x2a, y1a, y2a);
        RotateOrdinary<kApply>(table, slot + N, x1b, x2b, y1b, y2b);
        StoreUp<kInterleaved>(y1a, y2a, y1b, y2b, stream, q1, q2);
        return;
      }
    }
    F32 y1a, y2a, y1b, y2b;
    Rotate<Lanes, kApply>(x1a, x2a, hn::Load(d, table.c + slot), hn::Load(d, table.s + slot), y1a,
                          y2a);
    Rotate<Lanes, kApply>(x1b, x2b, hn::Load(d, table.c + slot + N),
                          hn::Load(d, table.s + slot + N), y1b, y2b);
    StoreUp<kInterleaved>(Lanes::Up(y1a), Lanes::Up(y2a), Lanes::Up(y1b), Lanes::Up(y2b), stream,
                          q1, q2);
  }
};

// Two vectors A, B of interleaved pairs to (x1, x2): even lanes from A, odd lanes from B. And back.
HWY_INLINE void Deinterleave(F32 A, F32 B, F32& x1, F32& x2) {
#if BITANCHOR_ONE_LANE
  x1 = A;
  x2 = B;
#else
  x1 = hn::OddEven(hn::DupEven(B), A);
  x2 = hn::OddEven(B, hn::DupOdd(A));
#endif
}

template <bool kInterleaved, RopeApply kApply>
struct FloatBlocks {
  static constexpr size_t kBytes = 4;

  static HWY_INLINE void Rotate2N(const RopeTable& table, size_t slot, const std::byte* p1,
                                  const std::byte* p2, bool stream, std::byte* q1, std::byte* q2) {
    const F32Tag d;
    const size_t N = hn::Lanes(d), vector_bytes = N * sizeof(float);
    const F32 v1 = LoadFloats(p1), v2 = LoadFloats(p1 + vector_bytes);
    const F32 v3 = LoadFloats(p2), v4 = LoadFloats(p2 + vector_bytes);
    F32 x1a = v1, x2a = v3, x1b = v2, x2b = v4;
    if (kInterleaved) {
      Deinterleave(v1, v2, x1a, x2a);
      Deinterleave(v3, v4, x1b, x2b);
    }
    F32 y1a, y2a, y1b, y2b;
    RotateF32<kApply>(x1a, x2a, hn::Load(d, table.c + slot), hn::Load(d, table.s + slot), y1a, y2a);
    RotateF32<kApply>(x1b, x2b, hn::Load(d, table.c + slot + N), hn::Load(d, table.s + slot + N),
                      y1b, y2b);
    y1a = Canonical(y1a);
    y2a = Canonical(y2a);
    y1b = Canonical(y1b);
    y2b = Canonical(y2b);
    F32 r1 = y1a, r2 = y1b, r3 = y2a, r4 = y2b;
    if (kInterleaved) {
      Deinterleave(y1a, y2a, r1, r2);  // its own inverse
      Deinterleave(y1b, y2b, r3, r4);
    }
    float* const to1 = reinterpret_cast<float*>(q1);
    float* const to2 = reinterpret_cast<float*>(q2);
    StoreVector(r1, d, stream, to1);
    StoreVector(r2, d, stream, to1 + N);
    StoreVector(r3, d, stream, to2);
    StoreVector(r4, d, stream, to2 + N);
  }
};

// ---- rows

// 16-bit elements in the upper halves, each NaN made the canonical one.
HWY_INLINE U32 CanonicalUp(DType dtype, U32 up) {
  const U32Tag du;
  const I32Tag di;
  const bool bf16 = dtype == DType::kBF16;
  const auto infinity = hn::BitCast(di, hn::Set(du, bf16 ? 0x7F800000u : 0x7C000000u));
  const auto size = hn::BitCast(di, hn::And(up, hn::Set(du, 0x7FFFFFFFu)));
  return hn::IfThenElse(hn::RebindMask(du, hn::Gt(size, infinity)),
                        hn::Set(du, bf16 ? 0x7FC00000u : 0x7E000000u), up);
}

// Elements that no rotation touches: NaN becomes the canonical one, all else is copied.
HWY_NOINLINE inline void CopyRow(DType dtype, const std::byte* from, size_t count, std::byte* to) {
  const F32Tag d;
  const size_t N = hn::Lanes(d), bytes = DTypeBytes(dtype);
  size_t i = 0;
  if (bytes == 2) {
    for (; i + 2 * N <= count; i += 2 * N) {
      const U32 words = LoadWords(from + 2 * i);
      const U32 even = CanonicalUp(dtype, EvenUp(words)), odd = CanonicalUp(dtype, OddUp(words));
      StoreVector(JoinUp(even, odd), U32Tag(), false, reinterpret_cast<uint32_t*>(to + 2 * i));
    }
  } else {
    for (; i + N <= count; i += N) {
      StoreVector(Canonical(LoadFloats(from + 4 * i)), d, false,
                  reinterpret_cast<float*>(to + 4 * i));
    }
  }
  for (; i < count; ++i) StoreRounded(dtype, to + bytes * i, LoadF32(dtype, from + bytes * i));
}

// The last pairs of a row, fewer than a block, by way of a whole block.
template <class Blocks, bool kInterleaved>
HWY_NOINLINE void RotateRest(const RopeTable& table, size_t slot, size_t half,
                             const std::byte* from, std::byte* to) {
  constexpr size_t kBytes = Blocks::kBytes;
  const size_t span = 2 * hn::Lanes(F32Tag()) * kBytes, rest = (half - slot) * kBytes;
  HWY_ALIGN std::byte x[4 * kMaxLanes * sizeof(float)];
  std::fill(x, x + 2 * span, std::byte{0x3F});  // 2^-63 <= 3f3f < 2^65 in bf16
  const size_t first = slot * kBytes * (kInterleaved ? 2 : 1), second = (slot + half) * kBytes;
  if (kInterleaved) {
    std::memcpy(x, from + first, 2 * rest);
  } else {
    std::memcpy(x, from + first, rest);
    std::memcpy(x + span, from + second, rest);
  }
  Blocks::Rotate2N(table, slot, x, x + span, false, x, x + span);
  if (kInterleaved) {
    std::memcpy(to + first, x, 2 * rest);
  } else {
    std::memcpy(to + first, x, rest);
    std::memcpy(to + second, x + span, rest);
  }
}

// Every head of one token.
template <class Blocks, bool kInterleaved>
HWY_INLINE void RotateToken(const RopePlan& plan, const RopeTable& table, int64_t b, int64_t s) {
  constexpr size_t kBytes = Blocks::kBytes;
  const size_t block = 2 * hn::Lanes(F32Tag()), half = plan.Half();
  const size_t rest = plan.in.shape[3] - 2 * half;
  for (int64_t h = 0; h < plan.in.shape[2]; ++h) {
    const std::byte* from = plan.in.Row(b, s, h);
    std::byte* to = plan.out.Row(b, s, h);
    size_t i = 0;
    for (; i + block <= half; i += block) {
      const size_t first = (kInterleaved ? 2 * i : i) * kBytes;
      const size_t second = (kInterleaved ? 2 * i + block : i + half) * kBytes;
      PrefetchAhead(from + first);
      PrefetchAhead(from + second);
      Blocks::Rotate2N(table, i, from + first, from + second, plan.stream, to + first, to + second);
    }
    if (i < half) RotateRest<Blocks, kInterleaved>(table, i, half, from, to);
    if (rest > 0) CopyRow(plan.in.dtype, from + 2 * half * kBytes, rest, to + 2 * half * kBytes);
  }
}

// Tokens [begin, end), counted so that those of one index s in all b follow each other: they often
// share a position, and then the table.
template <class Blocks, bool kInterleaved>
HWY_NOINLINE void RotateTokens(const RopePlan& plan, int64_t begin, int64_t end) {
  const int64_t B = plan.in.shape[0], S = plan.in.shape[1];
  RopeTable table(plan);
  int64_t filled = 0;
  for (int64_t token = begin; token < end; ++token) {
    const int64_t b = token % B, s = token / B, position = plan.positions[b * S + s];
    if (token == begin || position != filled) FillTable(plan, position, table);
    filled = position;
    RotateToken<Blocks, kInterleaved>(plan, table, b, s);
  }
  EndOfStream(plan.stream);
}

template <bool kInterleaved, RopeApply kApply>
HWY_INLINE void RotateTokensOf(const RopePlan& plan, int64_t begin, int64_t end) {
  switch (plan.in.dtype) {
    case DType::kBF16:
      return RotateTokens<HalfWordBlocks<BF16Lanes, kInterleaved, kApply>, kInterleaved>(
          plan, begin, end);
    case DType::kF16:
      return RotateTokens<HalfWordBlocks<F16Lanes, kInterleaved, kApply>, kInterleaved>(plan, begin,
                                                                                        end);
    default:
      return RotateTokens<FloatBlocks<kInterleaved, kApply>, kInterleaved>(plan, begin, end);
  }
}

template <bool kInterleaved>
HWY_INLINE void RotateTokensBy(const RopePlan& plan, int64_t begin, int64_t end) {
  switch (plan.recipe.apply) {
    case RopeApply::kThreeRoundings:
      return RotateTokensOf<kInterleaved, RopeApply::kThreeRoundings>(plan, begin, end);
    case RopeApply::kF32:
      return RotateTokensOf<kInterleaved, RopeApply::kF32>(plan, begin, end);
    case RopeApply::kF32FmaX1:
      return RotateTokensOf<kInterleaved, RopeApply::kF32FmaX1>(plan, begin, end);
  }
}

void RopeTokens(const RopePlan& plan, int64_t begin, int64_t end) {
  if (plan.Interleaved()) {
    RotateTokensBy<true>(plan, begin, end);
  } else {
    RotateTokensBy<false>(plan, begin, end);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
