// How far a unit's answer may be from the real number c + a . b.
#ifndef BITANCHOR_LIB_MATRIX_UNIT_ERROR_BOUND_H_
#define BITANCHOR_LIB_MATRIX_UNIT_ERROR_BOUND_H_

#include <cstdint>
#include <span>

#include "lib/matrix_unit/model.h"
#include "lib/number/unpacked.h"

namespace bitanchor::matrix_unit {

// An upper bound of |d - (c + a . b)| for one group of at most L products, d being the unit's
// answer under any of the model's readings; c and d: bits in result.storage. Of a truncated sum:
// 2^(E-F) a term that is not zero, and an ulp of d (half of one to nearest). Infinite where d is
// not finite.
double GroupErrorBound(const Model& model, const Result& result, std::span<const Unpacked> a,
                       std::span<const Unpacked> b, uint32_t c, uint32_t d);

// The same for ChainedDotAdd without slices: the sum over its groups, the largest of the readings'.
double ErrorBound(const Model& model, const Result& result, std::span<const Unpacked> a,
                  std::span<const Unpacked> b, uint32_t c);

}  // namespace bitanchor::matrix_unit

#endif  // BITANCHOR_LIB_MATRIX_UNIT_ERROR_BOUND_H_
