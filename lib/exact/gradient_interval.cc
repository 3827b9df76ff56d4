// In the order of the derivation in lib/NUMERICS.md ("The interval of gradients"), whose symbols
// are used. A kernel's P'_ij, dP'_ij and delta'_i err independently of each other; delta' errs
// alike for all keys of a query, so in dq its error multiplies the sum of P_ij k_j, not of P_ij
// |k_j|.
#include "lib/exact/gradient_interval.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/exact/gradient_sum.h"
#include "lib/number/elementary.h"
#include "lib/number/float_environment.h"

namespace bitanchor::exact {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

bool AllFinite(const TensorView& tensor, int64_t b, int64_t s, int64_t h) {
  for (int64_t d = 0; d < tensor.shape[3]; ++d) {
    if (!std::isfinite(tensor.At(b, s, h, d))) return false;
  }
  return true;
}

// What depends on a row alone of which nothing better is known.
Interval NotOrdinary(RowKind kind) {
  if (kind == RowKind::kEmpty) return {0, 0, 0};
  return kind == RowKind::kNaN ? kNaNInterval : kUndeterminedInterval;
}

}  // namespace

// A visible pair of query and key.
struct GradientIntervals::Pair {
  double p, p_error;             // P and how far P' may be
  double ds, ds_error, ds_most;  // dS, how far dS' may be beyond delta's P (delta - delta'), and
                                 // its largest magnitude; both after its rounding to the input type
};

GradientIntervals::GradientIntervals(const GradientProblem& problem, const Contract& contract)
    : problem_(problem),
      contract_(contract),
      product_error_(ProductError(contract, problem.attention.problem.shape.D)),
      least_(LeastFactor(contract, problem.attention.problem.dtype)),
      weight_least_(LeastFactor(contract, contract.dtype)) {
  const AttentionShape& shape = problem.attention.problem.shape;
  rows_.resize(shape.B * shape.Hq * shape.Sq);
}

GradientIntervals::Dot GradientIntervals::GradientOfWeight(int64_t b, int64_t h, int64_t i,
                                                           int64_t j) const {
  const AttentionProblem& p = problem_.attention.problem;
  const int64_t key_head = p.shape.KeyHead(h);
  Dot dot = {0, 0};
  for (int64_t d = 0; d < p.shape.D; ++d) {
    const double g = problem_.dout.At(b, i, h, d), v = p.v.At(b, j, key_head, d);
    dot.value += g * v;
    dot.size += Factor(Magnitude(contract_, g, product_error_), least_) *
                Factor(Magnitude(contract_, v, product_error_), least_);
  }
  return dot;
}

double GradientIntervals::DotError(const Dot& dot) const {
  const int64_t D = problem_.attention.problem.shape.D;
  const double error = product_error_ * dot.size + 4 * static_cast<double>(D + 1) * contract_.flush;
  return error + contract_.score_rounding * (std::fabs(dot.value) + error) +
         contract_.score_absolute;
}

// The log-sum-exp and delta that the backward pass starts from.
GradientIntervals::Row GradientIntervals::Summarise(const ScoreRow& row, int64_t b, int64_t h,
                                                    int64_t i, std::vector<Dot>& dots,
                                                    Interval& delta_interval) const {
  const AttentionProblem& p = problem_.attention.problem;
  const int64_t D = p.shape.D, key_head = p.shape.KeyHead(h);
  Row out;
  out.kind = row.kind;
  delta_interval = NotOrdinary(row.kind);
  if (row.kind != RowKind::kOrdinary) return out;
  out.kind = RowKind::kUndetermined;  // unless nothing speaks against it
  if (!row.useful) return out;
  if (!AllFinite(problem_.dout, b, i, h)) return out;

  std::vector<double> o(D);
  for (const Key& key : row.keys) {
    dots.push_back(GradientOfWeight(b, h, i, key.j));
    if (!std::isfinite(key.score.t) || !(dots.back().size < kMayOverflow)) return out;
    for (int64_t d = 0; d < D; ++d) o[d] += key.w * p.v.At(b, key.j, key_head, d);
  }
  double size = 0, gradient = 0;  // sum_d |dO_d||O_d|, sum_d |dO_d|
  for (int64_t d = 0; d < D; ++d) {
    const double g = problem_.dout.At(b, i, h, d);
    o[d] /= row.l;
    out.delta += g * o[d];
    size += Magnitude(contract_, g, product_error_) * std::fabs(o[d]);
    gradient += std::fabs(g);
  }

  const LseBound lse = LseOf(row, contract_);
  out.lse = lse.want;
  out.lse_error = std::max(lse.below, lse.above);
  const int64_t at = (b * p.shape.Hq + h) * p.shape.Sq + i;
  if (!problem_.lse.empty() && !contract_.normalise_first) {
    const double conversion = problem_.lse_relative * std::fabs(lse.want);
    const double off = std::fabs(problem_.lse[at] - lse.want);
    if (off <= out.lse_error + conversion) {
      out.lse = problem_.lse[at];
      out.lse_error = lse.finish + conversion;
    }
  }

  out.delta_error = DeltaError(row, dots, out, std::max(lse.below, lse.above), size, gradient);
  delta_interval = RoundedInterval(DType::kF32, out.delta, out.delta - out.delta_error,
                                   out.delta + out.delta_error);
  if (!problem_.delta.empty()) {
    const double given = problem_.delta[at];
    if (std::fabs(given - out.delta) <= out.delta_error) {
      out.delta = given;
      out.delta_error = 0;
    }
  }
  out.kind = RowKind::kOrdinary;
  return out;
}

// delta' - delta, for delta' made from an o that has the errors of a forward pass, is
//   sum_j w_j (e^eta_j - 1)(dP_j - delta) / L' + ...,
// for o' - o is a mean of v_j - o (attention_interval.cc) and sum_d dO_d (v_jd - o_d) = dP_j -
// delta.
double GradientIntervals::DeltaError(const ScoreRow& row, const std::vector<Dot>& dots,
                                     const Row& centre, double lse_error, double size,
                                     double gradient) const {
  const RowTerms& terms = row.terms;
  // |delta' - delta| before o is rounded; and sum_d |dO_d||o'_d - o_d|, for which each key's errors
  // have to be taken as independent from dimension to dimension.
  // A v that the unit takes for 0 is product_error_ of its size in dP.
  const double deep = contract_.unit.flush > 0 ? std::max(terms.sum, product_error_) : terms.sum;
  const double absolute = row.WeightAbsolute(), rounded = row.RoundedAbsolute(contract_);
  const double least = terms.unit * weight_least_ * row.rounded_unit;
  double error = 0, apart = 0, products = 0, weighted = 0;
  for (size_t n = 0; n < row.keys.size(); ++n) {
    const Key& key = row.keys[n];
    const double e = Expm1Bound(key.y), w = key.w, large = w * (1 + e);
    const Dot& dP = dots[n];
    const double rounding = contract_.weight_rounding * large + rounded;
    error += (w * e + absolute) * std::fabs(dP.value - centre.delta);
    error += rounding * std::fabs(dP.value) + (deep * large + least) * dP.size;
    apart += (w * e + absolute) * (dP.size + size);
    apart += (rounding + deep * large + least) * dP.size;
    products += (large + rounding) * DotError(dP);
    weighted += large * dP.size;
  }
  // Weights made anew need not add up to the forward pass's sum.
  const double spread = std::max(row.high - row.l, row.l - row.low) / row.l;
  const double sum_error = terms.depth * size * row.high + row.ProductAbsolute() * gradient;
  const double divisor = row.low * (1 - terms.depth);
  error = (error + sum_error) / divisor;
  apart = (apart + sum_error) / divisor;
  const double most = size + apart;  // >= sum_d |dO_d||o'_d|
  const OutputRounding o_rounding = RoundingOf(problem_.attention.o_dtype);
  // Normalising, storing o, and summing over d; or summing P_j dP_j over keys.
  const double n = static_cast<double>(row.keys.size() + problem_.dout.shape[3]);
  error += (terms.finish + o_rounding.relative + product_error_) * most +
           o_rounding.absolute * gradient + contract_.flush * (gradient + 4 * n);
  error +=
      (products + SumError(contract_, static_cast<int64_t>(row.keys.size())) * weighted) / divisor +
      std::fabs(centre.delta) * (lse_error + spread + terms.finish);
  return error;
}

// P' (dP' - delta') - P (dP - delta) + P (delta' - delta)
//   = (P' - P)(dP' - delta') + P (dP' - dP), then the operations' and the input type's roundings.
GradientIntervals::Pair GradientIntervals::PairOf(const Row& row, const Score& score,
                                                  const Dot& dP) const {
  const AttentionProblem& p = problem_.attention.problem;
  const double op = contract_.operation, scale = p.softmax_scale;
  const double y = score.x + ArgumentError(contract_, score.t, row.lse) + contract_.exp_error +
                   4 * op + row.lse_error;
  Pair pair;
  pair.p = number::ExpF64(score.t - row.lse);
  pair.p_error = pair.p * Expm1Bound(y) + 4 * contract_.flush;

  const double dP_error = DotError(dP);
  const double g = dP.value - row.delta;
  const double g_most = std::fabs(g) + dP_error + row.delta_error;
  // A softmax that is stored in 16 bits is read from there.
  const double stored =
      contract_.score_rounding > 0
          ? contract_.weight_rounding * (pair.p + pair.p_error) + contract_.weight_absolute
          : 0;
  const double p_error = pair.p_error + stored;
  const double most = (pair.p + p_error) * g_most * (1 + 4 * op);
  pair.ds = pair.p * g;
  pair.ds_error = p_error * g_most + pair.p * dP_error + 4 * op * most;
  // The scale may be multiplied in before the rounding, or between two.
  const double u = contract_.weight_rounding, rounds = contract_.score_rounding > 0 ? 2 : 1;
  pair.ds_error += rounds * u * (1 + u) * most + rounds *
                                                     (contract_.weight_absolute + contract_.flush) *
                                                     (1 + u) * std::max(1.0, 1 / scale);
  pair.ds_most = most + pair.ds_error;
  if (y > kMostLogError) pair.ds_error = pair.ds_most = pair.p_error = kInf;
  if (contract_.dtype == DType::kF16) {
    const double dP_most = contract_.score_rounding > 0 ? std::fabs(dP.value) + dP_error : 0;
    if (std::max(pair.ds_most * std::max(1.0, scale), dP_most) >= kMayOverflowF16) {
      pair.ds_error = pair.ds_most = kInf;
    }
  }
  return pair;
}

void GradientIntervals::QueryRow(int64_t b, int64_t h, int64_t i, Interval* dq, Interval& delta) {
  const FloatEnvironment environment;
  const IntervalProblem& attention = problem_.attention;
  const AttentionProblem& p = attention.problem;
  const int64_t D = p.shape.D, key_head = p.shape.KeyHead(h);
  Row& row = rows_[(b * p.shape.Hq + h) * p.shape.Sq + i];
  const ScoreRow scores = ScoresOf(attention, contract_, b, h, i);
  std::vector<Dot> dots;
  row = Summarise(scores, b, h, i, dots, delta);
  if (dq == nullptr) return;
  if (row.kind != RowKind::kOrdinary) {
    std::fill(dq, dq + D, NotOrdinary(row.kind));
    return;
  }
  GradientSum sum(D, contract_.gradient_key_tile);
  const double ds_least = weight_least_ * std::max(1.0, 1.0 / p.softmax_scale);
  std::vector<double> mean(D);  // sum_j P_j k_j: what an error of delta is multiplied with
  for (size_t n = 0; n < scores.keys.size(); ++n) {
    const int64_t j = scores.keys[n].j;
    const Pair pair = PairOf(row, scores.keys[n].score, dots[n]);
    sum.StartPair(h, j);
    for (int64_t d = 0; d < D; ++d) {
      const double k = p.k.At(b, j, key_head, d);
      const double off = DeviationAt(attention.k_deviation, b, j, key_head, d) + Lost(contract_, k);
      sum.Add(d, pair.ds * k, pair.ds_error * std::fabs(k) + pair.ds_most * off,
              (pair.ds_most + ds_least) * Factor(std::fabs(k) + off, least_));
      mean[d] += pair.p * k;
    }
  }
  const DType ends = problem_.before_rope ? DType::kF32 : problem_.dq_dtype;
  for (int64_t d = 0; d < D; ++d) {
    sum.AddError(d, row.delta_error * std::fabs(mean[d]));
    dq[d] = sum.Finished(d, contract_, p.softmax_scale, problem_.dq_dtype, ends);
  }
}

void GradientIntervals::KeyRow(int64_t b, int64_t key_head, int64_t j, Interval* dk,
                               Interval* dv) const {
  const FloatEnvironment environment;
  const IntervalProblem& attention = problem_.attention;
  const AttentionProblem& p = attention.problem;
  const int64_t D = p.shape.D, group = p.shape.Hq / p.shape.Hkv, Sq = p.shape.Sq;
  GradientSum dk_sum(D, contract_.GradientQueryTile(Sq));
  GradientSum dv_sum(D, contract_.GradientQueryTile(Sq));
  const double ds_least = weight_least_ * std::max(1.0, 1.0 / p.softmax_scale);
  bool undetermined = false, nan = false;
  for (int64_t h = key_head * group; h < (key_head + 1) * group; ++h) {
    for (int64_t i = 0; i < Sq; ++i) {
      if (!p.mask.Visible(b, i, j)) continue;
      const Row& row = rows_[(b * p.shape.Hq + h) * Sq + i];
      nan |= row.kind == RowKind::kNaN;
      undetermined |= row.kind == RowKind::kUndetermined;
      if (row.kind != RowKind::kOrdinary) continue;
      const Pair pair =
          PairOf(row, ScoreOf(attention, contract_, b, h, i, j), GradientOfWeight(b, h, i, j));
      const double ds_error = pair.ds_error + row.delta_error * pair.p;
      const double ds_most = pair.ds_most + row.delta_error * pair.p;
      const double p_most = pair.p + pair.p_error;
      const double p_error =
          pair.p_error + contract_.weight_rounding * p_most + contract_.weight_absolute;
      dk_sum.StartPair(h, i);
      dv_sum.StartPair(h, i);
      for (int64_t d = 0; d < D; ++d) {
        const double q = p.q.At(b, i, h, d), g = problem_.dout.At(b, i, h, d);
        const double off = DeviationAt(attention.q_deviation, b, i, h, d) + Lost(contract_, q);
        dk_sum.Add(d, pair.ds * q, ds_error * std::fabs(q) + ds_most * off,
                   (ds_most + ds_least) * Factor(std::fabs(q) + off, least_));
        dv_sum.Add(d, pair.p * g, p_error * std::fabs(g) + p_most * Lost(contract_, g),
                   (pair.p + p_error + weight_least_) * Factor(std::fabs(g), least_));
      }
    }
  }
  const DType dk_ends = problem_.before_rope ? DType::kF32 : problem_.dk_dtype;
  for (int64_t d = 0; d < D; ++d) {
    if (nan || undetermined) {
      dk[d] = dv[d] = nan ? kNaNInterval : kUndeterminedInterval;
      continue;
    }
    dk[d] = dk_sum.Finished(d, contract_, p.softmax_scale, problem_.dk_dtype, dk_ends);
    dv[d] = dv_sum.Finished(d, contract_, 1, problem_.dv_dtype, problem_.dv_dtype);
  }
}

}  // namespace bitanchor::exact
