// One row at a time, in the order of the derivation in lib/NUMERICS.md ("The interval"), whose
// symbols are used:
//   t_j score, w_j = exp(t_j - m), y_j bound of the weight's log error, E_j = e^y_j - 1,
//   |o' - o| <= ( sum_j (w_j E_j + a)|v_j - o| + sum_j (Z w_j (1 + E_j) + a_P)|v_j|
//                 + Phi |o| sum_j w_j (1 + E_j) ) / ( (1 - Phi) sum_j w_j e^-y_j )
#include "lib/exact/attention_interval.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/exact/rounded_weights.h"
#include "lib/exact/score_row.h"
#include "lib/number/elementary.h"
#include "lib/number/float_environment.h"

namespace bitanchor::exact {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr float kInfF = std::numeric_limits<float>::infinity();
// Standard deviation of a row's scores, below which its bias is not measured: a dozen ulps of bf16
// weights, and of scores where those are rounded.
constexpr double kLeastSpread = 0.05, kLeastUlps = 12;
// Share of the output's roundoff that weights lost to their type's least number may come to; half
// the effect that a bias must have to be one (kLeastEffect in tools/judge.cc).
constexpr double kMostLost = 0x1p-13;

double MeanScore(const ScoreRow& row) {
  double mean = 0;
  for (const Key& key : row.keys) {
    if (key.w > 0) mean += key.w / row.l * key.score.t;
  }
  return mean;
}

// What scores that always round the same way may take from their weighted mean: half of the bound
// of f32 operations, whose partial sums are half as large in the mean. What the kernel's own
// rotation did to q and k is none of it: that rounds to nearest.
double ScoreLoss(const ScoreRow& row, const Contract& contract, int64_t D, double scale) {
  double size = 0;
  for (const Key& key : row.keys) {
    if (key.w > 0) size += key.w / row.l * key.score.magnitude;
  }
  return ProductError(contract, D) * size * scale / std::max(1.0, 2 * scale) / 2;
}

Interval Lse(const ScoreRow& row, const Contract& contract, const RoundedWeights& rounded,
             int64_t D, double scale) {
  if (!row.useful) return kUndeterminedInterval;
  const LseBound lse = LseOf(row, contract);
  Interval interval =
      RoundedInterval(DType::kF32, lse.want, lse.want - lse.below, lse.want + lse.above);
  interval.size = 1;  // errors of a logarithm are relative ones of what is under it
  interval.scale_slope = static_cast<float>(MeanScore(row));
  const double loss = contract.LseBiasFloor(static_cast<int64_t>(row.keys.size())) +
                      ScoreLoss(row, contract, D, scale) + contract.operation * std::fabs(row.m);
  interval.lost_downward = static_cast<float>(2 * loss);  // loss: in the mean
  interval.lost_inward = std::copysign(interval.lost_downward, interval.scale_slope);
  interval.imagined.fill(static_cast<float>(rounded.LseError()));
  return interval;
}

// One output element of an ordinary row.
struct Column {
  double o = 0, min = kInf, max = -kInf;
  double size = 0, scale_slope = 0;  // as Interval's
  std::array<float, kImagined> imagined = {};
  bool nan = false, plus_inf = false, minus_inf = false;
};

class RowOutputs {
 public:
  RowOutputs(const IntervalProblem& p, const Contract& contract, const ScoreRow& row, int64_t b,
             int64_t key_head, const RoundedWeights& rounded)
      : p_(p),
        contract_(contract),
        row_(row),
        rounded_(rounded),
        terms_(row.terms),
        b_(b),
        key_head_(key_head),
        weight_least_(LeastFactor(contract, contract.dtype)),
        v_least_(LeastFactor(contract, p.problem.dtype)),
        mean_score_(MeanScore(row)),
        loss_(2 * contract.SumBias(static_cast<int64_t>(row.keys.size())) + contract.exp_error) {
    measured_ = p.measure_bias && ScoresSpread() && FewWeightsLost();
  }

  Interval Element(int64_t d) const {
    Column column = Centre(d);
    if (column.nan || column.plus_inf || column.minus_inf) return NotFinite(column);
    const double n = static_cast<double>(row_.keys.size());
    const double largest = std::max(std::fabs(column.min), std::fabs(column.max));
    const double heaviest = number::ExpF64(Staleness(contract_));
    if (2 * n * largest * heaviest > kMayOverflow) return kUndeterminedInterval;
    // Whatever the weights, o' is their mean of v up to the numerator's and the row sum's
    // roundings: of weights whose largest is 1 or more, or whose sum is.
    const double slack = (terms_.numerator + 2 * terms_.depth + 2 * terms_.finish +
                          2 * n * (contract_.weight_absolute + 2 * terms_.weight_absolute)) *
                             largest +
                         terms_.unit * (1 + n * weight_least_) * std::max(largest, v_least_) +
                         std::min(largest, contract_.unit.flush) + 2 * terms_.product_absolute;
    if (!(slack < kMayOverflow)) return kUndeterminedInterval;
    double low = column.min - slack, high = column.max + slack;
    if (row_.useful) {
      const double bound = Bound(d, column.o);
      low = std::max(low, column.o - bound);
      high = std::min(high, column.o + bound);
    }
    Interval interval = RoundedInterval(p_.o_dtype, column.o, low, high);
    interval.magnitude = static_cast<float>(column.size);
    if (measured_ && !MayFlush(column.size)) {
      interval.size = static_cast<float>(column.size);
      interval.scale_slope = static_cast<float>(column.scale_slope);
      interval.lost_inward = static_cast<float>(loss_ * column.o);
      interval.lost_downward = static_cast<float>(loss_ * column.size);
      interval.imagined = column.imagined;
    }
    return interval;
  }

 private:
  double V(const Key& key, int64_t d) const { return p_.problem.v.At(b_, key.j, key_head_, d); }

  Column Centre(int64_t d) const {
    Column c;
    for (size_t n = 0; n < row_.keys.size(); ++n) {
      const Key& key = row_.keys[n];
      const double v = V(key, d);
      if (measured_) {
        const auto& errors = rounded_.Errors(n);
        for (size_t r = 0; r < kImagined; ++r) c.imagined[r] += errors[r] * static_cast<float>(v);
      }
      c.nan |= std::isnan(v) || (std::isinf(v) && key.score.t == -kInf);
      c.plus_inf |= v == kInf;
      c.minus_inf |= v == -kInf;
      c.min = std::min(c.min, v);
      c.max = std::max(c.max, v);
      c.o += key.w * v;
      c.size += key.w * std::fabs(v);
      if (key.w > 0) c.scale_slope += key.w * (key.score.t - mean_score_) * v;
    }
    c.o /= row_.l;
    c.size /= row_.l;
    c.scale_slope /= row_.l;
    return c;
  }

  // Whether weights too small for their type, which any rounding takes the same way, to zero, add
  // up to nothing beside the roundoff of the output.
  bool FewWeightsLost() const {
    const double least = row_.RoundedAbsolute(contract_) + row_.WeightAbsolute();
    double lost = 0;
    for (const Key& key : row_.keys) {
      if (key.w < 0x1p11 * least) lost += std::min(key.w, least);
    }
    return lost <= kMostLost * RoundingOf(p_.o_dtype).relative * row_.l;
  }

  // Whether products or the output, if subnormal numbers become zero, are off by what counts.
  bool MayFlush(double size) const {
    return row_.ProductAbsolute() > kMostLost * RoundingOf(p_.o_dtype).relative * size * row_.l;
  }

  // Whether the scores cover enough ulps of the weights' type for a right rounding of P to average
  // out: of weights within a few ulps of each other all may be rounded the same way.
  bool ScoresSpread() const {
    double sum = 0, squares = 0;
    int64_t n = 0;
    for (const Key& key : row_.keys) {
      if (key.score.t == -kInf) continue;
      const double below = key.score.t - row_.m;
      sum += below;
      squares += below * below;
      ++n;
    }
    const double mean = sum / static_cast<double>(n);
    const double least = kLeastSpread + kLeastUlps * contract_.score_rounding * std::fabs(row_.m);
    return squares / static_cast<double>(n) - mean * mean >= least * least;
  }

  // Inf among visible values: Inf of its sign wherever its weight cannot have become zero, where it
  // would be 0 x Inf.
  Interval NotFinite(const Column& c) const {
    if (c.nan || (c.plus_inf && c.minus_inf)) return kNaNInterval;
    const float inf = c.plus_inf ? kInfF : -kInfF;
    for (const Key& key : row_.keys) {
      const double least = 4 * (row_.RoundedAbsolute(contract_) + row_.WeightAbsolute());
      const bool tiny = !row_.useful || key.w < least * (1 + Expm1Bound(key.y));
      if (tiny && key.score.t != -kInf) return kUndeterminedInterval;
    }
    return {static_cast<double>(inf), inf, inf};
  }

  double Bound(int64_t d, double o) const {
    double sum = terms_.depth * std::fabs(o) * row_.high + row_.ProductAbsolute();
    const double absolute = row_.WeightAbsolute(), rounded = row_.RoundedAbsolute(contract_);
    const double least = weight_least_ * row_.rounded_unit;
    for (const Key& key : row_.keys) {
      const double v = V(key, d), size = std::fabs(v), e = Expm1Bound(key.y);
      const double most = key.w * (1 + e);
      sum += (key.w * e + absolute) * std::fabs(v - o);
      sum += (terms_.numerator * most + rounded) * size;
      // What a matrix unit's truncation takes for larger than it is.
      if (terms_.unit > 0) {
        sum += terms_.unit * ((most + least) * Factor(size, v_least_) - most * size);
      }
      if (size < contract_.unit.flush) sum += most * size;
    }
    const double bound = sum / (row_.low * (1 - terms_.depth));
    return bound + terms_.finish * (std::fabs(o) + bound) + contract_.flush;
  }

  const IntervalProblem& p_;
  const Contract& contract_;
  const ScoreRow& row_;
  const RoundedWeights& rounded_;
  const RowTerms& terms_;
  int64_t b_, key_head_;
  double weight_least_, v_least_;  // as LeastFactor
  double mean_score_;
  double loss_;  // relative: at most, of weights and sums that always err the same way
  bool measured_ = false;
};

void FillRow(const IntervalProblem& p, const Contract& contract, int64_t b, int64_t h, int64_t i,
             Interval* o, Interval& lse) {
  const int64_t D = p.problem.shape.D;
  const ScoreRow row = ScoresOf(p, contract, b, h, i);
  const auto all = [&](Interval value) {
    std::fill(o, o + D, value);
    lse = value;
  };
  switch (row.kind) {
    case RowKind::kEmpty:
      std::fill(o, o + D, Interval{0, 0, 0});
      lse = {-kInf, -kInfF, -kInfF};
      break;
    case RowKind::kNaN:
      all(kNaNInterval);
      break;
    case RowKind::kUndetermined:
      all(kUndeterminedInterval);
      break;
    case RowKind::kOrdinary:
      const RoundedWeights rounded = p.measure_bias
                                         ? RoundedWeights(row, contract, p.problem.softmax_scale)
                                         : RoundedWeights();
      lse = Lse(row, contract, rounded, D, p.problem.softmax_scale);
      const RowOutputs outputs(p, contract, row, b, p.problem.shape.KeyHead(h), rounded);
      for (int64_t d = 0; d < D; ++d) o[d] = outputs.Element(d);
  }
}

}  // namespace

void AttentionIntervals(const IntervalProblem& p, const Contract& contract, int64_t b, int64_t h,
                        int64_t q0, int64_t nq, IntervalBlock& out) {
  const FloatEnvironment environment;
  const int64_t D = p.problem.shape.D;
  out.o.resize(nq * D);
  out.lse.resize(nq);
  for (int64_t i = 0; i < nq; ++i) FillRow(p, contract, b, h, q0 + i, &out.o[i * D], out.lse[i]);
}

}  // namespace bitanchor::exact
