#include "tools/diagnose_schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>

#include "lib/exact/tiled_kernel.h"
#include "lib/number/float8.h"
#include "lib/number/least_squares.h"
#include "lib/verdict/bias.h"
#include "simd/parallel.h"
#include "tools/judge_rows.h"
#include "tools/telling_rows.h"

namespace bitanchor::tools {
namespace {

using exact::GatheredRow;
using exact::MistakenAttention;
using exact::Quantum;
using exact::RescaleFault;
using exact::RowAnswer;
using exact::RowPlace;
using exact::TiledKernel;

constexpr int64_t kTiles[] = {16, 32, 64, 128, 256};
constexpr size_t kFirstRows = 3;     // on which most candidates are found not to hold
constexpr double kFirstShare = 0.5;  // that they must explain there
constexpr size_t kFitRows = 512;
// Multiplications of a candidate, at most, over all rows that are looked at.
constexpr int64_t kMostWork = int64_t{1} << 24;
constexpr double kMostError = 4096;  // an element's, in units of u m_d
constexpr double kNoise = 0x1p-12;   // what f32 may move an output by, likewise
constexpr int64_t kExpNodes = 16;
constexpr double kExpExplains = 0.9;  // of rows that it was not fitted to

constexpr double kLargestError = 0x1p-22;  // of a weight that should be 1
constexpr double kInf = std::numeric_limits<double>::infinity();

// What is known of a row: the right kernel's data, what was captured and its unit of error.
struct Row {
  RowPlace at;
  GatheredRow keys;
  std::vector<double> dots;  // q.k, not rounded
  RowAnswer right;
  std::vector<double> unit;  // u m_d
  std::vector<float> o;      // as captured, empty if it was not
  std::optional<double> lse;
  double lse_unit = 1;  // its f32 errors are relative to this
};

struct Candidate {
  std::string id, where;
  TiledKernel kernel;
  size_t attention = 0;  // whose rows: 0 the right one's, else one more than that of `others`
};

struct Energy {
  double o = 0, lse = 0;
  Energy& operator+=(const Energy& other) {
    o += other.o;
    lse += other.lse;
    return *this;
  }
};

// Sum of p |v| / l: what errors of o are measured by.
std::vector<double> Magnitudes(GatheredRow row) {
  for (float& v : row.v) v = std::fabs(v);
  return exact::Centre(row, std::nullopt).o;
}

class ScheduleDiagnosis {
 public:
  ScheduleDiagnosis(const Capture& capture, const Contract& contract, const AttentionStart& start,
                    const FailedOutputs& failed, const std::vector<RowPlace>& rows,
                    const std::vector<MistakenAttention>& others)
      : capture_(capture),
        contract_(contract),
        start_(start),
        failed_(failed),
        o_dtype_(start.problem().o_dtype) {
    MistakenAttention right;
    right.attention = start.attention();
    attentions_.push_back(right);
    attentions_.insert(attentions_.end(), others.begin(), others.end());
    rows_.push_back(RowsOf(right, rows));
    // The first rows decide much: those with the most keys of a few.
    std::vector<Row>& mine = rows_[0];
    std::stable_sort(mine.begin(), mine.begin() + std::min<std::ptrdiff_t>(16, std::ssize(mine)),
                     [](const Row& x, const Row& y) { return x.keys.n > y.keys.n; });
    std::vector<RowPlace> places;
    for (const Row& row : mine) places.push_back(row.at);
    for (const MistakenAttention& other : others) rows_.push_back(RowsOf(other, places));
  }

  std::vector<Finding> Explain() {
    if (rows_[0].empty()) return {};
    AddRight();
    SetRight(kFirstRows);
    AddRoundings();
    AddAfterSums();
    AddConstants();
    AddExp();
    for (size_t other = 1; other < attentions_.size(); ++other) {
      const MistakenAttention& kernel = attentions_[other];
      ForWeights([&](TiledKernel of) { Add(kernel.id, kernel.where, of, other); });
    }
    const std::vector<Energy> first = Energies(candidates_, kFirstRows);
    std::vector<Candidate> kept;
    for (size_t n = 0; n < candidates_.size(); ++n) {
      if (Share(first[n]) >= kFirstShare) kept.push_back(candidates_[n]);
    }
    SetRight(rows_[0].size());
    const std::vector<Energy> all = Energies(kept, rows_[0].size());
    std::vector<Finding> findings;
    for (size_t n = 0; n < kept.size(); ++n)
      findings.push_back({kept[n].id, kept[n].where, Share(all[n])});
    return findings;
  }

 private:
  // As many as kMostWork allows, but two.
  std::vector<Row> RowsOf(const MistakenAttention& kernel, const std::vector<RowPlace>& places) {
    std::vector<Row> rows;
    int64_t work = 0;
    for (const RowPlace& at : places) {
      Row row{at, {}, {}, {}, {}, {}, {}};
      exact::Gather(kernel, at, row.keys);
      work += row.keys.n * row.keys.D;
      if (work > kMostWork && rows.size() >= 2) break;
      row.dots = exact::DotsOf({}, row.keys);
      row.right = exact::Centre(row.keys, std::nullopt);
      if (capture_.o) {
        for (const double m : Magnitudes(row.keys)) row.unit.push_back(UnitRoundoff(o_dtype_) * m);
        for (int64_t d = 0; d < row.keys.D; ++d)
          row.o.push_back(capture_.o.At(at.b, at.i, at.h, d));
      }
      if (capture_.lse && row.keys.n > 0) {
        row.lse = NaturalLse(capture_.lse_spec, capture_.lse.At(at.b, at.h, at.i),
                             capture_.problem.softmax_scale, false);
        row.lse_unit = std::max(1.0, std::fabs(row.right.lse));
      }
      rows.push_back(std::move(row));
    }
    return rows;
  }

  static bool Directed(const std::optional<Quantum>& quantum) {
    return quantum && quantum->mode != Rounding::kNearestEven;
  }

  // What the kernel's rows are made from, remembered for the next one.
  struct Sums {
    std::optional<TiledKernel> of;
    std::vector<double> dots;
    std::vector<exact::RowSums> ways;
  };

  // Where weights are rounded in one direction, all the ways in which the largest ones may be not
  // quite 1.
  void Sum(const TiledKernel& kernel, const Row& row, Sums& sums) const {
    if (sums.of && exact::SameSums(*sums.of, kernel)) return;
    const bool exact_dots = exact::SameDots(kernel, {});
    if (!exact_dots && (!sums.of || !exact::SameDots(*sums.of, kernel)))
      sums.dots = exact::DotsOf(kernel, row.keys);
    sums.of = kernel;
    sums.ways.clear();
    std::vector<double> errors = {0};
    if (Directed(kernel.weights) || Directed(kernel.summed)) {
      const bool up = kernel.weights && kernel.weights->mode == Rounding::kUp;
      errors.push_back(up ? kLargestError : -kLargestError);
    }
    for (const double largest : errors) {
      for (const double earlier : errors) {
        TiledKernel nudged = kernel;
        nudged.largest_error = largest;
        nudged.earlier_error = earlier;
        sums.ways.push_back(exact::SumsOf(nudged, row.keys, exact_dots ? row.dots : sums.dots));
      }
    }
  }

  // Of the ways the one that fits.
  Energy RowEnergy(const TiledKernel& kernel, const Row& row, Sums& sums) const {
    Sum(kernel, row, sums);
    Energy least{kInf, kInf};
    for (const exact::RowSums& way : sums.ways) {
      const Energy energy = ErrorOf(kernel, exact::Combined(kernel, way), row);
      least = {std::min(least.o, energy.o), std::min(least.lse, energy.lse)};
    }
    return least;
  }

  Energy ErrorOf(const TiledKernel& kernel, const RowAnswer& answer, const Row& row) const {
    Energy energy;
    for (size_t d = 0; d < row.o.size(); ++d) {
      if (!std::isfinite(row.o[d]) || row.unit[d] == 0) continue;
      const double error = row.o[d] - Stored(kernel, answer.o[d], row.o[d], row.unit[d]);
      const double units =
          std::isfinite(error) ? std::min(kMostError, std::fabs(error) / row.unit[d]) : kMostError;
      energy.o += units * units;
    }
    if (row.lse && std::isfinite(*row.lse)) {
      const double error = (*row.lse - answer.lse) / row.lse_unit;
      energy.lse += std::isfinite(error) ? error * error : kMostError * kMostError;
    }
    return energy;
  }

  // An output that is not rounded to nearest may be a unit away where f32's noise is enough for it.
  double Stored(const TiledKernel& kernel, double o, float got, double unit) const {
    if (!kernel.output) return RoundTo(o_dtype_, o);
    double best = exact::Quantised(*kernel.output, o);
    for (const double noise : {-kNoise, kNoise}) {
      const double other = exact::Quantised(*kernel.output, o + noise * unit);
      if (std::fabs(got - other) < std::fabs(got - best)) best = other;
    }
    return best;
  }

  // Over the first rows, at most so many. Kernels with the same sums should stand side by side.
  std::vector<Energy> Energies(const std::vector<Candidate>& candidates, size_t most_rows) const {
    const size_t n_rows = std::min(most_rows, rows_[0].size());
    std::vector<std::vector<Energy>> of_row(n_rows);
    simd::ParallelFor(start_.options(), static_cast<int64_t>(n_rows), [&](int64_t n, int) {
      Sums sums;
      size_t attention = 0;
      for (const Candidate& candidate : candidates) {
        if (candidate.attention != attention) sums = {};
        attention = candidate.attention;
        of_row[n].push_back(RowEnergy(candidate.kernel, rows_[attention][n], sums));
      }
    });
    std::vector<Energy> all(candidates.size());
    for (const std::vector<Energy>& energies : of_row) {
      for (size_t n = 0; n < all.size(); ++n) all[n] += energies[n];
    }
    return all;
  }

  // What right kernels come to at the least.
  void SetRight(size_t most_rows) {
    right_ = {kInf, kInf};
    for (const Energy& energy : Energies(right_candidates_, most_rows)) {
      right_.o = std::min(right_.o, energy.o);
      right_.lse = std::min(right_.lse, energy.lse);
    }
  }

  // What failed must be explained, and the rest stay about as good as it is.
  double Share(const Energy& energy) const {
    const auto gone = [](double was, double is) { return was > 0 ? 1 - is / was : 0.0; };
    double share = 1;
    if (failed_.o) share = std::min(share, gone(right_.o, energy.o));
    if (failed_.lse) share = std::min(share, gone(right_.lse, energy.lse));
    if (!failed_.o && energy.o > 2 * right_.o) return 0;
    if (!failed_.lse && energy.lse > 4 * right_.lse) return 0;
    return share;
  }

  template <typename Body>
  void ForSchedules(const Body& body) const {
    body(TiledKernel{});
    for (const int64_t tile : kTiles) {
      if (tile >= start_.problem().problem.shape.Skv) break;
      for (const bool descending : {false, true}) {
        TiledKernel kernel;
        kernel.tile = tile;
        kernel.descending = descending;
        body(kernel);
      }
    }
  }

  bool MayRoundWeights() const { return contract_.weight_rounding > 0; }
  static Format FormatOf(DType dtype) {
    return dtype == DType::kF16 ? kFormatF16 : dtype == DType::kBF16 ? kFormatBF16 : kFormatF32;
  }
  DType dtype() const { return start_.problem().problem.dtype; }

  // Schedules with weights as a right kernel may have them.
  template <typename Body>
  void ForWeights(const Body& body) const {
    ForSchedules([&](TiledKernel kernel) {
      body(kernel);
      if (!MayRoundWeights() || dtype() == DType::kF32) return;
      kernel.weights = Quantum{FormatOf(dtype())};
      body(kernel);
    });
  }

  void AddRight() {
    ForWeights([&](const TiledKernel& kernel) { right_candidates_.push_back({"", "", kernel}); });
  }

  static std::string Named(const TiledKernel& kernel) {
    if (kernel.tile == 0) return "the whole row at once";
    return fmt::format("tiles of {} keys{}", kernel.tile,
                       kernel.descending ? ", the last one first" : "");
  }

  void Add(std::string id, std::string where, const TiledKernel& kernel, size_t attention = 0) {
    if (!where.empty()) where += "; ";
    candidates_.push_back({std::move(id), where + Named(kernel), kernel, attention});
  }

  struct NamedFormat {
    std::string name;
    Format format;
  };
  // Narrower than f32, and the inputs' own first.
  std::vector<NamedFormat> NarrowFormats() const {
    std::vector<NamedFormat> formats = {{"bf16", kFormatBF16}, {"f16", kFormatF16}};
    if (dtype() == DType::kF16) std::swap(formats[0], formats[1]);
    return formats;
  }

  void AddRoundings() {
    ForSchedules([&](const TiledKernel& schedule) {
      for (const NamedFormat& narrow : NarrowFormats()) {
        TiledKernel kernel = schedule;
        const auto& [name, format] = narrow;
        if (!MayRoundWeights()) {
          kernel.weights = Quantum{format};
          Add("weights-rounded", "to " + name, kernel);
        }
        kernel.weights = Quantum{format, Rounding::kTowardZero};
        Add("weights-truncated", "to " + name, kernel);
        kernel.weights = Quantum{format, Rounding::kUp};
        Add("weights-rounded-up", "to " + name, kernel);
      }
      TiledKernel fp8 = schedule;
      fp8.weights = Quantum{E4M3::kFormat};
      Add("weights-fp8", "to E4M3", fp8);
      fp8.weights = Quantum{E5M2::kFormat};
      Add("weights-fp8", "to E5M2", fp8);
    });
    for (const NamedFormat& narrow : NarrowFormats()) AddScoreRoundings(narrow);
    ForWeights([&](TiledKernel kernel) {
      for (const auto& [name, format] : NarrowFormats()) {
        const std::string before = name + " before they are added";
        kernel.summed = Quantum{format, Rounding::kTowardZero};
        Add("row-sum-rounded", "weights are truncated to " + before, kernel);
        kernel.summed = Quantum{format};
        Add("row-sum-rounded", "weights are rounded to " + before, kernel);
      }
    });
  }

  void AddScoreRoundings(const NamedFormat& narrow) {
    const auto& [name, format] = narrow;
    const Quantum quantum{format};
    const auto add = [&](const std::string& where, const TiledKernel& of) {
      ForWeights([&](TiledKernel kernel) {
        kernel.scores = of.scores;
        kernel.score_group = of.score_group;
        kernel.scaled_scores = of.scaled_scores;
        Add("scores-rounded", where, kernel);
      });
    };
    TiledKernel kernel;
    kernel.scores = quantum;
    add("q.k to " + name, kernel);
    for (const int64_t group : {1, 2, 4, 8, 16, 32, 64}) {
      if (group >= start_.problem().problem.shape.D) break;
      kernel.score_group = group;
      add(fmt::format("q.k to {} after every {} of its dimensions", name, group), kernel);
    }
    kernel = {};
    kernel.scaled_scores = quantum;
    add("scaled scores to " + name, kernel);
    kernel.scores = quantum;
    add("q.k to " + name + ", and again once it is scaled", kernel);
  }

  // What differs in what becomes of each tile's sums.
  void AddAfterSums() {
    ForWeights([&](const TiledKernel& schedule) {
      TiledKernel kernel = schedule;
      for (const auto& [name, format] : NarrowFormats()) {
        kernel.running = Quantum{format};
        Add("accumulator-rounded", "to " + name, kernel);
        kernel.running = Quantum{format, Rounding::kDown};
        Add("accumulator-rounded", "to " + name + ", always down", kernel);
        kernel.running = Quantum{format, Rounding::kTowardZero};
        Add("accumulator-rounded", "to " + name + ", toward zero", kernel);
      }
      if (o_dtype_ != DType::kF32) {
        kernel = schedule;
        kernel.output = Quantum{FormatOf(o_dtype_), Rounding::kTowardZero};
        Add("output-truncated", "to " + std::string(DTypeName(o_dtype_)), kernel);
      }
      AddRescales(schedule);
    });
  }

  void AddRescales(const TiledKernel& schedule) {
    const int64_t Skv = start_.problem().problem.shape.Skv;
    constexpr struct {
      RescaleFault fault;
      const char* id;
    } kFaults[] = {{RescaleFault::kOutput, "output-not-rescaled"},
                   {RescaleFault::kSum, "sum-not-rescaled"},
                   {RescaleFault::kBoth, "never-rescaled"},
                   {RescaleFault::kStaleMaximum, "maximum-stale"}};
    if (schedule.tile == 0) return;
    for (const auto& [fault, id] : kFaults) {
      TiledKernel kernel = schedule;
      kernel.fault = fault;
      Add(id, "in every tile", kernel);
      const int64_t tiles = (Skv + kernel.tile - 1) / kernel.tile;
      if (fault == RescaleFault::kBoth || tiles > kMostTiles) continue;
      for (int64_t tile = 0; tile < tiles; ++tile) {
        kernel.faulty_tile = tile;
        Add(id,
            fmt::format("in the tile of keys {}..{}", tile * kernel.tile,
                        std::min((tile + 1) * kernel.tile, Skv) - 1),
            kernel);
      }
    }
  }

  // --- constants that are a little off: fitted ---

  static double Factor(const TiledKernel& kernel, double TiledKernel::*of) { return kernel.*of; }

  // The factor of the scale, of exp's argument or of the row sum that fits LSE, or else o, best: by
  // Newton's method with slopes from a difference.
  double Fitted(double TiledKernel::*of, bool by_lse) const {
    TiledKernel kernel;
    for (int step = 0; step < 4; ++step) {
      TiledKernel moved = kernel;
      moved.*of *= 1 + 1e-6;
      double slope_error = 0, slope_slope = 0;
      for (const Row& row : rows_[0]) {
        const RowAnswer is = exact::Answer(kernel, row.keys), then = exact::Answer(moved, row.keys);
        const auto add = [&](double got, double want, double next, double unit) {
          const double slope = (next - want) / (1e-6 * unit), error = (got - want) / unit;
          if (!std::isfinite(slope) || !std::isfinite(error)) return;
          slope_error += slope * error;
          slope_slope += slope * slope;
        };
        if (by_lse) {
          if (row.lse) add(*row.lse, is.lse, then.lse, row.lse_unit);
        } else {
          for (size_t d = 0; d < row.o.size(); ++d) add(row.o[d], is.o[d], then.o[d], row.unit[d]);
        }
      }
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
        const double factor = Fitted(of, by_lse);
        ForWeights([&, of = of, id = id, what = what](TiledKernel kernel) {
          kernel.*of = factor;
          Add(id, fmt::format("{} {:.7g} times what it should be", what, factor), kernel);
        });
      }
    }
  }

  // An exp that is off, by a table fitted to half of the rows and tried on the other half.
  void AddExp() {
    if (!capture_.lse) return;
    std::vector<RowPlace> places = SpreadRows(start_.problem().problem, kFitRows);
    const std::vector<Row> rows = RowsOf(attentions_[0], places);
    ForSchedules([&](const TiledKernel& schedule) {
      number::LeastSquares fit(kExpNodes);
      std::vector<std::vector<double>> slopes;
      for (size_t n = 0; n < rows.size(); ++n) {
        slopes.push_back(exact::LseByExpErrors(schedule, rows[n].keys, kExpNodes));
        for (double& slope : slopes[n]) slope /= rows[n].lse_unit;
        if (n % 2 == 0 && Usable(rows[n])) fit.Add(slopes[n], LseError(rows[n]));
      }
      const std::vector<double> errors = fit.Solve();
      double was = 0, left = 0;
      for (size_t n = 1; n < rows.size(); n += 2) {
        if (!Usable(rows[n])) continue;
        double error = LseError(rows[n]);
        was += error * error;
        for (size_t k = 0; k < errors.size(); ++k) error -= slopes[n][k] * errors[k];
        left += error * error;
      }
      if (was == 0 || left > (1 - kExpExplains) * was) return;
      double most = 0;
      for (const double error : errors) most = std::max(most, std::fabs(error));
      TiledKernel kernel = schedule;
      kernel.exp_errors = errors;
      const std::string where = fmt::format("off by up to {:.1e} of its value", most);
      Add("exp-inaccurate", where, kernel);
      if (!MayRoundWeights() || dtype() == DType::kF32) return;
      kernel.weights = Quantum{FormatOf(dtype())};
      Add("exp-inaccurate", where, kernel);
    });
  }

  static double LseError(const Row& row) { return (*row.lse - row.right.lse) / row.lse_unit; }
  static bool Usable(const Row& row) {
    return row.lse && std::isfinite(*row.lse) && std::isfinite(row.right.lse);
  }

  static constexpr int64_t kMostTiles = 128;

  const Capture& capture_;
  const Contract& contract_;
  const AttentionStart& start_;
  const FailedOutputs failed_;
  const DType o_dtype_;
  std::vector<MistakenAttention> attentions_;  // the right one, then `others`
  std::vector<std::vector<Row>> rows_;         // of each
  std::vector<Candidate> right_candidates_, candidates_;
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
