#include "lib/exact/score_row.h"

#include <algorithm>
#include <cmath>

#include "lib/number/elementary.h"

namespace bitanchor::exact {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

void Weights(const Contract& contract, ScoreRow& row) {
  for (Key& key : row.keys) {
    const double t = key.score.t;
    if (t == -kInf) {
      key.w = key.y = 0;
    } else {
      key.w = number::ExpF64(t - row.m);
      key.y = key.score.x + ArgumentError(contract, t, row.m) + row.terms.shared;
    }
    row.useful &= key.y <= 0.5;
    row.l += key.w;
    row.high += key.w * (1 + Expm1Bound(key.y));
    row.low += key.w * (1 - key.y) - row.terms.weight_absolute;
  }
}

}  // namespace

double Expm1Bound(double y) { return y + 0.7183 * y * y; }

double ArgumentError(const Contract& contract, double t, double reference) {
  return contract.operation *
         (4 * std::max(std::fabs(t), std::fabs(reference)) + 2 * std::fabs(reference - t));
}

Score ScoreOf(const IntervalProblem& p, const Contract& contract, int64_t b, int64_t h, int64_t i,
              int64_t j) {
  const AttentionProblem& problem = p.problem;
  const int64_t D = problem.shape.D, key_head = problem.shape.KeyHead(h);
  const double term = ProductError(contract, D), scale = problem.softmax_scale;
  // The kernel's own q' and k' are within `off` of these: |q'k' - qk| is at most `moved`, and what
  // it rounds is as large as |q'||k'|.
  double s = 0, size = 0, moved = 0;
  for (int64_t d = 0; d < D; ++d) {
    const double q = problem.q.At(b, i, h, d), k = problem.k.At(b, j, key_head, d);
    const double q_off = DeviationAt(p.q_deviation, b, i, h, d) + Lost(q);
    const double k_off = DeviationAt(p.k_deviation, b, j, key_head, d) + Lost(k);
    const double k_most = std::fabs(k) + k_off;
    s += q * k;
    size += (std::fabs(q) + q_off) * k_most;
    moved += std::fabs(q) * k_off + q_off * k_most;
  }
  return {s * scale, scale * (term * size + moved), size * std::max(1.0, 2 * scale)};
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
    overflow |= std::isfinite(score.t) && score.magnitude > kMayOverflow;
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
    row.terms = TermsOf(contract, p.problem.shape.D, static_cast<int64_t>(row.keys.size()), runs);
    Weights(contract, row);
  }
  return row;
}

LseBound LseOf(const ScoreRow& row, const Contract& contract) {
  const double log_l = number::LogF64(row.l), want = row.m + log_l;
  const double added = static_cast<double>(row.keys.size()) * row.terms.weight_absolute;
  // log l' - log l, with l' between low (1 - depth) and (high + added) (1 + depth).
  const double above = (row.high + added - row.l) / row.l + row.terms.depth;
  const double fall = (row.l - row.low) / row.l + row.terms.depth;
  const double below = fall / (1 - fall);  // >= -log(1 - fall)
  const double finish = contract.log_error * std::max(1.0, std::fabs(log_l)) +
                        contract.operation * (3 * std::fabs(row.m) + std::fabs(want)) +
                        contract.flush;
  return {want, below + finish, above + finish, finish};
}

}  // namespace bitanchor::exact
