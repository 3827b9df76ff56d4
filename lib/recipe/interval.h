// What a contract leaves open for each output element, as the engines hand it to the verdict.
#ifndef BITANCHOR_LIB_RECIPE_INTERVAL_H_
#define BITANCHOR_LIB_RECIPE_INTERVAL_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "lib/problem/attention_problem.h"
#include "lib/recipe/contract.h"

namespace bitanchor {

inline constexpr size_t kImagined = 8;

// Admissible answers of one element, ends included, both values of the output's format.
//   low <= high    those numbers
//   low is NaN     NaN, and nothing else
//   low > high     undetermined: no evidence decides (an intermediate may overflow, conventions
//   differ)
struct Interval {
  double want;  // the exact centre; NaN where undetermined
  float low, high;
  // What systematic errors are measured by (lib/verdict/bias.h): the sum of the absolute values of
  // what adds up to `want`, for o sum_j p_j |v_jd|, 0 where it is not measured; and d want / d log
  // softmax_scale, for o sum_j p_j (t_j - mean t)(v_jd - want).
  float size = 0, scale_slope = 0;
  float magnitude = 0;  // of o sum_j p_j |v_jd|, measured or not
  // What f32 operations that always round toward zero, or always downward, may take from `want`.
  float lost_inward = 0, lost_downward = 0;
  // The errors, before the last rounding, of right kernels that round scores and weights to 16 bits
  // as the contract lets them (lib/exact/rounded_weights.h).
  std::array<float, kImagined> imagined = {};
};

inline constexpr Interval kUndeterminedInterval = {std::numeric_limits<double>::quiet_NaN(),
                                                   std::numeric_limits<float>::infinity(),
                                                   -std::numeric_limits<float>::infinity()};
inline constexpr Interval kNaNInterval = {std::numeric_limits<double>::quiet_NaN(),
                                          std::numeric_limits<float>::quiet_NaN(),
                                          std::numeric_limits<float>::quiet_NaN()};

// Whether an answer is admissible, or nothing decides.
inline bool Admits(const Interval& interval, float got) {
  if (std::isnan(interval.low)) return std::isnan(got);
  if (interval.low > interval.high) return true;
  return interval.low <= got && got <= interval.high;
}

// Of an interval of LSE: whether its row sees no key.
inline bool OfEmptyRow(const Interval& lse) { return std::isinf(lse.want) && lse.want < 0; }

// What the intervals of attention are made from. q and k of `problem` are the centre (already
// rotated); how far each element may be from it, where the rotation itself was the kernel's: F32
// tensors of q's and k's shape, or absent.
struct IntervalProblem {
  AttentionProblem problem;
  TensorView q_deviation, k_deviation;
  DType o_dtype = DType::kF32;
  bool measure_bias = true;  // false: what only bias is measured by need not be known
};

// The intervals of one block of queries [q0, q0 + nq) of one head.
struct IntervalBlock {
  std::vector<Interval> o;    // [nq, D]
  std::vector<Interval> lse;  // [nq]
};

// Terms of the interval that depend on the row's number of visible keys and runs of them only; see
// lib/NUMERICS.md, "The interval". Shared constants, not arithmetic on tensors.
struct RowTerms {
  double shared;            // relative (log) error of a weight beyond its score's: exp, rescales
  double numerator;         // relative error of a weight times value in the numerator only: P, sum
  double sum;               // the part of it that is not the rounding of P
  double unit;              // the part of that which a matrix unit may make
  double depth;             // relative error of the row sum
  double finish;            // relative error of the normalisation
  double weight_absolute;   // of a weight, numerator and row sum alike
  double product_absolute;  // of the whole numerator
};
RowTerms TermsOf(const Contract& contract, int64_t visible_keys, int64_t runs);

// Relative error of a dot product over the head dimension and what it is multiplied with, to the
// sum of its terms' magnitudes.
double ProductError(const Contract& contract, int64_t head_dim);

// Relative error of a sum of so many terms that form so many runs, to the sum of their magnitudes:
// of products, which a matrix unit may add up, or by f32 operations alone.
double ProductSumError(const Contract& contract, int64_t addends, int64_t runs);
double SumError(const Contract& contract, int64_t addends);

// A matrix unit aligns subnormal factors as if they were normal, so in the error of a product a
// factor that is not 0 counts as this at the least.
double LeastFactor(const Contract& contract, DType dtype);
inline double Factor(double magnitude, double least) {
  return magnitude > 0 && magnitude < least ? least : magnitude;
}

// One rounding to a format: |error| <= relative |x| + absolute. A kernel may flush subnormal
// results of bf16 and f32.
struct OutputRounding {
  double relative, absolute;
};
OutputRounding RoundingOf(DType dtype);

// Rounds [low, high] to the output format, nearest-even, which is monotone: a kernel's value before
// its one rounding lies in [low, high], so its answer lies between the rounded ends.
Interval RoundedInterval(DType dtype, double want, double low, double high);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_RECIPE_INTERVAL_H_
