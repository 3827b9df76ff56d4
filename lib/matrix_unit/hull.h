// The least and the greatest answer of a unit where operands are not known to the bit.
#ifndef BITANCHOR_LIB_MATRIX_UNIT_HULL_H_
#define BITANCHOR_LIB_MATRIX_UNIT_HULL_H_

#include <cstdint>
#include <span>

#include "lib/matrix_unit/model.h"
#include "lib/number/unpacked.h"

namespace bitanchor::matrix_unit {

// Bits in result.storage, from low to high, -0 below +0. Both NaN (the unit's): NaN. `high` alone a
// NaN: anything, every number and NaN.
struct Hull {
  uint32_t low = 0, high = 0;
  bool operator==(const Hull&) const = default;
};

// One group of at most L products: over every c from c.low to c.high, every a[k] of the model's
// operand format from a_low[k] to a_high[k] and every reading of the model. A truncated sum is
// monotone in c as long as E stays, so that the ends of each stretch of c with one E suffice. a is
// gone through where its two ends are neighbours and at most 8 of them differ: then the hull is
// exact; otherwise it is wider than need be, by the group's error bound, never narrower. a_low[k]
// and a_high[k]: both NaN, or neither. Arithmetic: kTruncatedSum alone (asserted).
Hull DotAddHull(const Model& model, const Result& result, std::span<const Unpacked> a_low,
                std::span<const Unpacked> a_high, std::span<const Unpacked> b, Hull c);

}  // namespace bitanchor::matrix_unit

#endif  // BITANCHOR_LIB_MATRIX_UNIT_HULL_H_
