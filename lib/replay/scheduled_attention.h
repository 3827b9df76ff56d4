// Attention as a schedule computes it on its GPU: the definition, one query at a time.
//
// For query n of a sequence (lib/replay/sequences.h) of Sq queries and Skv keys, with tile (Tq, Tk)
// and c = RN_f32(scale * M_LOG2E) (f64 product), over the tiles of keys T that the kernel visits
// (causal: those up to query tile floor(n / Tq)'s last query, at its corner), in the schedule's
// order:
//   s_j = unit(q . k_j) from +0, groups of the unit ascending       masked, or no such key: -inf
//   M'  = max(M, max_j s_j)      (NaN is passed over)               M at first: NaN
//   M_c = RN(M' c), or 0 where M' = -inf
//   f   = exp2(RN(RN(M - M') c)), with M' as 0 where it is -inf     not in the first tile
//   p_j = exp2(RN(s_j c - M_c))                                     ExpArgument
//   l_t = RN(l_t f + p_j), RN(l_t + p_j) ...                        RowSum; first tile: p_j, ...
//   o   = RN(o f)                                                   not in the first tile
//   o   = unit(RN_in(p_j) . v_j) from o, groups ascending           masked keys with p = +0,
//                                                                   keys past the last with v = +0
// and l = (l_0 + l_2) + (l_1 + l_3), r = rcp(l), or 1 where l is 0 or NaN,
//   out = RN_out(RN_f32(o r))      lse = RN(M scale + RN(log2(l) ln 2)), +inf where l is 0 or NaN
// the sum for lse being fused on either product, or not at all: any of the three is admissible.
// `unit` is matrix_unit::ChainedDotAdd of the schedule's unit for q's dtype. A sequence none of
// whose keys a query's tile sees: out = +0, lse = +inf.
//
// Every RN of f32 is as CUDA code has it that is compiled with -use_fast_math, hence -ftz=true:
// subnormal operands and results are zeros (lib/replay/flushed_arithmetic.h), in max too. The unit
// and the conversions to 16 bits keep subnormals. M' = -inf counts as 0 in f only in the causal
// kernel's masked tiles (Sequence::MaskedTiles); elsewhere -inf - -inf makes f NaN, which takes
// infinite scores. A masked key's V is multiplied all the same: by p = +0, so Inf and NaN make NaN.
// NaN out: any NaN, here the canonical one.
//
// exp2, rcp and log2 are sets (lib/replay/special_functions.h), and some corners of a unit are
// (its readings); so every value is a set too, kept as its least and greatest f32: operations are
// monotone in every operand, but for the unit's, whose hull is matrix_unit::DotAddHull's. A set of
// one number is *pinned*: any GPU within the sets gives these bits.
#ifndef BITANCHOR_LIB_REPLAY_SCHEDULED_ATTENTION_H_
#define BITANCHOR_LIB_REPLAY_SCHEDULED_ATTENTION_H_

#include <cstdint>
#include <vector>

#include "lib/problem/attention_problem.h"
#include "lib/recipe/schedule.h"
#include "lib/replay/admissible.h"
#include "lib/replay/sequences.h"
#include "lib/replay/special_functions.h"

namespace bitanchor::replay {

// o: numbers of q's dtype, as f32. lse: natural, scaled; +inf where no key is visible, as the
// kernel writes it.
struct ScheduledRow {
  std::vector<Admissible> o;  // [D]
  Admissible lse;
};

// c: what the kernels multiply scores by.
float ExponentScale(float softmax_scale);

// Query `n` of the sequence (an index into its queries), head h. q and k are used as they are. The
// schedule's unit has a model for q's dtype, of truncated sums (asserted).
ScheduledRow AnswerOf(const AttentionProblem& problem, const Schedule& schedule,
                      const SpecialFunctions& functions, const Sequence& sequence, int64_t h,
                      int64_t n);

}  // namespace bitanchor::replay

#endif  // BITANCHOR_LIB_REPLAY_SCHEDULED_ATTENTION_H_
