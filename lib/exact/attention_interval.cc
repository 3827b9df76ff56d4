// One row at a time, in the order of the derivation in lib/NUMERICS.md ("The interval"), whose
// symbols are used:
//   t_j  score, x_j bound of its error, w_j = exp(t_j - m), y_j = x_j + shared: bound of the
//   weight's log error |o' - o| <= (sum_j (w_j E_j + a)|v_j - o| + sum_j (Z w_j (1 + E_j) +
//   a_P)|v_j| + depth |o| sum_j w_j (1 + E_j))
//              / ((1 - depth) sum_j w_j (1 - y_j)),                                            E_j
//              = e^y_j - 1
#include "lib/exact/attention_interval.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/number/elementary.h"
#include "lib/number/float_environment.h"

namespace bitanchor::exact {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr float kInfF = std::numeric_limits<float>::infinity();
constexpr double kMayOverflow = 0x1p126;  // f32 intermediates beyond this may have become Inf

constexpr Interval kUndetermined = {kNaN, kInfF, -kInfF};
constexpr Interval kMustBeNaN = {kNaN, std::numeric_limits<float>::quiet_NaN(),
                                 std::numeric_limits<float>::quiet_NaN()};

struct Key {
  int64_t j;
  double t, x;  // score and its error bound
  double w, y;  // weight and the bound of its relative (log) error
};

struct Row {
  std::vector<Key> keys;
  int64_t runs = 0;
  double m = -kInf;  // largest score
  bool nan = false, plus_inf = false, minus_inf = false, overflow = false;
};

// |x| as it enters the error of a product: a kernel may flush a subnormal input, and the rotation
// may have put the element elsewhere by `deviation`.
double Magnitude(double x, double deviation, double score_term) {
  const double lost = std::fabs(x) < 0x1p-126 ? std::fabs(x) : 0.0;
  return std::fabs(x) + (deviation + lost) / score_term;
}

double At(const TensorView& tensor, int64_t b, int64_t s, int64_t h, int64_t d) {
  return tensor ? static_cast<double>(tensor.At(b, s, h, d)) : 0.0;
}

Row Scores(const IntervalProblem& p, const Contract& contract, int64_t b, int64_t h, int64_t i) {
  const AttentionProblem& problem = p.problem;
  const int64_t D = problem.shape.D, key_head = problem.shape.KeyHead(h);
  const double score = TermsOf(contract, D, 1, 1).score, scale = problem.softmax_scale;
  Row row;
  int64_t last = -2;
  for (int64_t j = 0; j < problem.shape.Skv; ++j) {
    if (!problem.mask.Visible(b, i, j)) continue;
    if (j != last + 1) ++row.runs;
    last = j;
    double s = 0, size = 0;
    for (int64_t d = 0; d < D; ++d) {
      const double q = problem.q.At(b, i, h, d), k = problem.k.At(b, j, key_head, d);
      s += q * k;
      size += Magnitude(q, At(p.q_deviation, b, i, h, d), score) *
              Magnitude(k, At(p.k_deviation, b, j, key_head, d), score);
    }
    const double t = s * scale;
    row.nan |= std::isnan(t);
    row.plus_inf |= t == kInf;
    row.minus_inf |= t == -kInf;
    row.overflow |= std::isfinite(t) && size * std::max(1.0, 2 * scale) > kMayOverflow;
    row.keys.push_back({j, t, score * scale * size, 0, 0});
    row.m = std::max(row.m, t);
  }
  return row;
}

// w and y of every key. False: a weight is not known to a factor of e, so the formula above says
// nothing.
bool Weights(Row& row, const Contract& contract, const RowTerms& terms) {
  bool useful = true;
  for (Key& key : row.keys) {
    if (key.t == -kInf) {
      key.w = key.y = 0;
      continue;
    }
    // The argument of exp: differences from the running maximum add up to m - t; a folded log2(e)
    // and the maximum's own rounding are relative to the larger of the two scores.
    key.x += contract.operation *
             (4 * std::max(std::fabs(key.t), std::fabs(row.m)) + 2 * (row.m - key.t));
    key.w = number::ExpF64(key.t - row.m);
    key.y = key.x + terms.shared;
    useful &= key.y <= 0.5;
  }
  return useful;
}

double Expm1Bound(double y) { return y + 0.7183 * y * y; }  // >= e^y - 1 on [0, 1]

Interval Lse(const Row& row, const Contract& contract, const RowTerms& terms, bool useful) {
  if (!useful) return kUndetermined;
  double l = 0, up = 0, down = 0;
  for (const Key& key : row.keys) {
    l += key.w;
    up += key.w * Expm1Bound(key.y) + terms.weight_absolute;
    down += key.w * key.y + terms.weight_absolute;
  }
  const double log_l = number::LogF64(l), want = row.m + log_l;
  // log l' - log l, with l' between (l - down)(1 - depth) and (l + up)(1 + depth).
  const double above = up / l + terms.depth;
  const double fall = down / l + terms.depth;
  const double below = fall / (1 - fall);  // >= -log(1 - fall)
  const double rest = contract.log_error * std::max(1.0, std::fabs(log_l)) +
                      contract.operation * (3 * std::fabs(row.m) + std::fabs(want)) +
                      contract.flush;
  return RoundedInterval(DType::kF32, want, want - below - rest, want + above + rest);
}

// One output element of an ordinary row.
struct Column {
  double o = 0, min = kInf, max = -kInf;
  bool nan = false, plus_inf = false, minus_inf = false;
};

class RowOutputs {
 public:
  RowOutputs(const IntervalProblem& p, const Contract& contract, const Row& row,
             const RowTerms& terms, bool useful, int64_t b, int64_t key_head)
      : p_(p),
        contract_(contract),
        row_(row),
        terms_(terms),
        useful_(useful),
        b_(b),
        key_head_(key_head) {
    for (const Key& key : row.keys) {
      l_ += key.w;
      up_ += key.w * (1 + Expm1Bound(key.y));
      low_ += key.w * (1 - key.y) - terms.weight_absolute;
    }
  }

  Interval Element(int64_t d) const {
    Column column = Centre(d);
    if (column.nan || column.plus_inf || column.minus_inf) return NotFinite(column);
    const double n = static_cast<double>(row_.keys.size());
    const double largest = std::max(std::fabs(column.min), std::fabs(column.max));
    if (2 * n * largest > kMayOverflow) return kUndetermined;
    // Whatever the weights, o' is their mean of v up to the numerator's and the row sum's
    // roundings.
    const double slack = (terms_.numerator + 2 * terms_.depth + 2 * terms_.finish +
                          2 * n * (contract_.weight_absolute + terms_.weight_absolute)) *
                             largest +
                         2 * terms_.product_absolute;
    double low = column.min - slack, high = column.max + slack;
    if (useful_ && low_ > 0) {
      const double bound = Bound(d, column.o);
      low = std::max(low, column.o - bound);
      high = std::min(high, column.o + bound);
    }
    return RoundedInterval(p_.o_dtype, column.o, low, high);
  }

 private:
  double V(const Key& key, int64_t d) const { return p_.problem.v.At(b_, key.j, key_head_, d); }

  Column Centre(int64_t d) const {
    Column c;
    for (const Key& key : row_.keys) {
      const double v = V(key, d);
      c.nan |= std::isnan(v) || (std::isinf(v) && key.t == -kInf);
      c.plus_inf |= v == kInf;
      c.minus_inf |= v == -kInf;
      c.min = std::min(c.min, v);
      c.max = std::max(c.max, v);
      c.o += key.w * v;
    }
    c.o /= l_;
    return c;
  }

  // Inf among visible values: Inf of its sign wherever its weight cannot have become zero, where it
  // would be 0 x Inf.
  Interval NotFinite(const Column& c) const {
    if (c.nan || (c.plus_inf && c.minus_inf)) return kMustBeNaN;
    const float inf = c.plus_inf ? kInfF : -kInfF;
    for (const Key& key : row_.keys) {
      const bool tiny =
          !useful_ || key.w < 4 * (contract_.weight_absolute + terms_.weight_absolute);
      if (tiny && key.t != -kInf) return kUndetermined;
    }
    return {static_cast<double>(inf), inf, inf};
  }

  double Bound(int64_t d, double o) const {
    double sum = terms_.depth * std::fabs(o) * up_ + terms_.product_absolute;
    for (const Key& key : row_.keys) {
      const double v = V(key, d), e = Expm1Bound(key.y);
      sum += (key.w * e + terms_.weight_absolute) * std::fabs(v - o);
      sum += (terms_.numerator * key.w * (1 + e) + contract_.weight_absolute) * std::fabs(v);
    }
    const double bound = sum / (low_ * (1 - terms_.depth));
    return bound + terms_.finish * (std::fabs(o) + bound) + contract_.flush;
  }

  const IntervalProblem& p_;
  const Contract& contract_;
  const Row& row_;
  const RowTerms& terms_;
  bool useful_;
  int64_t b_, key_head_;
  double l_ = 0, up_ = 0, low_ = 0;
};

void FillRow(const IntervalProblem& p, const Contract& contract, int64_t b, int64_t h, int64_t i,
             Interval* o, Interval& lse) {
  const int64_t D = p.problem.shape.D;
  Row row = Scores(p, contract, b, h, i);
  const auto all = [&](Interval value) {
    std::fill(o, o + D, value);
    lse = value;
  };
  if (row.keys.empty()) {
    std::fill(o, o + D, Interval{0, 0, 0});
    lse = {-kInf, -kInfF, -kInfF};
  } else if (row.nan || row.plus_inf) {
    all(kMustBeNaN);  // a NaN score, or exp(Inf - Inf)
  } else if (row.overflow || row.m == -kInf) {
    all(kUndetermined);  // kernels differ over rows of -Inf only
  } else {
    const RowTerms terms = TermsOf(contract, D, static_cast<int64_t>(row.keys.size()), row.runs);
    const bool useful = Weights(row, contract, terms);
    lse = Lse(row, contract, terms, useful);
    const RowOutputs outputs(p, contract, row, terms, useful, b, p.problem.shape.KeyHead(h));
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
