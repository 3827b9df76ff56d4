#include "tools/diagnose_schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "lib/number/least_squares.h"
#include "tools/schedule_candidates.h"
#include "tools/schedule_rows.h"
#include "tools/telling_rows.h"

namespace bitanchor::tools {
namespace {

using exact::MistakenAttention;
using exact::RowAnswer;
using exact::RowPlace;
using exact::TiledKernel;

constexpr size_t kFirstRows = 3;     // on which most candidates are found not to hold
constexpr double kFirstShare = 0.5;  // that they must explain there
constexpr double kNeeds = 0.95;      // of the squared error: f32's own noise is in what is left
constexpr double kSameShare = 1e-4;  // schedules that differ by less are not told apart
constexpr size_t kFitRows = 512;
constexpr int64_t kExpNodes = 16;
constexpr double kMostExpError = 0x1p-4;
constexpr size_t kLeastFitted = 16;  // numbers that a constant is fitted to
constexpr double kInf = std::numeric_limits<double>::infinity();

class ScheduleDiagnosis {
 public:
  ScheduleDiagnosis(const Capture& capture, const Contract& contract, const AttentionStart& start,
                    const FailedOutputs& failed, const std::vector<RowPlace>& rows,
                    const std::vector<MistakenAttention>& others)
      : capture_(capture),
        start_(start),
        failed_(failed),
        others_(others),
        right_attention_(exact::Mistaken(start.attention(), "")) {
    const AttentionProblem& problem = start.problem().problem;
    scope_ = {problem.shape.Skv, problem.shape.D, problem.dtype, start.problem().o_dtype,
              contract.weight_rounding > 0};
    rows_.push_back(RowsOf(capture_, right_attention_, rows));
    // The first rows decide much: those with the most keys of a few.
    std::vector<ScheduleRow>& mine = rows_[0];
    std::stable_sort(
        mine.begin(), mine.begin() + std::min<std::ptrdiff_t>(16, std::ssize(mine)),
        [](const ScheduleRow& x, const ScheduleRow& y) { return x.keys.n > y.keys.n; });
    std::vector<RowPlace> places;
    for (const ScheduleRow& row : mine) places.push_back(row.at);
    for (const MistakenAttention& other : others) rows_.push_back(RowsOf(capture_, other, places));
  }

  std::vector<Finding> Explain() {
    if (rows_[0].empty()) return {};
    candidates_ = ScheduleCandidates(scope_);
    AddConstants();
    AddLseOffset();
    AddExp();
    for (size_t n = 0; n < others_.size(); ++n) {
      for (const TiledKernel& kernel : RightSchedules(scope_))
        candidates_.push_back({others_[n].id, others_[n].where, kernel, n + 1});
    }
    SetRight(kFirstRows);
    const std::vector<Energy> first = EnergiesOf(candidates_, kFirstRows);
    std::vector<Candidate> kept;
    for (size_t n = 0; n < candidates_.size(); ++n) {
      if (Share(first[n]) >= kFirstShare) kept.push_back(candidates_[n]);
    }
    SetRight(rows_[0].size());
    std::vector<double> shares;
    for (const Energy& energy : EnergiesOf(kept, rows_[0].size())) shares.push_back(Share(energy));
    return Findings(kept, shares);
  }

 private:
  std::vector<Energy> EnergiesOf(const std::vector<Candidate>& candidates, size_t rows) const {
    return Energies(candidates, rows_, rows, scope_.o_dtype, start_.options());
  }

  // The best schedule of each mistake, named where others leave more of the error.
  static std::vector<Finding> Findings(const std::vector<Candidate>& candidates,
                                       const std::vector<double>& shares) {
    std::vector<Finding> findings;
    for (size_t n = 0; n < candidates.size(); ++n) {
      const auto& [id, where, kernel, attention] = candidates[n];
      bool best = true, alone = true;
      for (size_t k = 0; k < candidates.size(); ++k) {
        const Candidate& other = candidates[k];
        if (k == n || other.id != id || other.where != where) continue;
        best = best && (shares[k] < shares[n] || (shares[k] == shares[n] && k > n));
        const bool same_tiles =
            other.kernel.tile == kernel.tile && other.kernel.descending == kernel.descending;
        alone = alone && (same_tiles || 1 - shares[k] > 2 * (1 - shares[n]) + kSameShare);
      }
      if (!best) continue;
      std::string says = where;
      if (alone) says += (says.empty() ? "" : "; ") + Named(kernel);
      findings.push_back({id, says, shares[n], kNeeds});
    }
    return findings;
  }

  // What right kernels come to at the least.
  void SetRight(size_t rows) {
    std::vector<Candidate> right;
    for (const TiledKernel& kernel : RightSchedules(scope_)) right.push_back({"", "", kernel});
    right_ = {kInf, kInf};
    for (const Energy& energy : EnergiesOf(right, rows)) {
      right_.o = std::min(right_.o, energy.o);
      right_.lse = std::min(right_.lse, energy.lse);
    }
  }

  // What failed must be explained, and the rest stay about as good as it is.
  double Share(const Energy& energy) const {
    const auto gone = [](double was, double is) { return was > 0 ? 1 - is / was : 0; };
    double share = 1;
    if (failed_.o) share = std::min(share, gone(right_.o, energy.o));
    if (failed_.lse) share = std::min(share, gone(right_.lse, energy.lse));
    if (!failed_.o && energy.o > 2 * right_.o) return 0;
    if (!failed_.lse && energy.lse > 4 * right_.lse) return 0;
    return share;
  }

  static RowAnswer AnswerOf(const TiledKernel& kernel, const ScheduleRow& row) {
    return exact::Combined(kernel, exact::SumsOf(kernel, row.keys, row.dots));
  }

  // The factor of the scale, of exp's argument or of the row sum that fits LSE, or else o, best: by
  // Newton's method with slopes from a difference. nullopt: there is too little to fit it to.
  std::optional<double> Fitted(double TiledKernel::*of, bool by_lse) const {
    TiledKernel kernel;
    for (int step = 0; step < 4; ++step) {
      TiledKernel moved = kernel;
      moved.*of *= 1 + 1e-6;
      double slope_error = 0, slope_slope = 0;
      size_t numbers = 0;
      for (const ScheduleRow& row : rows_[0]) {
        const RowAnswer is = AnswerOf(kernel, row), then = AnswerOf(moved, row);
        const auto add = [&](double got, double want, double next, double unit) {
          const double slope = (next - want) / (1e-6 * unit), error = (got - want) / unit;
          if (!std::isfinite(slope) || !std::isfinite(error)) return;
          ++numbers;
          slope_error += slope * error;
          slope_slope += slope * slope;
        };
        if (by_lse) {
          if (row.lse) add(*row.lse, is.lse, then.lse, row.lse_unit);
        } else {
          for (size_t d = 0; d < row.o.size(); ++d) add(row.o[d], is.o[d], then.o[d], row.unit[d]);
        }
      }
      if (numbers < kLeastFitted) return std::nullopt;
      if (slope_slope > 0) kernel.*of *= std::clamp(1 + slope_error / slope_slope, 0.5, 2.0);
    }
    return kernel.*of;
  }

  void AddConstants() {
    constexpr struct {
      double TiledKernel::*of;
      const char *id, *what;
    } kConstants[] = {{&TiledKernel::scale, "scale-wrong", "the scale is"},
                      {&TiledKernel::exponent, "exp-constant", "exp's argument is"},
                      {&TiledKernel::row_sum, "row-sum-wrong", "the row sum is"}};
    for (const bool by_lse : {true, false}) {
      if (by_lse ? !capture_.lse : !capture_.o) continue;
      for (const auto& [of, id, what] : kConstants) {
        const std::optional<double> factor = Fitted(of, by_lse);
        if (!factor) continue;
        const std::string where = fmt::format("{} {:.7g} times what it should be", what, *factor);
        for (TiledKernel kernel : RightSchedules(scope_)) {
          kernel.*of = *factor;
          candidates_.push_back({id, where, kernel});
        }
      }
    }
  }

  void AddLseOffset() {
    double sum = 0;
    size_t numbers = 0;
    for (const ScheduleRow& row : rows_[0]) {
      if (!row.HasLse()) continue;
      sum += *row.lse - row.right.lse;
      ++numbers;
    }
    if (numbers < kLeastFitted) return;
    const double offset = sum / static_cast<double>(numbers);
    for (TiledKernel kernel : RightSchedules(scope_)) {
      kernel.lse_offset = offset;
      candidates_.push_back({"lse-offset", fmt::format("by {:.7g}", offset), kernel});
    }
  }

  // An exp that is off, by a table fitted to half of the rows and tried on the other half.
  void AddExp() {
    if (!capture_.lse) return;
    const std::vector<RowPlace> places = SpreadRows(start_.problem().problem, kFitRows);
    const std::vector<ScheduleRow> rows = RowsOf(capture_, right_attention_, places);
    std::vector<double> errors;
    for (TiledKernel kernel : RightSchedules(scope_)) {
      if (!kernel.weights) errors = FittedExp(kernel, rows);  // LSE does not see weights rounded
      if (errors.empty()) continue;
      double most = 0;
      for (const double error : errors) most = std::max(most, std::fabs(error));
      kernel.exp_errors = errors;
      const std::string where = fmt::format("off by up to {:.1e} of its value", most);
      candidates_.push_back({"exp-inaccurate", where, kernel});
    }
  }

  // TiledKernel::exp_errors; empty where they explain too little.
  static std::vector<double> FittedExp(const TiledKernel& schedule,
                                       const std::vector<ScheduleRow>& rows) {
    number::LeastSquares fit(kExpNodes);
    std::vector<std::vector<double>> slopes;
    for (size_t n = 0; n < rows.size(); ++n) {
      slopes.push_back(exact::LseByExpErrors(schedule, rows[n].keys, rows[n].dots, kExpNodes));
      for (double& slope : slopes[n]) slope /= rows[n].lse_unit;
      if (n % 2 == 0 && rows[n].HasLse()) fit.Add(slopes[n], rows[n].LseError());
    }
    std::vector<double> errors = fit.Solve();
    double was = 0, left = 0;
    for (size_t n = 1; n < rows.size(); n += 2) {
      if (!rows[n].HasLse()) continue;
      double error = rows[n].LseError();
      was += error * error;
      for (size_t k = 0; k < errors.size(); ++k) error -= slopes[n][k] * errors[k];
      left += error * error;
    }
    const bool fits = left <= (1 - kNeeds) * was;  // false for NaN
    const bool small = std::all_of(errors.begin(), errors.end(),
                                   [](double error) { return std::fabs(error) <= kMostExpError; });
    return was > 0 && fits && small ? errors : std::vector<double>{};
  }

  const Capture& capture_;
  const AttentionStart& start_;
  const FailedOutputs failed_;
  const std::vector<MistakenAttention>& others_;
  const MistakenAttention right_attention_;
  ScheduleScope scope_;
  std::vector<std::vector<ScheduleRow>> rows_;  // of the right kernel, then of each of `others`
  std::vector<Candidate> candidates_;
  Energy right_;
};

}  // namespace

std::vector<Finding> ExplainSchedule(const Capture& capture, const Contract& contract,
                                     const AttentionStart& start, const FailedOutputs& failed,
                                     const std::vector<RowPlace>& rows,
                                     const std::vector<MistakenAttention>& others) {
  return ScheduleDiagnosis(capture, contract, start, failed, rows, others).Explain();
}

}  // namespace bitanchor::tools
