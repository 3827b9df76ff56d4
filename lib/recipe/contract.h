// Contracts: what a class of kernels is allowed to do differently from real arithmetic. Data; the
// interval that follows from it is lib/exact's business and derived in lib/NUMERICS.md, section 5.
#ifndef BITANCHOR_LIB_RECIPE_CONTRACT_H_
#define BITANCHOR_LIB_RECIPE_CONTRACT_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "lib/tensor/dtype.h"

namespace bitanchor {

// A unit that adds groups of L products of 16-bit numbers to an f32 accumulator: it truncates every
// term, the accumulator among them, toward zero to a multiple of 2^(E - F), E the largest exponent
// of the terms, and their sum to f32. Others have other terms: lib/matrix_unit/error_bound.h.
struct MatrixUnit {
  int64_t products = 0;       // L; 0: products are summed by f32 operations alone
  int64_t fraction_bits = 0;  // F; 0: no term is truncated
  double rounding = 0x1p-23;  // of a group's sum, relative
  double product = 0;         // of every product, relative, in whichever group
  double flush = 0;           // factors below this are zeros
};

// Every error is relative, and a bound, unless something else is said. lib/file/contract_file.h
// reads one from JSON, each field under its name here.
struct Contract {
  std::string name;
  std::string says;           // its freedoms in a line
  std::string source;         // where they come from: a paper, a document, a project's file
  DType dtype = DType::kF32;  // of inputs and output; default contract of captures with this dtype

  // One f32 operation: 2^-23 admits any faithful rounding, 2^-24 only rounding to nearest.
  double operation = 0x1p-23;
  // A sum over n visible keys of weights times values, in any order, is of depth depth_base + n /
  // depth_keys beyond what a matrix unit adds; that of the weights depth_base + n / row_sum_keys;
  // a score, over the head dimension, 4 + D / dot_dims.
  double depth_base = 0, depth_keys = 1, row_sum_keys = 1, dot_dims = 1;
  MatrixUnit unit;  // besides: of scores and of weights times values

  double exp_error = 0;          // of a weight (normal results)
  double rescale_exp_error = 0;  // of the factor of a rescaling
  // Online softmax: at most n / rescale_keys + 2 per run of visible keys rescalings. 0: none, the
  // maximum is known first.
  double rescale_keys = 0;
  // The maximum that weights are relative to may be this much too small, in units of log 2 of a
  // weight, where a kernel skips a rescaling.
  double stale_log2 = 0;
  double log_error = 0;  // of log l, relative to max(1, |log l|)

  // A score is rounded to a 16-bit type, after the product and again after the scale: what both
  // come to, and an absolute term per rounding. 0: it stays in f32.
  double score_rounding = 0, score_absolute = 0;
  // Rounding P before P.V: unit roundoff and absolute term per weight (subnormal weights). A kernel
  // that does not round conforms as well. normalise_first: P is divided by the row sum before that.
  double weight_rounding = 0, weight_absolute = 0;
  bool normalise_first = false;

  double flush = 0x1p-126;  // a subnormal intermediate may become zero: the largest number lost
  double libm_ulp = 2;      // sin and cos of RoPE, where the capture lacks the rotated tensors
  // Backward, the running sum of a gradient may be kept in the output's type between tiles: of so
  // many keys for dq; for dk and dv of queries, see GradientQueryTile.
  int64_t gradient_key_tile = 512;
  int64_t gradient_query_tile_least = 32, gradient_query_tile_most = 256, gradient_query_tiles = 12;
  // A systematic error of o is no fault up to so many units of roundoff of the output's type, nor
  // up to what BiasFloor adds from the other fields.
  double bias_floor = 0.02;

  // A power of two, so that a kernel's tiles consist of whole ones of these.
  int64_t GradientQueryTile(int64_t queries) const;
  double Depth(double keys) const { return depth_base + keys / depth_keys; }
  double RowSumDepth(double keys) const { return depth_base + keys / row_sum_keys; }
  // Error of the unit's groups over n products, relative to the sum of their magnitudes: (k + 1)
  // 2^-F and a rounding for each group with k products, and what every product loses by itself.
  // First order. 0: no unit.
  double UnitError(double n, double groups) const;
  // A copy for kernels on another unit, which may flush numbers up to `absolute`; its name is
  // "<name>/<unit_name>".
  Contract On(const MatrixUnit& other, double absolute, std::string_view unit_name) const;
  // In units of roundoff `u` of the output's type, for rows of up to so many visible keys: what
  // sums may lose by rounding always the same way (half of each last place in the mean, of a unit
  // that truncates too; scores, that unit's over 256 dimensions where three quarters cancel), and
  // an exp that errs to one side, for some of the keys, and so as to move what P is rounded to.
  double BiasFloor(int64_t visible_keys, double u) const;
  // What sums over so many keys lose, relative, in the mean, by rounding always the same way.
  double SumBias(int64_t keys) const;
  // Of lse, absolute: what the row sum and scores may lose, and an exp that is off one way.
  double LseBiasFloor(int64_t visible_keys) const;
};

std::span<const Contract> Contracts();
const Contract* FindContract(std::string_view name);  // nullptr: no such contract
const Contract& DefaultContract(DType dtype);         // flash-<dtype>

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_RECIPE_CONTRACT_H_
