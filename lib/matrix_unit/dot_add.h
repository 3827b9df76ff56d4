// What a GPU's matrix unit answers: the definition, one element at a time, in integers.
//
// Notation. A term is s 2^e with e = max(floor(log2 |term|), least exponent of its format), so that
// a subnormal has |s| < 1; a product's e is the sum of its factors', so that |s| < 4, and is not
// renormalised. E is the largest e of the terms that are not zero. trunc_q and floor_q round to a
// multiple of 2^q toward zero and downward. RN and RZ round to the result's format to nearest-even
// and toward zero.
//
//   kTruncatedSum
//       R(sum over all terms, c among them, of trunc_(E-F)(term))
//       R = RZ to f32 or E8M13, RN to f16
//   kTruncatedHalves
//       d1 = TruncatedSum from +0 of the products k mod 4 in {0, 1}
//       d2 = TruncatedSum from d1 of the others
//       RN(d2 + c)
//   kExactSum
//       RN(c + sum of the products)
//   kFlushedPairs
//       c + (p0 + p1), or c + ((p0 + p1) + (p2 + p3))
//       * and + round by RN, then numbers below 2^-126 become zeros of their sign; subnormal
//       factors and a subnormal c become +0 first
//   kTruncatedThenC
//       T = sum of trunc_(E-F)(product), E of the products alone
//       e = max(E, e_c), where e_c = -126 of c = 0
//       RN(floor_(e-F2)(T) + floor_(e-F)(c))
//   kTruncatedParities
//       T_even, T_odd like that T, E the larger of their two
//       T = floor_(E-F)(T_even) + floor_(E-F)(T_odd)
//       then the same, but c counts as 0 where e_c < e - F - 1
//   kFMA
//       RN(a b + c)
//
// NaN where an operand is NaN, of Inf * 0 and of Inf - Inf: the unit's own. Results too large are
// infinite, of RZ as well. A sum that is zero is +0, but for kFlushedPairs, kFMA and the last sum
// of kTruncatedHalves, which are IEEE operations. A group that lacks products has zeros instead.
#ifndef BITANCHOR_LIB_MATRIX_UNIT_DOT_ADD_H_
#define BITANCHOR_LIB_MATRIX_UNIT_DOT_ADD_H_

#include <cstdint>
#include <span>

#include "lib/matrix_unit/model.h"
#include "lib/number/unpacked.h"

namespace bitanchor::matrix_unit {

// What the unit takes an element of a or b as, given its bits in model.format.
Unpacked Operand(const Model& model, uint32_t bits);

// c + a . b for one group of at most L products under one reading of the model. c and the answer:
// bits in result.storage, result being one of the model's. `corner` becomes true where the model's
// readings might differ on it, and stays as it is otherwise.
uint32_t DotAdd(const Model& model, const Result& result, const Reading& reading,
                std::span<const Unpacked> a, std::span<const Unpacked> b, uint32_t c, bool& corner);

struct Prediction {
  uint32_t bits = 0;       // in result.storage; by the first reading
  bool determined = true;  // whether all readings give these bits
};

// c + a . b for any number of products: groups of L in ascending order, each adding to the last
// one's result. With slices > 1 the groups are cut into that many runs of equal length (the last
// may be shorter), the first starting from c, the others from +0, and their results are added in
// ascending order, each sum rounded to f32 by nearest-even; the last of all to the result's
// storage. slices: at most the number of groups.
Prediction ChainedDotAdd(const Model& model, const Result& result, std::span<const Unpacked> a,
                         std::span<const Unpacked> b, uint32_t c, int64_t slices = 1);

// The number of groups of so many products, at least 1.
int64_t Groups(const Model& model, int64_t products);

}  // namespace bitanchor::matrix_unit

#endif  // BITANCHOR_LIB_MATRIX_UNIT_DOT_ADD_H_
