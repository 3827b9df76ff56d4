#include "lib/verdict/bias.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <tuple>

#include "lib/tensor/tensor_view.h"

namespace bitanchor {
namespace {

constexpr double kFixedPoint = 0x1p20;
// What is beyond is cut: no bias, but a fault that others see.
constexpr double kMostError = 0x1p14, kMostSlope = 16, kMostSum = 0x1p20;

int64_t Fixed(double x) { return std::llround(std::clamp(x, -kMostSum, kMostSum) * kFixedPoint); }
double FromFixed(int64_t x) { return static_cast<double>(x) / kFixedPoint; }

// The same of products of two errors, which are larger and need not be so exact.
constexpr double kSquareFixedPoint = 0x1p12, kMostSquare = 0x1p28;
int64_t FixedSquare(double x) {
  return std::llround(std::clamp(x, -kMostSquare, kMostSquare) * kSquareFixedPoint);
}
double FromFixedSquare(int64_t x) { return static_cast<double>(x) / kSquareFixedPoint; }

// What an element's error is projected on.
std::array<double, kWitnesses.size()> Regressors(const Interval& want) {
  const double size = want.size;
  return {1.0, want.want / size, std::clamp(want.scale_slope / size, -kMostSlope, kMostSlope)};
}

// How much of the right rounding's error answers have, 0 to 1: from the sums of e r and r^2.
double Share(double error_rounding, double rounding_rounding) {
  return rounding_rounding > 0 ? std::clamp(error_rounding / rounding_rounding, 0.0, 1.0) : 0.0;
}

// What is left of the sum of e^2 without that.
double Unshared(double error_error, double error_rounding, double rounding_rounding) {
  const double share = Share(error_rounding, rounding_rounding);
  return std::max(0.0, error_error - share * (2 * error_rounding - share * rounding_rounding));
}

// The variance of a sum whose addends have causes in common within a cluster: residuals summed over
// each cluster, squared and summed, corrected for few clusters. Add them ordered by cluster.
class ClusteredVariance {
 public:
  void Add(bool new_cluster, double residual) {
    if (new_cluster) Close();
    sum_ += residual;
    open_ = true;
  }
  double Value() {  // 0 where there are fewer than two clusters
    Close();
    const double n = static_cast<double>(clusters_);
    return clusters_ < 2 ? 0 : squares_ * n / (n - 1);
  }
  int64_t clusters() const { return clusters_; }

 private:
  void Close() {
    if (!open_) return;
    squares_ += sum_ * sum_;
    sum_ = 0;
    open_ = false;
    ++clusters_;
  }
  bool open_ = false;
  int64_t clusters_ = 0;
  double sum_ = 0, squares_ = 0;
};

}  // namespace

std::string_view Name(Witness witness) {
  switch (witness) {
    case Witness::kOffset:
      return "offset";
    case Witness::kGain:
      return "gain";
    case Witness::kScale:
      return "scale";
  }
  return "";
}

double UnitRoundoff(DType dtype) {
  if (dtype == DType::kBF16) return 0x1p-8;
  if (dtype == DType::kF16) return 0x1p-11;
  return 0x1p-24;
}

void Bias::AddRow(int64_t b, int64_t s, int64_t h, const float* got, const Interval* want,
                  int64_t n) {
  Sums<double> sums;
  uint64_t alike = 0xcbf29ce484222325;  // FNV-1a, by words
  bool any = false;
  Head& head = heads_[h];
  auto& columns = head.columns;
  Hypotheses<double> hypotheses = {};
  if (columns.size() < static_cast<size_t>(n)) columns.resize(n);
  for (int64_t d = 0; d < n; ++d) {
    if (want[d].size == 0 || !std::isfinite(got[d]) || !std::isfinite(want[d].want)) continue;
    any = true;
    alike = (alike ^ std::bit_cast<uint64_t>(want[d].want)) * 0x100000001b3;
    const double unit = UnitRoundoff(dtype_) * want[d].size, share = 1 / static_cast<double>(n);
    const auto error = [&](double answer) {
      return std::clamp((answer - want[d].want) / unit, -kMostError, kMostError);
    };
    const double e = error(got[d]), r = error(RoundTo(dtype_, want[d].want));
    const auto on = Regressors(want[d]);
    for (size_t w = 0; w < on.size(); ++w) {
      sums.error[w] += e * on[w] * share;
      sums.rounding[w] += r * on[w] * share;
      sums.weight[w] += on[w] * on[w] * share;
      columns[d].error[w] += Fixed(e * on[w]);
      columns[d].rounding[w] += Fixed(r * on[w]);
      columns[d].weight[w] += Fixed(on[w] * on[w]);
    }
    sums.error_rounding += e * r * share;
    sums.rounding_rounding += r * r * share;
    sums.error_error += e * e * share;
    const double inward = want[d].lost_inward, down = want[d].lost_downward;
    std::array<double, kHypotheses> moved = {};
    std::copy(want[d].imagined.begin(), want[d].imagined.end(), moved.begin());
    const std::array<double, kHypotheses - kImagined> lost = {-inward, inward, -down, down};
    std::copy(lost.begin(), lost.end(), moved.begin() + kImagined);
    for (size_t k = 0; k < kHypotheses; ++k) {
      double theirs = error(RoundTo(dtype_, want[d].want + moved[k]));
      // The most that may be lost moves what lies on a tie; the mean of it, all the rest.
      if (k >= kImagined) theirs -= moved[k] / unit / 2;
      for (size_t w = 0; w < on.size(); ++w) hypotheses[k].error[w] += theirs * on[w] * share;
      hypotheses[k].error_rounding += theirs * r * share;
      hypotheses[k].error_error += theirs * theirs * share;
    }
  }
  if (!any) return;
  for (size_t k = 0; k < kHypotheses; ++k) {
    for (size_t w = 0; w < kWitnesses.size(); ++w)
      head.hypotheses[k].error[w] += Fixed(hypotheses[k].error[w]);
    head.hypotheses[k].error_rounding += FixedSquare(hypotheses[k].error_rounding);
    head.hypotheses[k].error_error += FixedSquare(hypotheses[k].error_error);
  }
  Row row{static_cast<int32_t>(b),
          static_cast<int32_t>(h),
          static_cast<int32_t>(s),
          static_cast<uint32_t>(alike ^ alike >> 32),
          {}};
  for (size_t w = 0; w < kWitnesses.size(); ++w) {
    row.sums.error[w] = static_cast<float>(sums.error[w]);
    row.sums.rounding[w] = static_cast<float>(sums.rounding[w]);
    row.sums.weight[w] = static_cast<float>(sums.weight[w]);
  }
  row.sums.error_rounding = static_cast<float>(sums.error_rounding);
  row.sums.rounding_rounding = static_cast<float>(sums.rounding_rounding);
  row.sums.error_error = static_cast<float>(sums.error_error);
  rows_.push_back(row);
}

void Bias::Merge(const Bias& other) {
  rows_.insert(rows_.end(), other.rows_.begin(), other.rows_.end());
  for (const auto& [h, their_head] : other.heads_) {
    Head& our_head = heads_[h];
    for (size_t k = 0; k < kHypotheses; ++k) our_head.hypotheses[k] += their_head.hypotheses[k];
    const auto& theirs = their_head.columns;
    auto& ours = our_head.columns;
    if (ours.size() < theirs.size()) ours.resize(theirs.size());
    for (size_t d = 0; d < theirs.size(); ++d) ours[d] += theirs[d];
  }
}

std::vector<int64_t> Bias::Heads() const {
  std::vector<int64_t> heads;
  for (const auto& [h, sums] : heads_) heads.push_back(h);
  return heads;
}

BiasEstimate Bias::Estimate(Witness witness, std::optional<int64_t> head) const {
  const size_t w = static_cast<size_t>(witness);
  std::vector<Row> rows;
  std::copy_if(rows_.begin(), rows_.end(), std::back_inserter(rows),
               [&](const Row& row) { return !head || row.h == *head; });
  const auto place = [](const Row& row) { return std::tuple(row.b, row.h, row.s); };
  std::sort(rows.begin(), rows.end(),
            [&](const Row& x, const Row& y) { return place(x) < place(y); });
  double both = 0, alone = 0, all = 0, raw = 0, rounding = 0, weight = 0;
  for (const Row& row : rows) {
    both += row.sums.error_rounding;
    alone += row.sums.rounding_rounding;
    all += row.sums.error_error;
    raw += row.sums.error[w];
    rounding += row.sums.rounding[w];
    weight += row.sums.weight[w];
  }
  if (weight == 0) return {};
  const double beta = Share(both, alone), error = raw - beta * rounding, bias = error / weight;
  const auto residual = [&](const auto& sums) {
    return static_cast<double>(sums.error[w]) - beta * static_cast<double>(sums.rounding[w]) -
           bias * static_cast<double>(sums.weight[w]);
  };

  ClusteredVariance by_head, by_column, by_row;
  const Row* last = nullptr;
  for (const Row& row : rows) {
    by_head.Add(last == nullptr || row.b != last->b || row.h != last->h, residual(row.sums));
    last = &row;
  }
  Hypotheses<double> hypotheses = {};
  for (const auto& [h, sums] : heads_) {
    if (head && h != *head) continue;
    for (size_t k = 0; k < kHypotheses; ++k) {
      hypotheses[k].error[w] += FromFixed(sums.hypotheses[k].error[w]);
      hypotheses[k].error_rounding += FromFixedSquare(sums.hypotheses[k].error_rounding);
      hypotheses[k].error_error += FromFixedSquare(sums.hypotheses[k].error_error);
    }
    const double scale = kFixedPoint * static_cast<double>(sums.columns.size());  // rows hold means
    for (const auto& column : sums.columns) by_column.Add(true, residual(column) / scale);
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row& x, const Row& y) { return x.alike < y.alike; });
  last = nullptr;
  for (const Row& row : rows) {
    by_row.Add(last == nullptr || row.alike != last->alike, residual(row.sums));
    last = &row;
  }
  double imagined = 0, imagined_all = 0, loss = 0;  // mean squares; the largest bias
  for (size_t k = 0; k < kHypotheses; ++k) {
    const double share = Share(hypotheses[k].error_rounding, alone);
    const double sum = hypotheses[k].error[w] - share * rounding;
    if (k >= kImagined) {
      loss = std::max(loss, std::fabs(sum) / weight);
      continue;
    }
    imagined += sum * sum / kImagined;
    imagined_all +=
        Unshared(hypotheses[k].error_error, hypotheses[k].error_rounding, alone) / kImagined;
  }
  // A kernel that keeps its weights in f32 has less of them. What the last rounding leaves of
  // errors small beside an ulp is a share of answers off by one: squares are as the errors
  // themselves.
  const double unshared = Unshared(all, both, alone);
  if (unshared < imagined_all) imagined *= unshared / imagined_all * (unshared / imagined_all);
  const double variance = std::max({by_row.Value(), by_column.Value(), by_head.Value(), imagined});
  if (loss > 0) loss += 2 * std::sqrt(variance) / weight;  // it scatters as the kernel's bias does
  const double least = std::fabs(error) * 0x1p-40;         // errors that are all the same
  const double sigma = error == 0 ? 0 : error / std::max(std::sqrt(variance), least);
  const double rms = std::sqrt(weight / static_cast<double>(rows.size()));
  return {bias, sigma, std::fabs(bias) * rms, by_row.clusters(), loss};
}

std::vector<BiasFinding> FindBias(const Bias& bias, const BiasFloor& floor,
                                  std::span<const Witness> witnesses) {
  const auto look = [&](Witness witness, std::optional<int64_t> head) {
    const BiasEstimate estimate = bias.Estimate(witness, head);
    const BiasFloor here = {std::max(floor.bias, estimate.loss), floor.effect};
    const bool fails = estimate.clusters >= kLeastBiasRows &&
                       std::fabs(estimate.sigma) >= kBiasSigma &&
                       std::fabs(estimate.bias) > here.bias && estimate.effect > here.effect;
    return BiasFinding{witness, head, estimate, here, fails};
  };
  std::vector<BiasFinding> findings;
  for (const Witness witness : witnesses) {
    const BiasFinding overall = look(witness, std::nullopt);
    if (overall.estimate.clusters == 0) continue;
    findings.push_back(overall);
    if (overall.fails) continue;
    for (const int64_t head : bias.Heads()) {
      const BiasFinding one = look(witness, head);
      if (one.fails) findings.push_back(one);
    }
  }
  return findings;
}

}  // namespace bitanchor
