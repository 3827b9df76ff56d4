// How far a unit's answer may be from the real number c + a . b: for given operands, and as a share
// of their magnitudes.
#ifndef BITANCHOR_LIB_MATRIX_UNIT_ERROR_BOUND_H_
#define BITANCHOR_LIB_MATRIX_UNIT_ERROR_BOUND_H_

#include <cstdint>
#include <span>
#include <string_view>

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

// What f32 results lose, whatever the operands. Over n products in G groups, S being the sum of the
// magnitudes of c and of all products, in which a factor that is not 0 counts as the least normal
// number of model.operand at the least:
//   |d - (c + a . b)| <= gamma(n cut + G (cut + rounding) + product) S + the products with a factor
//                        below `flush` + 4 (n + 1) absolute,     gamma(z) = e^z - 1
// Derived in lib/NUMERICS.md, section 8.
struct ErrorTerms {
  int products = 1;       // L
  int fraction_bits = 0;  // F: cut = 2^-F; 0: nothing is truncated, cut = 0
  double rounding = 0;    // of a group's result, and of what is cut off sums on the way to it
  double product = 0;     // of every product, in whichever group
  double flush = 0;       // factors below this are zeros
  double absolute = 0;    // of results and sums next to f32's least numbers
};
ErrorTerms ErrorTermsOf(const Model& model);

// Of all the unit's models for tensors of this type the greatest of each term, and the least L;
// products 0: there is no such model.
ErrorTerms ErrorTermsOf(std::string_view unit, DType dtype);

}  // namespace bitanchor::matrix_unit

#endif  // BITANCHOR_LIB_MATRIX_UNIT_ERROR_BOUND_H_
