#include "tools/diagnose_dropout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include "lib/exact/attention_mistakes.h"
#include "lib/exact/mistaken_attention.h"
#include "lib/number/elementary.h"
#include "lib/number/least_squares.h"
#include "tools/telling_rows.h"

namespace bitanchor::tools {
namespace {

using exact::GatheredRow;
using exact::RowPlace;

constexpr size_t kShortRows = 64;    // whose weights are all solved for
constexpr size_t kShortTokens = 16;  // of one document
constexpr size_t kLongRows = 128;    // whose heaviest weights are solved for
constexpr int64_t kMostKeys = 64;    // solved for in a long row
constexpr size_t kLeastWeights = 64;
constexpr int64_t kLeastDropped = 3;
constexpr double kLeastWeight = 0.01;  // smaller ones are lost in the rounding of o
constexpr double kMost = 0.95;         // of the weights are 0 or kept

// What a solved weight may be off by, to one that is kept. A long row's has the noise of the keys
// that are not solved for, of which this is three standard deviations.
constexpr double kNear = 0.1, kNearInLongRows = 0.3;
constexpr double kDeviations = 3;
constexpr double kMostNoise = 0.35;  // where p / (1 - p) is 1

// The row's softmax weights [n], in f64.
std::vector<double> Weights(const GatheredRow& row) {
  std::vector<double> p(row.n);
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int64_t j = 0; j < row.n; ++j) {
    double score = 0;
    for (int64_t d = 0; d < row.D; ++d)
      score += static_cast<double>(row.q[d]) * row.k[j * row.D + d];
    p[j] = score * row.scale;
    most = std::max(most, p[j]);
  }
  for (double& x : p) sum += x = number::ExpF64(x - most);
  for (double& x : p) x /= sum;
  return p;
}

// One weight that was solved for.
struct Solved {
  int64_t key;
  double weight;       // that gives what was got
  double noise;        // the ratio's standard deviation where p / (1 - p) is 1
  bool tells = false;  // which of the two it is
};

struct SolvedRow {
  GatheredRow keys;
  IntervalBlock want;
  std::vector<double> o;         // got
  std::vector<double> p;         // right weights
  std::vector<Solved> heaviest;  // at most half as many as o has dimensions
  std::vector<double> variance;  // [D], of the other keys' part of o, where p / (1 - p) is 1
};

double Dot(const GatheredRow& row, int64_t j, const auto& other) {
  double sum = 0;
  for (int64_t d = 0; d < row.D; ++d) sum += static_cast<double>(row.v[j * row.D + d]) * other[d];
  return sum;
}

// Fills in p, heaviest and variance, the other keys as they should be; false: V does not tell.
bool Solve(SolvedRow& row) {
  const GatheredRow& keys = row.keys;
  row.p = Weights(keys);
  std::vector<int64_t> order(keys.n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t i, int64_t j) { return row.p[i] > row.p[j]; });
  const int64_t n = std::min({keys.n, keys.D / 2, kMostKeys});
  std::vector<double> rest = row.o;
  row.variance.assign(keys.D, 0);
  for (int64_t k = n; k < keys.n; ++k) {
    for (int64_t d = 0; d < keys.D; ++d) {
      const double part = row.p[order[k]] * keys.v[order[k] * keys.D + d];
      rest[d] -= part;
      row.variance[d] += part * part;
    }
  }
  const double variance =
      std::accumulate(row.variance.begin(), row.variance.end(), 0.0) / static_cast<double>(keys.D);
  std::vector<double> A(n * n), w(n);
  for (int64_t i = 0; i < n; ++i) {
    w[i] = Dot(keys, order[i], rest);
    for (int64_t j = 0; j < n; ++j) A[i * n + j] = Dot(keys, order[i], &keys.v[order[j] * keys.D]);
  }
  if (!number::SolveByCholesky(A, w)) return false;
  for (int64_t i = 0; i < n; ++i) {
    Solved solved{order[i], w[i], 0};
    const double p = row.p[order[i]];
    if (variance > 0) {
      solved.noise = std::sqrt(variance / A[i * n + i]) / p;  // or more, as A is not diagonal
      solved.tells = solved.noise <= kMostNoise;
      if (solved.tells) {
        std::vector<double> column(n);
        column[i] = 1;
        solved.tells = number::SolveByCholesky(A, column);
        solved.noise = std::sqrt(variance * std::max(column[i], 0.0)) / p;
        solved.tells &= solved.noise <= kMostNoise;
      }
    } else {
      solved.tells = p >= kLeastWeight;
    }
    row.heaviest.push_back(solved);
  }
  return true;
}

// Rows whose weights are solved for, and what they say together.
class Dropout {
 public:
  Dropout(const Capture& capture, const AttentionStart& start, const std::vector<RowPlace>& places,
          double near)
      : near_(near) {
    exact::MistakenAttention right;
    right.attention = start.attention();
    const std::vector<IntervalBlock> want = start.Intervals(places);
    for (size_t n = 0; n < places.size(); ++n) {
      const auto [b, h, i] = places[n];
      SolvedRow row;
      row.want = want[n];
      for (int64_t d = 0; d < capture.o.shape[3]; ++d) row.o.push_back(capture.o.At(b, i, h, d));
      Gather(right, places[n], row.keys);
      if (Solve(row)) rows_.push_back(std::move(row));
    }
  }

  // Whether rows were solved for so many weights that they tell.
  bool Tells() const { return Ratios(kMostNoise).size() >= kLeastWeights; }

  std::optional<Finding> AsFinding() const {
    const std::optional<double> p = Dropped();
    if (!p) return std::nullopt;
    int64_t judged = 0, inside = 0;
    for (const SolvedRow& row : rows_) {
      const std::vector<double> o = Answer(row, *p);
      for (size_t d = 0; d < o.size(); ++d) {
        const Interval& interval = row.want.o[d];
        if (!(interval.low <= interval.high)) continue;
        const double width = static_cast<double>(interval.high) - interval.low;
        const double noise = std::sqrt(row.variance[d] * *p / (1 - *p));
        ++judged;
        inside += std::fabs(row.o[d] - o[d]) <= width / (1 - *p) + kDeviations * noise;
      }
    }
    if (judged == 0) return std::nullopt;
    return Finding{"dropout", fmt::format("with a probability of {:.2g}", *p),
                   static_cast<double>(inside) / static_cast<double>(judged)};
  }

 private:
  // Of weights solved for to right ones, where they have at most so much noise.
  std::vector<double> Ratios(double most_noise) const {
    std::vector<double> ratios;
    for (const SolvedRow& row : rows_) {
      for (const Solved& solved : row.heaviest) {
        if (solved.tells && solved.noise <= most_noise)
          ratios.push_back(solved.weight / row.p[solved.key]);
      }
    }
    return ratios;
  }

  // What the row answers with every weight dropped or kept; those that do not tell stay as they
  // are.
  static std::vector<double> Answer(const SolvedRow& row, double p) {
    std::vector<double> w = row.p;
    for (const Solved& solved : row.heaviest) {
      const double kept = row.p[solved.key] / (1 - p);
      w[solved.key] = !solved.tells ? solved.weight : solved.weight < kept / 2 ? 0 : kept;
    }
    std::vector<double> o(row.keys.D);
    for (int64_t j = 0; j < row.keys.n; ++j) {
      for (int64_t d = 0; d < row.keys.D; ++d) o[d] += w[j] * row.keys.v[j * row.keys.D + d];
    }
    return o;
  }

  // The probability of dropping a weight, where all are dropped or kept: nothing else leaves out
  // some and makes the others larger by just what is missing.
  std::optional<double> Dropped() const {
    std::vector<double> kept;
    for (const double ratio : Ratios(kMostNoise)) {
      if (ratio > 0.5) kept.push_back(ratio);
    }
    if (kept.empty()) return std::nullopt;
    const auto middle = kept.begin() + static_cast<int64_t>(kept.size() / 2);
    std::nth_element(kept.begin(), middle, kept.end());
    const double larger = *middle, p = 1 - 1 / larger;
    if (!(p >= 0.01)) return std::nullopt;
    // A ratio's noise is this times sqrt(p / (1 - p)), and a kept one is 1 / (1 - p).
    const std::vector<double> ratios = Ratios(near_ / kDeviations / std::sqrt(p * (1 - p)));
    int64_t zero = 0, full = 0;
    for (const double ratio : ratios) {
      zero += std::fabs(ratio) <= near_ * larger;
      full += std::fabs(ratio - larger) <= near_ * larger;
    }
    const double all = static_cast<double>(ratios.size());
    const double share = static_cast<double>(zero) / all;
    if (ratios.size() < kLeastWeights || zero < kLeastDropped) return std::nullopt;
    if (static_cast<double>(zero + full) < kMost * all) return std::nullopt;
    if (std::fabs(share - p) > 5 * std::sqrt(p * (1 - p) / all)) return std::nullopt;
    return p;
  }

  double near_;
  std::vector<SolvedRow> rows_;
};

// Rows that see some keys, at most half as many as o has dimensions: the first ones of documents
// for the most part.
std::vector<RowPlace> ShortRows(const AttentionProblem& problem) {
  const Mask& mask = problem.mask;
  const int64_t most = problem.shape.D / 2;
  std::set<std::pair<int64_t, int64_t>> tokens;
  for (int64_t b = 0; b < mask.B; ++b) {
    std::vector<int64_t> starts = Evenly(exact::DocumentStarts(mask, b), kShortTokens);
    starts.insert(starts.begin(), 0);
    for (const int64_t s : starts) {
      for (int64_t by = most; by-- > 1;) tokens.insert({b, s - mask.Offset() + by});
    }
  }
  std::vector<RowPlace> rows;
  int64_t turn = 0;
  for (const auto& [b, i] : tokens) {
    if (i < 0 || i >= mask.Sq) continue;
    int64_t keys = 0;
    for (int64_t j = 0; j < mask.Skv && keys <= most; ++j) keys += mask.Visible(b, i, j);
    if (keys >= 2 && keys <= most) rows.push_back({b, turn++ % problem.shape.Hq, i});
  }
  return Evenly(rows, kShortRows);
}

}  // namespace

std::optional<Finding> DropoutFinding(const Capture& capture, const AttentionStart& start,
                                      const Verdict& verdict) {
  const OutputVerdict *o = Find(verdict, "o"), *lse = Find(verdict, "lse");
  if (o == nullptr || !o->census.Failed() || (lse != nullptr && lse->Failed())) return std::nullopt;
  const Dropout by_short_rows(capture, start, ShortRows(start.problem().problem), kNear);
  if (by_short_rows.Tells()) return by_short_rows.AsFinding();
  if (lse == nullptr) return std::nullopt;
  const std::vector<RowPlace> rows = Evenly(WrongRows(verdict), kLongRows);
  return Dropout(capture, start, rows, kNearInLongRows).AsFinding();
}

}  // namespace bitanchor::tools
