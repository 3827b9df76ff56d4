// The slow halves of the elementary functions: double-double, relative error below 2^-90.
#ifndef BITANCHOR_LIB_NUMBER_ELEMENTARY_ACCURATE_H_
#define BITANCHOR_LIB_NUMBER_ELEMENTARY_ACCURATE_H_

#include "lib/number/double_double.h"

namespace bitanchor::number::accurate {

DoubleDouble Exp(DoubleDouble x);              // -200 <= x <= 200
DoubleDouble Exp2(double x);                   // -200 <= x <= 200
DoubleDouble Log(double x);                    // x an f32 > 0
DoubleDouble Sin(float x, int quarter_turns);  // sin(x + quarter_turns pi/2), x finite

}  // namespace bitanchor::number::accurate

#endif  // BITANCHOR_LIB_NUMBER_ELEMENTARY_ACCURATE_H_
