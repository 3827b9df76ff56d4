#include "lib/exact/score_row.h"

#include <algorithm>
#include <cmath>

#include "lib/number/elementary.h"

namespace bitanchor::exact {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// <= e^-y, and next to it.
double ExpOfMinus(double y) { return number::ExpF64(-y) * (1 - 0x1p-40); }

void Weights(const Contract& contract, ScoreRow& row) {
  const double stale = Staleness(contract);
  double above = 0;  // how far a kernel's own maximum may be from m
  for (Key& key : row.keys) {
    const double t = key.score.t;
    if (t == -kInf) {
      key.w = key.y = 0;
    } else {
      key.w = number::ExpF64(t - row.m);
      key.y = key.score.x + ArgumentError(contract, t, row.m, stale) + row.terms.shared;
      above = std::max(above, key.score.x - (row.m - t));
    }
    row.useful &= key.y <= kMostLogError;
    row.l += key.w;
    row.high += key.w * (1 + Expm1Bound(key.y));
    row.low += key.w * ExpOfMinus(key.y);
  }
  row.useful &= above <= kMostLogError;
  if (row.useful) row.weight_unit = number::ExpF64(above);
  row.rounded_unit = contract.normalise_first ? row.high * (1 + row.terms.depth) : row.weight_unit;
  row.low -= static_cast<double>(row.keys.size()) * row.WeightAbsolute();
  row.useful &= row.low * (1 - row.terms.depth) > 0 && row.terms.numerator < 1;
}

}  // namespace

double ScoreRow::RoundedAbsolute(const Contract& contract) const {
  const double flushed = contract.normalise_first ? terms.weight_absolute : 0;
  return (contract.weight_absolute + flushed) * rounded_unit;
}

double Expm1Bound(double y) {
  return y <= 1 ? y + 0.7183 * y * y : number::ExpF64(y) * (1 + 0x1p-40) - 1;
}

double Staleness(const Contract& contract) { return contract.stale_log2 * 0.6931471805599453; }

double ArgumentError(const Contract& contract, double t, double reference, double staleness) {
  return contract.operation * (4 * (std::max(std::fabs(t), std::fabs(reference)) + staleness) +
                               2 * (std::fabs(reference - t) + 2 * staleness));
}

Score ScoreOf(const IntervalProblem& p, const Contract& contract, int64_t b, int64_t h, int64_t i,
              int64_t j) {
  const AttentionProblem& problem = p.problem;
  const int64_t D = problem.shape.D, key_head = problem.shape.KeyHead(h);
  const double term = ProductError(contract, D), scale = problem.softmax_scale;
  const double least = LeastFactor(contract, problem.dtype);
  // The kernel's own q' and k' are within `off` of these: |q'k' - qk| is at most `moved`, and what
  // it rounds is as large as |q'||k'|.
  double s = 0, size = 0, moved = 0;
  for (int64_t d = 0; d < D; ++d) {
    const double q = problem.q.At(b, i, h, d), k = problem.k.At(b, j, key_head, d);
    const double q_off = DeviationAt(p.q_deviation, b, i, h, d) + Lost(contract, q);
    const double k_off = DeviationAt(p.k_deviation, b, j, key_head, d) + Lost(contract, k);
    const double k_most = std::fabs(k) + k_off;
    s += q * k;
    size += Factor(std::fabs(q) + q_off, least) * Factor(k_most, least);
    moved += std::fabs(q) * k_off + q_off * k_most;
  }
  Score score;
  score.t = s * scale;
  score.x = scale * (term * size + moved);
  score.magnitude = size * std::max(1.0, 2 * scale);
  score.overflows = score.magnitude > kMayOverflow;
  if (contract.score_rounding > 0) {
    const double most = std::fabs(score.t) + score.x;
    score.overflows |=
        contract.dtype == DType::kF16 && most * std::max(1.0, 1 / scale) >= kMayOverflowF16;
    score.x += contract.score_rounding * most +
               contract.score_absolute * (1 + scale) * (1 + contract.score_rounding);
  }
  return score;
}

ScoreRow ScoresOf(const IntervalProblem& p, const Contract& contract, int64_t b, int64_t h,
                  int64_t i) {
  ScoreRow row;
  int64_t runs = 0, last = -2;
  bool nan = false, overflow = false;
  for (int64_t j = 0; j < p.problem.shape.Skv; ++j) {
    if (!p.problem.mask.Visible(b, i, j)) continue;
    if (j != last + 1) ++runs;
    last = j;
    const Score score = ScoreOf(p, contract, b, h, i, j);
    nan |= std::isnan(score.t) || score.t == kInf;  // +Inf: exp(Inf - Inf)
    overflow |= std::isfinite(score.t) && score.overflows;
    row.m = std::max(row.m, score.t);
    row.keys.push_back({j, score, 0, 0});
  }
  if (row.keys.empty()) {
    row.kind = RowKind::kEmpty;
  } else if (nan) {
    row.kind = RowKind::kNaN;
  } else if (overflow || row.m == -kInf) {
    row.kind = RowKind::kUndetermined;
  } else {
    row.terms = TermsOf(contract, static_cast<int64_t>(row.keys.size()), runs);
    Weights(contract, row);
  }
  return row;
}

LseBound LseOf(const ScoreRow& row, const Contract& contract) {
  const double log_l = number::LogF64(row.l), want = row.m + log_l, stale = Staleness(contract);
  const double added = static_cast<double>(row.keys.size()) * row.WeightAbsolute();
  // log l' - log l, with l' between low (1 - depth) and (high + added) (1 + depth).
  const double above =
      (row.high + added - row.l) / row.l + (row.high + added) / row.l * row.terms.depth;
  const double fall = (row.l - row.low * (1 - row.terms.depth)) / row.l;
  const double below = fall < 0.5 ? fall / (1 - fall) : -number::LogF64(1 - fall) * (1 + 0x1p-20);
  // The sum is relative to a reference that may be stale, and added to it.
  const double finish = contract.log_error * std::max(1.0, std::fabs(log_l) + stale) +
                        contract.operation * (3 * (std::fabs(row.m) + stale) + std::fabs(want)) +
                        contract.flush;
  return {want, below + finish, above + finish, finish};
}

}  // namespace bitanchor::exact
