// Contracts: what a class of kernels is allowed to do differently from real arithmetic. Data; the
// interval that follows from it is lib/exact's and simd's business and derived in lib/NUMERICS.md.
#ifndef BITANCHOR_LIB_RECIPE_CONTRACT_H_
#define BITANCHOR_LIB_RECIPE_CONTRACT_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <string_view>

#include "lib/tensor/dtype.h"

namespace bitanchor {

struct Contract {
  std::string_view name;
  DType dtype;  // of inputs and output; the default contract of captures with this dtype
  // Relative error of one f32 operation: 2^-23, so that any faithful rounding conforms, not only
  // nearest.
  double operation;
  // A sum over n visible keys may be of depth depth_base + n / depth_keys, in any order.
  double depth_base, depth_keys;
  double exp_error;  // relative error of exp (normal results)
  // Online softmax: at most n / rescale_keys + 2 per run of visible keys rescalings, each with one
  // exp.
  double rescale_keys;
  double log_error;  // of log l, relative to max(1, |log l|)
  // Rounding P before P.V: unit roundoff and absolute term per weight (subnormal weights). A kernel
  // that does not round conforms as well.
  double weight_rounding, weight_absolute;
  double flush;     // a subnormal intermediate may become zero: the largest number lost
  double libm_ulp;  // sin and cos of RoPE, where the capture does not hold the rotated tensors
  // Backward, the running sum of a gradient may be kept in the output's type between tiles: of so
  // many keys for dq; for dk and dv of queries, see GradientQueryTile.
  int64_t gradient_key_tile;
  int64_t gradient_query_tile_least, gradient_query_tile_most, gradient_query_tiles;
  // A systematic error of o is no fault up to so many units of roundoff of the output's type, nor
  // up to what sums of the contract's depth may lose by rounding always the same way.
  double bias_floor;
  std::string_view says;

  // A power of two, so that a kernel's tiles consist of whole ones of these.
  int64_t GradientQueryTile(int64_t queries) const {
    const int64_t tile = std::clamp(queries / gradient_query_tiles, gradient_query_tile_least,
                                    gradient_query_tile_most);
    return static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(tile)));
  }
  double Depth(int64_t visible_keys) const {
    return depth_base + static_cast<double>(visible_keys) / depth_keys;
  }
  // The same in units of roundoff `u` of the output's type, for rows of up to so many visible keys.
  double BiasFloor(int64_t visible_keys, double u) const {
    return std::max(bias_floor, operation / 2 * Depth(visible_keys) / u);
  }
  // Of lse, absolute: what the row sum may lose, and an exp that is off one way.
  double LseBiasFloor(int64_t visible_keys) const {
    return operation / 2 * Depth(visible_keys) + exp_error;
  }
};

std::span<const Contract> Contracts();
const Contract* FindContract(std::string_view name);  // nullptr: no such contract
const Contract& DefaultContract(DType dtype);         // flash-<dtype>

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_RECIPE_CONTRACT_H_
