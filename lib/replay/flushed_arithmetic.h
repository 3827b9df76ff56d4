// f32 arithmetic as CUDA code has it that is compiled with -ftz=true (which -use_fast_math
// implies): one rounding to nearest-even, and subnormal operands and results are zeros of their
// sign. A result is subnormal if it is so after rounding. Of sets: the hull of what the operation
// makes of their numbers; the operations are monotone in every operand, so that the ends decide.
#ifndef BITANCHOR_LIB_REPLAY_FLUSHED_ARITHMETIC_H_
#define BITANCHOR_LIB_REPLAY_FLUSHED_ARITHMETIC_H_

#include "lib/replay/admissible.h"

namespace bitanchor::replay {

inline float Flush(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }

Admissible Flush(const Admissible& x);
Admissible Add(const Admissible& x, const Admissible& y);
Admissible Subtract(const Admissible& x, const Admissible& y);
Admissible Multiply(const Admissible& x, const Admissible& y);
Admissible Fma(const Admissible& x, const Admissible& y, const Admissible& z);  // x y + z
Admissible Divide(const Admissible& x, const Admissible& y);
// fmaxf: a NaN is passed over.
Admissible Max(const Admissible& x, const Admissible& y);
Admissible Negative(const Admissible& x);

}  // namespace bitanchor::replay

#endif  // BITANCHOR_LIB_REPLAY_FLUSHED_ARITHMETIC_H_
