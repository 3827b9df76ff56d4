#include "tools/schedule_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/verdict/bias.h"
#include "simd/parallel.h"
#include "tools/judge_rows.h"

namespace bitanchor::tools {
namespace {

using exact::Quantum;
using exact::RowAnswer;
using exact::RowPlace;
using exact::TiledKernel;

// Multiplications of a candidate, at most, over all rows that are looked at.
constexpr int64_t kMostWork = int64_t{1} << 24;
constexpr double kMostError = 4096;        // an element's, in units of u m_d
constexpr double kNoise = 0x1p-12;         // what f32 may move an output by, likewise
constexpr double kLargestError = 0x1p-22;  // of a weight that should be 1
constexpr double kInf = std::numeric_limits<double>::infinity();

// Sum of p |v| / l: what errors of o are measured by.
std::vector<double> Magnitudes(exact::GatheredRow row) {
  for (float& v : row.v) v = std::fabs(v);
  return exact::Centre(row, std::nullopt).o;
}

bool Directed(const std::optional<Quantum>& quantum) {
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
void Sum(const TiledKernel& kernel, const ScheduleRow& row, Sums& sums) {
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

// An output that is not rounded to nearest may be a unit away where f32's noise is enough for it.
double Stored(const TiledKernel& kernel, double o, float got, double unit, DType o_dtype) {
  if (!kernel.output) return RoundTo(o_dtype, o);
  double best = exact::Quantised(*kernel.output, o);
  for (const double noise : {-kNoise, kNoise}) {
    const double other = exact::Quantised(*kernel.output, o + noise * unit);
    if (std::fabs(got - other) < std::fabs(got - best)) best = other;
  }
  return best;
}

Energy ErrorOf(const TiledKernel& kernel, const RowAnswer& answer, const ScheduleRow& row,
               DType o_dtype) {
  Energy energy;
  for (size_t d = 0; d < row.o.size(); ++d) {
    if (!std::isfinite(row.right.o[d])) continue;
    const double error = row.o[d] - Stored(kernel, answer.o[d], row.o[d], row.unit[d], o_dtype);
    // No unit: all values are 0 there.
    const double units = error == 0                                ? 0
                         : std::isfinite(error) && row.unit[d] > 0 ? std::fabs(error) / row.unit[d]
                                                                   : kMostError;
    energy.o += std::min(units, kMostError) * std::min(units, kMostError);
  }
  if (row.lse && std::isfinite(row.right.lse)) {
    const double error = (*row.lse - answer.lse) / row.lse_unit;
    energy.lse += std::isfinite(error) ? error * error : kMostError * kMostError;
  }
  return energy;
}

// Of the ways the one that fits.
Energy RowEnergy(const TiledKernel& kernel, const ScheduleRow& row, DType o_dtype, Sums& sums) {
  Sum(kernel, row, sums);
  Energy least{kInf, kInf};
  for (const exact::RowSums& way : sums.ways) {
    const Energy energy = ErrorOf(kernel, exact::Combined(kernel, way), row, o_dtype);
    least = {std::min(least.o, energy.o), std::min(least.lse, energy.lse)};
  }
  return least;
}

}  // namespace

bool ScheduleRow::HasLse() const { return lse && std::isfinite(*lse) && std::isfinite(right.lse); }

double ScheduleRow::LseError() const { return (*lse - right.lse) / lse_unit; }

std::vector<ScheduleRow> RowsOf(const Capture& capture, const exact::MistakenAttention& kernel,
                                const std::vector<RowPlace>& places) {
  const DType o_dtype = kernel.attention->o_dtype;
  std::vector<ScheduleRow> rows;
  int64_t work = 0;
  for (const RowPlace& at : places) {
    ScheduleRow row{at, {}, {}, {}, {}, {}, {}};
    exact::Gather(kernel, at, row.keys);
    work += row.keys.n * row.keys.D;
    if (work > kMostWork && rows.size() >= 2) break;
    row.dots = exact::DotsOf({}, row.keys);
    row.right = exact::Centre(row.keys, std::nullopt);
    if (capture.o) {
      for (const double m : Magnitudes(row.keys)) row.unit.push_back(UnitRoundoff(o_dtype) * m);
      for (int64_t d = 0; d < row.keys.D; ++d) row.o.push_back(capture.o.At(at.b, at.i, at.h, d));
    }
    if (capture.lse && row.keys.n > 0) {
      row.lse = NaturalLse(capture.lse_spec, capture.lse.At(at.b, at.h, at.i),
                           capture.problem.softmax_scale, false);
      row.lse_unit = std::max(1.0, std::fabs(row.right.lse));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<Energy> Energies(const std::vector<Candidate>& candidates,
                             const std::vector<std::vector<ScheduleRow>>& rows, size_t most_rows,
                             DType o_dtype, const simd::EngineOptions& options) {
  const size_t n_rows = std::min(most_rows, rows[0].size());
  std::vector<std::vector<Energy>> of_row(n_rows);
  simd::ParallelFor(options, static_cast<int64_t>(n_rows), [&](int64_t n, int) {
    Sums sums;
    size_t attention = 0;
    for (const Candidate& candidate : candidates) {
      if (candidate.attention != attention) sums = {};
      attention = candidate.attention;
      of_row[n].push_back(RowEnergy(candidate.kernel, rows[attention][n], o_dtype, sums));
    }
  });
  std::vector<Energy> all(candidates.size());
  for (const std::vector<Energy>& energies : of_row) {
    for (size_t n = 0; n < all.size(); ++n) all[n] += energies[n];
  }
  return all;
}

}  // namespace bitanchor::tools
