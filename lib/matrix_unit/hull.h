// The least and the greatest answer of a unit where operands are not known to the bit.
#ifndef BITANCHOR_LIB_MATRIX_UNIT_HULL_H_
#define BITANCHOR_LIB_MATRIX_UNIT_HULL_H_

#include <cstdint>
#include <span>

#include "lib/matrix_unit/model.h"
#include "lib/number/unpacked.h"

namespace bitanchor::matrix_unit {

// Bits in result.storage. A NaN: both are.
struct Hull {
  uint32_t low = 0, high = 0;
};

// One group of at most L products: over every c from c.low to c.high, every a[k] in {a_low[k],
// a_high[k]} and every reading of the model. A truncated sum is monotone in c as long as E stays,
// so the ends of each stretch of c with one E suffice. Where a set is too large to be gone through
// (more than 8 elements of a with two values) it is wider than need be, by the group's error bound,
// never narrower. Arithmetic: kTruncatedSum alone (asserted).
Hull DotAddHull(const Model& model, const Result& result, std::span<const Unpacked> a_low,
                std::span<const Unpacked> a_high, std::span<const Unpacked> b, Hull c);

}  // namespace bitanchor::matrix_unit

#endif  // BITANCHOR_LIB_MATRIX_UNIT_HULL_H_
