#include "tools/replay_candidates.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "lib/matrix_unit/model.h"

namespace bitanchor::tools {
namespace {

bool SameBits(const ReplayCandidate& a, const ReplayCandidate& b, const AttentionProblem& problem) {
  const auto key = [&](const ReplayCandidate& c) {
    const Schedule& s = c.schedule();
    return std::tuple(c.tile(problem).keys, s.order, s.exp_argument, s.row_sum, s.fused_row_sum,
                      s.normalisation);
  };
  return key(a) == key(b) && (a.OnUnit(b.schedule().unit) || b.OnUnit(a.schedule().unit));
}

}  // namespace

bool ReplayCandidate::OnUnit(const std::string& unit) const {
  return schedule().unit == unit ||
         std::find(same_units.begin(), same_units.end(), unit) != same_units.end();
}

std::vector<std::vector<std::string>> UnitsFor(DType dtype) {
  std::vector<std::vector<std::string>> units;
  std::vector<const matrix_unit::Model*> models;
  for (const matrix_unit::Model& model : matrix_unit::Models()) {
    if (model.dtype != dtype || model.arithmetic != matrix_unit::Arithmetic::kTruncatedSum)
      continue;
    const auto same = std::find_if(models.begin(), models.end(), [&](const auto* other) {
      return other->products == model.products && other->fraction_bits == model.fraction_bits &&
             other->f32.readings.data() == model.f32.readings.data();
    });
    if (same == models.end()) {
      models.push_back(&model);
      units.push_back({std::string(model.unit)});
    } else {
      units[static_cast<size_t>(same - models.begin())].push_back(std::string(model.unit));
    }
  }
  return units;
}

// "flash-attention-2/sm80 but for tiles of 64 keys, the first one first".
std::string VariantName(const ReplayCandidate& candidate, const AttentionProblem& problem) {
  const Schedule& base = *FindSchedule(kBaseSchedule);
  const Schedule& schedule = candidate.schedule();
  std::vector<std::string> other;
  if (!candidate.OnUnit(base.unit)) other.push_back("unit " + schedule.unit);
  const int64_t keys = candidate.tile(problem).keys;
  if (keys != base.TileOf(problem.shape.D, replay::IsCausalCall(problem))->keys) {
    other.push_back(fmt::format("tiles of {} keys", keys));
  }
  const auto named = [&](std::string_view field, auto got, auto want) {
    if (got != want) other.push_back(fmt::format("{} {}", field, Name(got)));
  };
  named("order", schedule.order, base.order);
  named("exp_argument", schedule.exp_argument, base.exp_argument);
  named("row_sum", schedule.row_sum, base.row_sum);
  if (!schedule.fused_row_sum) other.push_back("fused_row_sum false");
  named("normalisation", schedule.normalisation, base.normalisation);
  if (other.empty()) return std::string(kBaseSchedule);
  return fmt::format("{} but for {}", kBaseSchedule, fmt::join(other, ", "));
}

ReplayCandidates::ReplayCandidates(const AttentionProblem& problem)
    : problem_(problem), units_(UnitsFor(problem.dtype)) {
  for (const Schedule& schedule : Schedules()) {
    if (!schedule.TileOf(problem.shape.D, replay::IsCausalCall(problem))) continue;
    ReplayCandidate named;
    named.names = {schedule.name};
    named.owned.schedule = schedule;
    Add(std::move(named));
  }
}

void ReplayCandidates::AddUnits(int64_t tile_keys, TileOrder order) {
  for (const auto& unit : units_) {
    for (const ExpArgument argument :
         {ExpArgument::kFused, ExpArgument::kScaled, ExpArgument::kShifted}) {
      Schedule schedule = *FindSchedule(kBaseSchedule);
      schedule.unit = unit.front();
      schedule.order = order;
      schedule.exp_argument = argument;
      Add(Tiled(schedule, tile_keys));
    }
  }
}

void ReplayCandidates::AddSums(const Schedule& like, int64_t tile_keys) {
  for (const RowSum sum : {RowSum::kQuads, RowSum::kAscending}) {
    for (const bool fused : {true, false}) {
      for (const Normalisation last : {Normalisation::kReciprocal, Normalisation::kDivision}) {
        Schedule schedule = like;
        schedule.row_sum = sum;
        schedule.fused_row_sum = fused;
        schedule.normalisation = last;
        Add(Tiled(schedule, tile_keys));
      }
    }
  }
}

ReplayCandidate ReplayCandidates::Tiled(const Schedule& schedule, int64_t tile_keys) {
  ReplayCandidate candidate;
  candidate.owned = WithTile(schedule, {128, tile_keys});
  return candidate;
}

int64_t ReplayCandidates::AllVariants() const {
  constexpr int64_t kOfEach = 2 * 3 * 2 * 2 * 2;
  return static_cast<int64_t>(units_.size() * std::size(kTileKeys)) * kOfEach;
}

void ReplayCandidates::Add(ReplayCandidate candidate) {
  const std::string unit = candidate.schedule().unit;
  for (const auto& same : units_) {
    if (std::find(same.begin(), same.end(), unit) == same.end()) continue;
    for (const std::string& other : same) {
      if (other != unit) candidate.same_units.push_back(other);
    }
  }
  for (ReplayCandidate& there : all_) {
    if (!SameBits(there, candidate, problem_)) continue;
    there.names.insert(there.names.end(), candidate.names.begin(), candidate.names.end());
    return;
  }
  all_.push_back(std::move(candidate));
}

}  // namespace bitanchor::tools
