// Where RoPE type yarn interpolates.
#ifndef BITANCHOR_LIB_RECIPE_YARN_RANGE_H_
#define BITANCHOR_LIB_RECIPE_YARN_RANGE_H_

#include "lib/problem/rope_config.h"

namespace bitanchor {

// transformers' _compute_yarn_parameters: the pairs between which it goes over from extrapolation
// to interpolation, in f64; whole numbers but where the config says not to truncate. low < high.
struct YarnRange {
  double low, high;
};

YarnRange FindYarnRange(const RopeConfig& config);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_RECIPE_YARN_RANGE_H_
