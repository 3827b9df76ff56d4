// The exact scores and weights of one query row, and how far a conforming kernel's may be from
// them: what the intervals of every output start from. Symbols as in lib/NUMERICS.md, "The
// interval".
#ifndef BITANCHOR_LIB_EXACT_SCORE_ROW_H_
#define BITANCHOR_LIB_EXACT_SCORE_ROW_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "lib/recipe/interval.h"

namespace bitanchor::exact {

constexpr double kMostLogError = 32;
constexpr double kMayOverflow = 0x1p126;  // f32 intermediates beyond this may have become Inf
constexpr double kMayOverflowF16 = 65504;

// What a kernel, or its matrix unit, may lose of a factor x by flushing it to zero.
inline double Lost(const Contract& contract, double x) {
  return std::fabs(x) < std::max(0x1p-126, contract.unit.flush) ? std::fabs(x) : 0.0;
}

// |x| as it enters the error of a product that is `relative` to its size: larger by what flushing
// may lose of x.
inline double Magnitude(const Contract& contract, double x, double relative) {
  const double lost = Lost(contract, x);
  return lost == 0 ? std::fabs(x) : std::fabs(x) + lost / relative;
}

// An element of IntervalProblem's deviations; 0 where there are none.
inline double DeviationAt(const TensorView& tensor, int64_t b, int64_t s, int64_t h, int64_t d) {
  return tensor ? static_cast<double>(tensor.At(b, s, h, d)) : 0.0;
}

struct Score {
  double t, x;       // scale q.k and the bound of its error
  double magnitude;  // scale sum |q||k|, or the sum alone if that is larger: of intermediates
  bool overflows;    // that, or a score that is rounded to f16, may be too large
};

Score ScoreOf(const IntervalProblem& problem, const Contract& contract, int64_t b, int64_t h,
              int64_t i, int64_t j);

// How far below the maximum a kernel's reference may be, in units of log weight.
double Staleness(const Contract& contract);

// The error of exp's argument t - reference, and of a sequence of references that led there:
// differences from the running maximum add up to the distance; a folded log2(e) and the reference's
// own rounding are relative to the larger of the two. Where the running maximum may be stale, it is
// `staleness` further away at either end.
double ArgumentError(const Contract& contract, double t, double reference, double staleness = 0);

double Expm1Bound(double y);  // >= e^y - 1 for y in [0, 64]

struct Key {
  int64_t j;
  Score score;
  double w, y;  // weight exp(t - m), and the bound of its relative (log) error
};

// How a row can be other than ordinary.
enum class RowKind {
  kOrdinary,
  kEmpty,         // no key is visible
  kNaN,           // a score is NaN or +Inf in every order of evaluation
  kUndetermined,  // a score may overflow, or all are -Inf: kernels differ
};

struct ScoreRow {
  RowKind kind = RowKind::kOrdinary;
  std::vector<Key> keys;                                // the visible ones, ascending
  double m = -std::numeric_limits<double>::infinity();  // largest score
  RowTerms terms;
  // False: some weight is not known to a factor of e^kMostLogError, or their sum may vanish, so the
  // bounds below say nothing.
  bool useful = true;
  // Sums of weights: exact; at most; at least. The kernel's is between low and high but for the
  // rounding of the sum itself (terms.depth).
  double l = 0, high = 0, low = 0;
  // In units of w, at most: a kernel's weight of 1; what it makes of P = 1 before it rounds that.
  double weight_unit = 1, rounded_unit = 1;

  // Absolute errors in units of w: of every weight; of a weight where it is multiplied with v; of
  // the numerator.
  double WeightAbsolute() const { return terms.weight_absolute * weight_unit; }
  double RoundedAbsolute(const Contract& contract) const;
  double ProductAbsolute() const {
    return terms.product_absolute * std::max(weight_unit, rounded_unit);
  }
};

ScoreRow ScoresOf(const IntervalProblem& problem, const Contract& contract, int64_t b, int64_t h,
                  int64_t i);

// The log-sum-exp of an ordinary, useful row: the exact one, and how far below and above it a
// kernel's may be before its last rounding; `finish` is the part of both that comes after the sum.
struct LseBound {
  double want, below, above, finish;
};
LseBound LseOf(const ScoreRow& row, const Contract& contract);

}  // namespace bitanchor::exact

#endif  // BITANCHOR_LIB_EXACT_SCORE_ROW_H_
