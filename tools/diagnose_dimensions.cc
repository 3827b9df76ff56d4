#include "tools/diagnose_dimensions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tools/telling_rows.h"

namespace bitanchor::tools {
namespace {

using exact::RowPlace;

constexpr size_t kRows = 512;
constexpr int64_t kLeastRows = 32;  // wrong or measured: fewer say nothing about a dimension
constexpr double kSigma = 8;        // elements of a row share causes: standard errors are too small
constexpr double kMost = 0.98;      // of the wrong elements
constexpr size_t kLongestList = 6;
constexpr double kLeastGain = 1e-3;  // of all dimensions alike; a fainter one is a row sum's

// One dimension's gain, by least squares over rows: got - want = gain * want, each row in units of
// its own size.
struct Gain {
  int64_t rows = 0;
  double ww = 0, we = 0, ee = 0;

  void Add(const Interval& interval, float got) {
    if (!std::isfinite(got) || !std::isfinite(interval.want) || !(interval.magnitude > 0)) return;
    const double want = interval.want / interval.magnitude;
    const double error = (got - interval.want) / interval.magnitude;
    ++rows;
    ww += want * want;
    we += want * error;
    ee += error * error;
  }
  bool Measured() const { return rows >= kLeastRows && ww > 0; }
  double Value() const { return we / ww; }
  double StandardError() const {
    return std::sqrt(std::max(0.0, ee - we * we / ww) / (static_cast<double>(rows) * ww));
  }
};

// Dimensions that are wrong and, where one fits, the factor that they are off by.
struct WrongDimensions {
  std::vector<int64_t> dimensions;  // ascending
  std::optional<double> factor;
  bool Has(int64_t d) const { return std::ranges::binary_search(dimensions, d); }
};

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Those whose gain is none of the others'.
WrongDimensions OffByAFactor(const std::vector<Gain>& gains, double roundoff) {
  WrongDimensions wrong;
  std::vector<double> values;
  for (const Gain& gain : gains) {
    if (!gain.Measured()) return {};
    values.push_back(gain.Value());
  }
  const double usual = Median(values);
  double least = 0, most = 0, error = 0;
  for (size_t d = 0; d < gains.size(); ++d) {
    const double off = values[d] - usual, allowed = kSigma * gains[d].StandardError();
    if (std::fabs(off) <= std::max(allowed, roundoff / 4)) continue;
    least = wrong.dimensions.empty() ? values[d] : std::min(least, values[d]);
    most = wrong.dimensions.empty() ? values[d] : std::max(most, values[d]);
    error = std::max(error, allowed);
    wrong.dimensions.push_back(static_cast<int64_t>(d));
  }
  if (most - least <= 2 * error) wrong.factor = 1 + (least + most) / 2;
  return wrong;
}

// Those that hold the wrong elements, whatever their errors.
WrongDimensions ByCount(const Census& census) {
  const std::vector<int64_t>& counts = census.wrong_by_column;
  WrongDimensions wrong;
  if (counts.empty()) return wrong;
  const int64_t most = *std::max_element(counts.begin(), counts.end());
  if (most < kLeastRows) return wrong;
  for (size_t d = 0; d < counts.size(); ++d) {
    if (4 * counts[d] >= most) wrong.dimensions.push_back(static_cast<int64_t>(d));
  }
  return wrong;
}

// "dimension 5", "dimensions 32..63", "dimensions 3 mod 8", "dimensions 1, 5, 6".
std::string InWords(const std::vector<int64_t>& dimensions, int64_t D) {
  const int64_t first = dimensions.front(), n = static_cast<int64_t>(dimensions.size());
  if (n == 1) return fmt::format("dimension {}", first);
  if (dimensions.back() - first == n - 1)
    return fmt::format("dimensions {}..{}", first, dimensions.back());
  const int64_t period = dimensions[1] - first;
  bool regular = first < period && dimensions.back() + period >= D;
  for (int64_t k = 1; k < n; ++k) regular &= dimensions[k] - dimensions[k - 1] == period;
  if (regular) return fmt::format("dimensions {} mod {}", first, period);
  if (dimensions.size() <= kLongestList)
    return fmt::format("dimensions {}", fmt::join(dimensions, ", "));
  return fmt::format("{} dimensions from {} to {}", n, first, dimensions.back());
}

// The interval of a kernel that multiplies what it stores.
Interval Times(double factor, DType dtype, const Interval& interval) {
  const float one = RoundTo(dtype, factor * interval.low);
  const float other = RoundTo(dtype, factor * interval.high);
  return {factor * interval.want, std::min(one, other), std::max(one, other)};
}

// A fair sample of the heads that have wrong elements; of all where none has.
std::vector<RowPlace> Rows(const Census& of_o, const AttentionProblem& problem) {
  std::set<std::pair<int64_t, int64_t>> wrong;
  for (const RowRecord& row : of_o.Rows()) {
    if (row.wrong > 0) wrong.insert({row.b, row.h});
  }
  std::vector<RowPlace> rows = SpreadRows(problem, kRows);
  const auto right = [&](const RowPlace& row) { return wrong.count({row.b, row.h}) == 0; };
  if (!wrong.empty()) rows.erase(std::remove_if(rows.begin(), rows.end(), right), rows.end());
  return rows;
}

// The factor that o is off by, of each head of the rows; Gain counts elements.
std::map<int64_t, double> FactorsOfHeads(const TensorView& o, const std::vector<RowPlace>& rows,
                                         const std::vector<IntervalBlock>& want) {
  std::map<int64_t, Gain> gains;
  for (size_t n = 0; n < rows.size(); ++n) {
    const auto& [b, h, i] = rows[n];
    for (size_t d = 0; d < want[n].o.size(); ++d)
      gains[h].Add(want[n].o[d], o.At(b, i, h, static_cast<int64_t>(d)));
  }
  std::map<int64_t, double> factors;
  for (const auto& [h, gain] : gains) factors[h] = gain.Measured() ? 1 + gain.Value() : 1;
  return factors;
}

// "1.1 times, in head 2", "1.1 times" of all Hq heads, "head 0 1.1 times, head 1 0.9 times".
std::string FactorsInWords(const std::map<int64_t, double>& factors, int64_t Hq) {
  const auto off = [](double factor) { return std::fabs(factor - 1) >= kLeastGain; };
  std::vector<int64_t> heads;
  std::vector<std::string> each;
  double least = std::numeric_limits<double>::infinity(), most = 0;
  for (const auto& [h, factor] : factors) {
    if (!off(factor)) continue;
    heads.push_back(h);
    each.push_back(fmt::format("head {} {:.4g} times", h, factor));
    least = std::min(least, factor);
    most = std::max(most, factor);
  }
  if (most - least >= kLeastGain) {
    if (each.size() > kLongestList) return fmt::format("{:.4g} to {:.4g} times", least, most);
    return fmt::format("{}", fmt::join(each, ", "));
  }
  std::string words = fmt::format("{:.4g} times", (least + most) / 2);
  if (static_cast<int64_t>(heads.size()) == Hq) return words;
  if (heads.size() > kLongestList) return words + fmt::format(", in {} heads", heads.size());
  return words +
         fmt::format(", in head{} {}", heads.size() == 1 ? "" : "s", fmt::join(heads, ", "));
}

// All dimensions alike, where LSE is right. rows: with their intervals.
std::optional<Finding> Scaled(const Capture& capture, const Verdict& verdict,
                              const std::vector<RowPlace>& rows,
                              const std::vector<IntervalBlock>& want) {
  const OutputVerdict* const lse = Find(verdict, "lse");
  if (lse != nullptr && lse->Failed()) return std::nullopt;
  const std::map<int64_t, double> factors = FactorsOfHeads(capture.o, rows, want);
  bool scaled = false;
  for (const auto& [h, factor] : factors) {
    if (!(factor > kLeastGain)) return std::nullopt;  // zeros, and other signs
    scaled |= std::fabs(factor - 1) >= kLeastGain;
  }
  if (!scaled) return std::nullopt;
  int64_t judged = 0, inside = 0, wrong = 0, wrong_inside = 0;
  for (size_t n = 0; n < rows.size(); ++n) {
    const auto& [b, h, i] = rows[n];
    for (size_t d = 0; d < want[n].o.size(); ++d) {
      const Interval& interval = want[n].o[d];
      if (interval.low > interval.high) continue;
      const float got = capture.o.At(b, i, h, static_cast<int64_t>(d));
      const bool out = !Admits(interval, got);
      const bool explained = Admits(Times(factors.at(h), capture.o.dtype, interval), got);
      ++judged;
      inside += explained;
      wrong += out;
      wrong_inside += out && explained;
    }
  }
  if (wrong == 0) return std::nullopt;
  return Finding{"output-scaled", FactorsInWords(factors, capture.o.shape[2]),
                 std::min(static_cast<double>(inside) / static_cast<double>(judged),
                          static_cast<double>(wrong_inside) / static_cast<double>(wrong))};
}

}  // namespace

std::optional<Finding> DimensionFinding(const Capture& capture, const AttentionStart& start,
                                        const Verdict& verdict) {
  const OutputVerdict* const o = Find(verdict, "o");
  if (o == nullptr) return std::nullopt;
  const std::vector<RowPlace> rows = Rows(o->census, start.problem().problem);
  const std::vector<IntervalBlock> want = start.Intervals(rows);
  const int64_t D = capture.o.shape[3];
  const DType dtype = capture.o.dtype;
  const auto got = [&](size_t n, int64_t d) {
    return capture.o.At(rows[n].b, rows[n].i, rows[n].h, d);
  };
  std::vector<Gain> gains(D);
  for (size_t n = 0; n < rows.size(); ++n) {
    for (int64_t d = 0; d < D; ++d) gains[d].Add(want[n].o[d], got(n, d));
  }
  WrongDimensions wrong = OffByAFactor(gains, UnitRoundoff(dtype));
  if (wrong.dimensions.empty()) wrong = ByCount(o->census);
  if (wrong.dimensions.empty() || 2 * static_cast<int64_t>(wrong.dimensions.size()) > D)
    return Scaled(capture, verdict, rows, want);

  // All wrong elements for the place, those of the sample for the factor.
  const std::vector<int64_t>& counts = o->census.wrong_by_column;
  double all = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  double here = 0;
  if (const OutputVerdict* lse = Find(verdict, "lse"))
    all += static_cast<double>(lse->census.outside + lse->census.nonfinite_mismatch);
  for (const int64_t d : wrong.dimensions)
    here += counts.empty() ? 0 : static_cast<double>(counts[d]);
  double explains = all > 0 ? here / all : 1;
  if (explains < kMost) return Scaled(capture, verdict, rows, want);
  std::string where = InWords(wrong.dimensions, D);
  if (wrong.factor) {
    int64_t judged = 0, inside = 0;
    for (size_t n = 0; n < rows.size(); ++n) {
      for (const int64_t d : wrong.dimensions) {
        if (want[n].o[d].low > want[n].o[d].high) continue;
        ++judged;
        inside += Admits(Times(*wrong.factor, dtype, want[n].o[d]), got(n, d));
      }
    }
    const double fits = judged > 0 ? static_cast<double>(inside) / static_cast<double>(judged) : 0;
    if (fits >= kMost) {
      where += fmt::format(", {:.4g} times what they should be", *wrong.factor);
      explains *= fits;
    }
  }
  return Finding{"dimensions-wrong", where, explains};
}

}  // namespace bitanchor::tools
