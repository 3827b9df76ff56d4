// What a GPU's special-function unit may answer: 2^x, 1/x and log2 x at f32 (PTX: ex2.approx.ftz,
// rcp.approx.ftz, lg2.approx.ftz). No public definition of their bits exists; NVIDIA states bounds.
// So an answer is a set, all f32 within so many ulp of the correctly rounded value, unless a table
// dumped from the very GPU says which.
//
// Subnormal operands count as zeros of their sign, subnormal results become zeros. Exact in every
// set: 2^(+-0) = 1, 2^-inf = +0, 2^inf = inf, 1/+-inf = +-0, 1/+-0 = +-inf. NaN gives NaN; so does
// log2 of a negative number; log2 of +-0 is -inf.
#ifndef BITANCHOR_LIB_REPLAY_SPECIAL_FUNCTIONS_H_
#define BITANCHOR_LIB_REPLAY_SPECIAL_FUNCTIONS_H_

#include <cstdint>
#include <span>

#include "lib/replay/admissible.h"

namespace bitanchor::replay {

// What a GPU answers to the f32 numbers whose bits are first, first + 1, ...
struct FunctionTable {
  uint32_t first = 0;
  std::span<const float> values;  // somebody else's memory
};

struct SpecialFunctions {
  int ulp = 2;  // of exp2 and reciprocal, where no table knows; 0: correctly rounded
  double log2_error = 0x1p-22;  // of log2: absolute, or relative where |log2 x| > 1; 0 with ulp 0
  FunctionTable exp2;
  // Of the numbers in [1, 2): values.size() is 0 or 2^23. Other exponents scale it.
  FunctionTable reciprocal;

  Admissible Exp2(float x) const;
  Admissible Reciprocal(float x) const;
  // With log2_error 0 correctly rounded: two neighbours where f64 cannot tell which (one in 2^22).
  Admissible Log2(float x) const;

  // Of every number of a set. Where a table knows so many of them that they are not gone through
  // (more than 4096), everything from +0 to infinity. Reciprocal: of sets of numbers above 0.
  Admissible Exp2(const Admissible& x) const;
  Admissible Reciprocal(const Admissible& x) const;
  Admissible Log2(const Admissible& x) const;
};

// One possible GPU: every function correctly rounded (log2 too).
SpecialFunctions CorrectlyRounded();

}  // namespace bitanchor::replay

#endif  // BITANCHOR_LIB_REPLAY_SPECIAL_FUNCTIONS_H_
