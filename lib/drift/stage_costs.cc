#include "lib/drift/stage_costs.h"

#include <algorithm>
#include <cmath>

#include "lib/number/cos_sin_f64.h"

namespace bitanchor::drift {
namespace {

using number::CosSin;

std::array<CosSin, kDirections> Directions(DType F) {
  std::array<CosSin, kDirections> directions;
  const StageFormat format = FormatOf(StageFormat::kModel, F);
  for (int n = 0; n < kDirections; ++n) {
    const CosSin x = number::CosSinF64({2 * 3.141592653589793 * n / kDirections, 0});
    directions[static_cast<size_t>(n)] = {RoundTo(format, x.c), RoundTo(format, x.s)};
  }
  return directions;
}

// Of the rotation (c, s), by `rounded` and exactly.
double ApplyCost(const StagedRope& exact, const StagedRope& rounded, const CosSin& t,
                 const std::array<CosSin, kDirections>& directions) {
  double most = 0;
  for (const CosSin& x : directions) {
    double y1, y2, r1, r2;
    exact.Rotate(x.c, x.s, t, y1, y2);
    rounded.Rotate(x.c, x.s, t, r1, r2);
    const double square = (r1 - y1) * (r1 - y1) + (r2 - y2) * (r2 - y2);
    most = std::max(most, square / (x.c * x.c + x.s * x.s));
  }
  return std::sqrt(most);
}

double TableCost(const CosSin& exact, const CosSin& rounded) {
  const double c = rounded.c - exact.c, s = rounded.s - exact.s;
  return std::sqrt(c * c + s * s);
}

}  // namespace

StageCosts FindStageCosts(const RopeConfig& config, const RopeRecipe& recipe, DType F, int64_t pair,
                          int64_t positions) {
  const StagedRope exact(config, recipe, F, StageSet::All());
  const std::array<CosSin, kDirections> directions = Directions(F);
  StageCosts costs;
  costs.inverse_frequency = exact.Frequency(pair);
  costs.first_position.fill(-1);
  std::vector<StagedRope> alone;  // of each stage: it alone rounds
  for (const RopeStage stage : kRopeStages) {
    alone.emplace_back(config, recipe, F, StageSet::Of(stage).Complement());
  }
  size_t wanted = alone.size();
  for (int64_t p = 0; p < positions && wanted > 0; ++p) {
    const CosSin t = exact.Table(p, pair);
    for (size_t n = 0; n < alone.size(); ++n) {
      if (costs.first_position[n] >= 0) continue;
      const double cost = kRopeStages[n] == RopeStage::kApply
                              ? ApplyCost(exact, alone[n], t, directions)
                              : TableCost(t, alone[n].Table(p, pair));
      if (cost <= kLogitUlp) continue;
      costs.first_position[n] = p;  // NaN, too
      --wanted;
    }
  }
  return costs;
}

}  // namespace bitanchor::drift
