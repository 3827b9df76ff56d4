// cos and sin of one position, by vectors, in the order in which the rotation's lanes want them.

#if defined(BITANCHOR_SIMD_ROPE_TABLE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_ROPE_TABLE_INL_H_
#undef BITANCHOR_SIMD_ROPE_TABLE_INL_H_
#else
#define BITANCHOR_SIMD_ROPE_TABLE_INL_H_
#endif

#include <algorithm>

#include "lib/problem/attention_problem.h"
#include "simd/convert-inl.h"
#include "simd/lanes-inl.h"
#include "simd/rope_plan.h"
#include "simd/sincos-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

constexpr size_t kMaxSlots = kMaxHeadDim / 2 + 2 * kMaxLanes;

// A block is 2N rotary pairs in 2N slots. Two spans of 2N elements hold it in memory: with
// half-split pairs the first elements and the second ones, interleaved the first N pairs and the
// last N. This says which pair each slot of a block holds; rope-inl.h loads them so.
HWY_INLINE size_t PairInSlot(size_t element_bytes, bool interleaved, size_t slot) {
  const size_t N = hn::Lanes(F32Tag());
  const size_t lane = slot % N, upper = slot / N;
  if (element_bytes == 2) return interleaved ? slot : 2 * lane + upper;  // even, then odd elements
  if (!interleaved || BITANCHOR_ONE_LANE) return slot;
  return upper * N + lane / 2 +
         lane % 2 * (N / 2);  // pairs of one vector, then of the next, in turn
}

struct RopeTable {
  HWY_ALIGN float c[kMaxSlots], s[kMaxSlots];
  HWY_ALIGN float c_split[kMaxSlots], s_split[kMaxSlots];  // times 2^16 + 1, where `ordinary`
  HWY_ALIGN float operand[kMaxSlots];
  HWY_ALIGN float iterated[kMaxSlots];  // where the rule is to iterate: angles of this position
  size_t pair[kMaxSlots];
  size_t slots;           // [whole blocks]; those past the last pair repeat it
  bool ordinary = false;  // bf16: every |c| and |s| lies in [2^-32, 2^4)

  explicit RopeTable(const RopePlan& plan) {
    const size_t block = 2 * hn::Lanes(F32Tag()), half = plan.Half();
    slots = (half + block - 1) / block * block;
    for (size_t slot = 0; slot < slots; ++slot) {
      const size_t in_block =
          PairInSlot(DTypeBytes(plan.in.dtype), plan.Interleaved(), slot % block);
      pair[slot] = std::min(slot / block * block + in_block, half - 1);
      operand[slot] = plan.config.cos.empty() ? plan.operands[pair[slot]] : 0.0f;
    }
  }
};

HWY_INLINE F32 RoundStage(StageFormat to, F32 v) {
  if (to == StageFormat::kBF16) return RoundToBF16(v);
  if (to == StageFormat::kF16) return RoundToF16(v);
  return to == StageFormat::kTF32 ? RoundToTF32(v) : v;
}

// One pair after the other: a chain of products that lanes cannot share.
HWY_NOINLINE inline void IterateAngles(const RopePlan& plan, float p, RopeTable& table) {
  HWY_ALIGN float angle[kMaxHeadDim / 2];
  angle[0] = p;
  const size_t half = static_cast<size_t>(plan.Half());
  for (size_t i = 1; i < half; ++i) angle[i] = angle[i - 1] * plan.operands[i];
  for (size_t slot = 0; slot < table.slots; ++slot) {
    table.iterated[slot] = angle[table.pair[slot]];
  }
}

// The angle's rule in f32, then its format. The product of two bf16, tf32 or f16 values is exact in
// f32, also below its normal numbers: positions are integers, so that the product is a multiple of
// the frequency's last place, 2^-136 or more.
HWY_INLINE F32 Angle(const RopePlan& plan, const RopeTable& table, float p, size_t slot) {
  const F32Tag d;
  if (plan.recipe.rule == AngleRule::kIterated) {
    return RoundStage(plan.angle, hn::Load(d, table.iterated + slot));
  }
  const F32 position = hn::Set(d, p), operand = hn::Load(d, table.operand + slot);
  if (plan.recipe.rule == AngleRule::kDivision) {
    return RoundStage(plan.angle, hn::Div(position, operand));
  }
  return RoundStage(plan.angle, hn::Mul(position, operand));
}

HWY_NOINLINE inline void FillTable(const RopePlan& plan, int64_t position, RopeTable& table) {
  const F32Tag d;
  const size_t N = hn::Lanes(d);
  const float p = RoundTo(plan.operand, static_cast<double>(position));
  const bool given = !plan.config.cos.empty();
  if (!given && plan.recipe.rule == AngleRule::kIterated) IterateAngles(plan, p, table);
  F32Mask ordinary = hn::Eq(hn::Zero(d), hn::Zero(d));
  for (size_t slot = 0; slot < table.slots; slot += N) {
    F32 c, s;
    if (given) {
      for (size_t i = slot; i < slot + N; ++i) {
        const size_t at = static_cast<size_t>(position * plan.Half()) + table.pair[i];
        table.c[i] = plan.config.cos[at];
        table.s[i] = plan.config.sin[at];
      }
      c = hn::Load(d, table.c + slot);
      s = hn::Load(d, table.s + slot);
    } else {
      SinCos(Angle(plan, table, p, slot), s, c);
      c = hn::Mul(c, hn::Set(d, plan.factor));
      s = hn::Mul(s, hn::Set(d, plan.factor));
    }
    c = RoundStage(plan.table, c);
    s = RoundStage(plan.table, s);
    if (plan.direction == RopeDirection::kBackward) s = hn::Neg(s);
    hn::Store(c, d, table.c + slot);
    hn::Store(s, d, table.s + slot);
    if (plan.in.dtype != DType::kBF16) continue;
    const F32 split = hn::Set(d, 65537.0f);
    hn::Store(hn::Mul(c, split), d, table.c_split + slot);
    hn::Store(hn::Mul(s, split), d, table.s_split + slot);
    const F32 least = hn::Set(d, 0x1p-32f), most = hn::Set(d, 0x1p4f);
    const F32 c_size = hn::Abs(c), s_size = hn::Abs(s);
    ordinary = hn::And(ordinary, hn::And(hn::Ge(c_size, least), hn::Ge(s_size, least)));
    ordinary = hn::And(ordinary, hn::And(hn::Lt(c_size, most), hn::Lt(s_size, most)));
  }
  table.ordinary = plan.in.dtype == DType::kBF16 && hn::AllTrue(d, ordinary);
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
