// cos and sin in f64 of angles that f64 cannot hold: a position of 2^20 times a frequency has 73
// digits.
#ifndef BITANCHOR_LIB_NUMBER_COS_SIN_F64_H_
#define BITANCHOR_LIB_NUMBER_COS_SIN_F64_H_

#include "lib/number/double_double.h"

namespace bitanchor::number {

struct CosSin {
  double c, s;
};

// Of hi + lo, |hi| < kMostAngle: the same bits on every machine, absolute error below 2^-51. NaN of
// any other hi. Needs round to nearest.
inline constexpr double kMostAngle = 0x1p33;
CosSin CosSinF64(DoubleDouble angle);

}  // namespace bitanchor::number

#endif  // BITANCHOR_LIB_NUMBER_COS_SIN_F64_H_
