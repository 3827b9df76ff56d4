#include "tools/diagnose_dropout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "lib/exact/attention_mistakes.h"
#include "lib/exact/mistaken_attention.h"
#include "lib/number/least_squares.h"
#include "tools/telling_rows.h"

namespace bitanchor::tools {
namespace {

using exact::GatheredRow;
using exact::RowPlace;

constexpr size_t kShortRows = 64;    // whose weights are solved for
constexpr size_t kShortTokens = 16;  // of one document
constexpr size_t kLongRows = 64;     // whose errors are measured
constexpr int64_t kLeastWeights = 64;
constexpr double kLeastWeight = 0.01;  // smaller ones are lost in the rounding of o
constexpr double kNear = 0.1;          // what a solved weight may be off by, in its own size
constexpr double kMost = 0.95;         // of the weights are 0 or kept

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
  for (double& x : p) sum += x = std::exp(x - most);
  for (double& x : p) x /= sum;
  return p;
}

// The weights w [n] whose sum of w_j v_j is nearest to o [D]; false: V does not tell.
bool Solved(const GatheredRow& row, const std::vector<double>& o, std::vector<double>& w) {
  const auto dot = [&](int64_t j, const auto& other) {
    double sum = 0;
    for (int64_t d = 0; d < row.D; ++d) sum += static_cast<double>(row.v[j * row.D + d]) * other[d];
    return sum;
  };
  std::vector<double> A(row.n * row.n);
  w.assign(row.n, 0);
  for (int64_t i = 0; i < row.n; ++i) {
    w[i] = dot(i, o);
    for (int64_t j = 0; j < row.n; ++j) A[i * row.n + j] = dot(i, &row.v[j * row.D]);
  }
  return number::SolveByCholesky(std::move(A), w);
}

// Errors of o, and what they would be on average where p / (1 - p) is 1: both squared.
struct Variance {
  double squares = 0, made = 0;
  void operator+=(const Variance& other) {
    squares += other.squares;
    made += other.made;
  }
  double Value() const { return made > 0 ? squares / made : 0; }
};

double FirstDecile(const std::vector<Variance>& variances) {
  std::vector<double> values;
  for (const Variance& variance : variances) values.push_back(variance.Value());
  const auto decile = values.begin() + static_cast<int64_t>(values.size() / 10);
  std::nth_element(values.begin(), decile, values.end());
  return *decile;
}

// The variance of an error that dropout makes is p / (1 - p) sum_j (p_j v_j)^2, in every dimension
// of every row; and rows have no errors in common.
class ErrorsOfRows {
 public:
  explicit ErrorsOfRows(int64_t D) : together_(D), by_dimension_(D) {}

  // false: the row's errors are none, or not finite.
  bool Add(const GatheredRow& row, const std::vector<double>& got,
           const std::vector<Interval>& want) {
    const std::vector<double> p = Weights(row);
    std::vector<double> error(row.D);
    double errors_want = 0, wants = 0;
    Variance of_row;
    for (int64_t d = 0; d < row.D; ++d) {
      Variance element;
      for (int64_t j = 0; j < row.n; ++j) {
        const double part = p[j] * row.v[j * row.D + d];
        element.made += part * part;
      }
      error[d] = got[d] - want[d].want;
      element.squares = error[d] * error[d];
      errors_want += error[d] * want[d].want;
      wants += want[d].want * want[d].want;
      for (Variance* sum : {&of_row, &by_dimension_[d], &all_}) *sum += element;
      elements_.push_back(element);
    }
    const double size = std::sqrt(of_row.squares);
    if (!(size > 0) || !std::isfinite(size) || !(wants > 0)) return false;
    for (int64_t d = 0; d < row.D; ++d) together_[d] += error[d] / size;
    with_want_ += errors_want / (size * std::sqrt(wants));
    by_row_.push_back(of_row);
    return true;
  }

  std::optional<Finding> AsDropout() const {
    const double variance = all_.Value(), p = variance / (1 + variance);
    const double rows = static_cast<double>(by_row_.size());
    // Of errors with nothing in common the sum is as long as sqrt(rows), and so at most is that of
    // their cosines.
    double common = 0;
    for (const double x : together_) common += x * x;
    if (common > kCommon * rows || std::fabs(with_want_) > kWithWant * rows) return std::nullopt;
    const double least = std::min(FirstDecile(by_row_), FirstDecile(by_dimension_));
    if (least < variance / kSpread || p < kLeast || p > kMostDropped) return std::nullopt;
    double inside = 0;
    for (const Variance& element : elements_)
      inside += element.squares <= 9 * variance * element.made;
    return Finding{
        "dropout",
        fmt::format("its errors are those of a probability of about {:.2g}, at random in each row",
                    p),
        inside / static_cast<double>(elements_.size())};
  }

 private:
  static constexpr double kCommon = 6, kWithWant = 0.4, kSpread = 10;
  static constexpr double kLeast = 0.03, kMostDropped = 0.7;

  std::vector<double> together_;  // the rows' errors, of length 1 each, added up
  double with_want_ = 0;          // the cosines of errors and what was wanted, added up
  std::vector<Variance> by_dimension_, by_row_, elements_;
  Variance all_;
};

class Dropout {
 public:
  Dropout(const Capture& capture, const AttentionStart& start) : capture_(capture), start_(start) {
    kernel_.attention = start.attention();
    SolveShortRows();
  }

  // Whether rows were solved for so many weights that they tell.
  bool HasShortRows() const { return static_cast<int64_t>(ratios_.size()) >= kLeastWeights; }

  std::optional<Finding> ByShortRows() const {
    const std::optional<double> p = Dropped();
    if (!p) return std::nullopt;
    int64_t judged = 0, inside = 0;
    for (const ShortRow& row : rows_) {
      const std::vector<double> o = Answer(row, *p);
      for (size_t d = 0; d < o.size(); ++d) {
        const Interval& interval = row.want.o[d];
        if (!(interval.low <= interval.high)) continue;
        const double width = static_cast<double>(interval.high) - interval.low;
        ++judged;
        inside += std::fabs(row.o[d] - o[d]) <= width / (1 - *p);
      }
    }
    return Finding{"dropout", fmt::format("with a probability of {:.2g}", *p),
                   static_cast<double>(inside) / static_cast<double>(judged)};
  }

  std::optional<Finding> ByErrors(const std::vector<RowPlace>& places) const {
    ErrorsOfRows errors(capture_.o.shape[3]);
    const std::vector<IntervalBlock> want = start_.Intervals(places);
    GatheredRow row;
    for (size_t n = 0; n < places.size(); ++n) {
      Gather(kernel_, places[n], row);
      if (!errors.Add(row, Got(places[n]), want[n].o)) return std::nullopt;
    }
    return errors.AsDropout();
  }

 private:
  struct ShortRow {
    GatheredRow keys;
    IntervalBlock want;
    std::vector<double> o, p, w;  // got, right weights, weights that give what was got
  };

  void SolveShortRows() {
    const std::vector<RowPlace> places = ShortRows();
    const std::vector<IntervalBlock> want = start_.Intervals(places);
    for (size_t n = 0; n < places.size(); ++n) {
      ShortRow row{{}, want[n], Got(places[n]), {}, {}};
      Gather(kernel_, places[n], row.keys);
      row.p = Weights(row.keys);
      if (!Solved(row.keys, row.o, row.w)) continue;
      for (int64_t j = 0; j < row.keys.n; ++j) {
        if (row.p[j] >= kLeastWeight) ratios_.push_back(row.w[j] / row.p[j]);
      }
      rows_.push_back(std::move(row));
    }
  }

  // What the row answers with every weight dropped or kept; small ones stay as solved for.
  static std::vector<double> Answer(const ShortRow& row, double p) {
    std::vector<double> o(row.keys.D);
    for (int64_t j = 0; j < row.keys.n; ++j) {
      const double kept = row.p[j] / (1 - p);
      const double w = row.p[j] < kLeastWeight ? row.w[j] : row.w[j] < kept / 2 ? 0 : kept;
      for (int64_t d = 0; d < row.keys.D; ++d) o[d] += w * row.keys.v[j * row.keys.D + d];
    }
    return o;
  }

  std::vector<double> Got(const RowPlace& at) const {
    std::vector<double> o;
    for (int64_t d = 0; d < capture_.o.shape[3]; ++d)
      o.push_back(capture_.o.At(at.b, at.i, at.h, d));
    return o;
  }

  // Rows that see some keys, at most half as many as o has dimensions: the first ones of documents
  // for the most part.
  std::vector<RowPlace> ShortRows() const {
    const AttentionProblem& problem = start_.problem().problem;
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

  // The probability of dropping a weight, where all are dropped or kept.
  std::optional<double> Dropped() const {
    std::vector<double> kept;
    for (const double ratio : ratios_) {
      if (ratio > 0.5) kept.push_back(ratio);
    }
    if (kept.empty()) return std::nullopt;
    const auto middle = kept.begin() + static_cast<int64_t>(kept.size() / 2);
    std::nth_element(kept.begin(), middle, kept.end());
    const double larger = *middle, p = 1 - 1 / larger;
    int64_t zero = 0, full = 0;
    for (const double ratio : ratios_) {
      zero += std::fabs(ratio) <= kNear * larger;
      full += std::fabs(ratio - larger) <= kNear * larger;
    }
    const double all = static_cast<double>(ratios_.size());
    const double share = static_cast<double>(zero) / all;
    if (static_cast<double>(zero + full) < kMost * all || zero == 0 || p < 0.01)
      return std::nullopt;
    if (std::fabs(share - p) > 5 * std::sqrt(p * (1 - p) / all)) return std::nullopt;
    return p;
  }

  const Capture& capture_;
  const AttentionStart& start_;
  exact::MistakenAttention kernel_;  // the right one
  std::vector<ShortRow> rows_;
  std::vector<double> ratios_;  // of weights solved for to right ones, in all of them
};

// Wrong rows of the head that the first one is of.
std::vector<RowPlace> OneHeadsRows(const Verdict& verdict) {
  std::vector<RowPlace> rows = WrongRows(verdict);
  const RowPlace first = rows.front();
  const auto other = [&](const RowPlace& row) { return row.b != first.b || row.h != first.h; };
  rows.erase(std::remove_if(rows.begin(), rows.end(), other), rows.end());
  return Evenly(rows, kLongRows);
}

}  // namespace

std::optional<Finding> DropoutFinding(const Capture& capture, const AttentionStart& start,
                                      const Verdict& verdict) {
  const OutputVerdict *o = Find(verdict, "o"), *lse = Find(verdict, "lse");
  if (o == nullptr || !o->census.Failed() || (lse != nullptr && lse->Failed())) return std::nullopt;
  const Dropout dropout(capture, start);
  if (dropout.HasShortRows()) return dropout.ByShortRows();
  if (lse == nullptr) return std::nullopt;
  const std::vector<RowPlace> rows = OneHeadsRows(verdict);
  if (rows.size() < kLongRows / 2) return std::nullopt;
  return dropout.ByErrors(rows);
}

}  // namespace bitanchor::tools
