#include "tools/drift_laboratory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "lib/drift/exact_frequency.h"
#include "lib/drift/stage_costs.h"
#include "lib/number/cos_sin_f64.h"
#include "lib/recipe/rope_recipe.h"
#include "lib/tensor/error.h"
#include "simd/parallel.h"
#include "tools/drift_lists.h"

namespace bitanchor::tools {
namespace {

using drift::RopeStage;
using drift::StagedRope;
using drift::StageSet;

// The greatest position of the first tokens of every sequence, of queries and keys.
int64_t LastPositionOf(const DriftInput& input, int64_t taken) {
  const AttentionProblem& problem = input.problem;
  int64_t last = 0;
  for (const std::vector<int64_t>* positions : {&problem.q_positions, &problem.k_positions}) {
    for (int64_t b = 0; b < problem.shape.B; ++b) {
      const auto begin = positions->begin() + b * problem.shape.Skv;
      last = std::max(last, *std::max_element(begin, begin + taken));
    }
  }
  return last;
}

bool GoesByLength(const RopeConfig& config) {
  return config.type == RopeType::kDynamic || config.type == RopeType::kLongrope;
}

int64_t MostShift(const std::vector<Shift>& shifts) {
  int64_t most = 0;
  for (const Shift& shift : shifts) most = std::max({most, shift.one, shift.other});
  return most;
}

// Throws InputError where an angle is too large for f64's cos and sin (lib/number/cos_sin_f64.h),
// which take twice as much: recipes round angles up, too.
void RefuseLargeAngles(const RopeConfig& config, int64_t last_position) {
  const std::vector<double> frequencies = drift::ExactInverseFrequencies(config);
  for (size_t pair = 0; pair < frequencies.size(); ++pair) {
    const double angle = frequencies[pair] * static_cast<double>(last_position);
    if (std::fabs(angle) < number::kMostAngle / 2) continue;
    throw InputError(config.inv_freq.empty() ? "rope_theta" : "inv_freq",
                     fmt::format("an angle of {} at position {}, frequency {} of pair {}", angle,
                                 last_position, frequencies[pair], pair),
                     "angles below 2^32");
  }
}

// One recipe to measure, with the shifts and lengths that share its config.
struct Run {
  std::string recipe;
  DType dtype;
  std::optional<RopeStage> exact, rounded;
  std::vector<Shift> shifts;
  std::vector<int64_t> lengths;
  StagedRope rope;
};

void AddRuns(const Laboratory& lab, const std::string& recipe, DType dtype,
             std::optional<RopeStage> exact, std::optional<RopeStage> rounded,
             std::vector<Run>& runs) {
  StageSet stages = StageSet::None();
  if (recipe == kExact) stages = StageSet::All();
  if (exact) stages = StageSet::Of(*exact);
  if (rounded) stages = StageSet::Of(*rounded).Complement();
  const auto add = [&](const std::vector<Shift>& shifts, const std::vector<int64_t>& lengths) {
    const RopeConfig config = ConfigOf(lab, recipe, shifts, lengths.back());
    runs.push_back({recipe, dtype, exact, rounded, shifts, lengths,
                    StagedRope(config, *FindRopeRecipe(config.recipe), dtype, stages)});
  };
  if (!GoesByLength(ConfigOf(lab, recipe, lab.shifts, lab.lengths.back()))) {
    return add(lab.shifts, lab.lengths);
  }
  for (const Shift& shift : lab.shifts) {
    for (const int64_t length : lab.lengths) add({shift}, {length});
  }
}

std::vector<Run> RunsOf(const Laboratory& lab) {
  std::vector<Run> runs;
  for (const std::string& recipe : lab.recipes) {
    for (const DType dtype : lab.dtypes) {
      AddRuns(lab, recipe, dtype, std::nullopt, std::nullopt, runs);
      if (!lab.stages || recipe == kExact) continue;
      for (const RopeStage stage : drift::kRopeStages) {
        AddRuns(lab, recipe, dtype, stage, std::nullopt, runs);
        AddRuns(lab, recipe, dtype, std::nullopt, stage, runs);
      }
    }
  }
  return runs;
}

// Runs whose roundings are the same are computed once. of[n]: the first run that is run n's equal.
std::vector<size_t> Equals(const std::vector<Run>& runs) {
  std::vector<size_t> of(runs.size());
  for (size_t n = 0; n < runs.size(); ++n) {
    of[n] = n;
    for (size_t m = 0; m < n && of[n] == n; ++m) {
      const bool same = runs[m].lengths == runs[n].lengths && runs[m].shifts == runs[n].shifts;
      if (same && runs[m].rope.SameAs(runs[n].rope)) of[n] = m;
    }
  }
  return of;
}

// By shift and length; of the keys those that the report shows.
std::vector<std::vector<drift::Drift>> MeasureOne(const Laboratory& lab, const DriftReport& report,
                                                  const Run& run, DriftProgress& progress) {
  std::vector<int64_t> taken;
  for (const int64_t length : run.lengths) taken.push_back(lab.Taken(length));
  auto drifts = MeasureDrift(lab.input, run.rope, run.shifts, taken, lab.engine, progress);
  if (report.all_keys) return drifts;
  for (std::vector<drift::Drift>& of_lengths : drifts) {
    for (drift::Drift& one : of_lengths) one.keys = {one.keys[static_cast<size_t>(report.key)]};
  }
  return drifts;
}

}  // namespace

RopeConfig ConfigOf(const Laboratory& lab, const std::string& recipe,
                    const std::vector<Shift>& shifts, int64_t length) {
  const int64_t most_shift = MostShift(shifts);
  ProblemOptions rope = lab.rope;
  rope.rope = recipe == kExact ? "hf-llama" : recipe;
  AttentionProblem problem = lab.input.problem;
  const bool own = rope.rope_theta.empty() && rope.rope_config.empty() && lab.input.rope;
  if (own) {
    problem.rope = lab.input.rope;
    problem.rope->recipe = rope.rope;
    const RopeRecipe& row = *FindRopeRecipe(rope.rope);
    const bool takes_frequencies = problem.rope->inv_freq.empty() || TakesInverseFrequencies(row);
    if (!TakesRopeType(row, problem.rope->type) || !takes_frequencies) {
      throw InputError("--recipe", rope.rope, "one that takes the capture's rope");
    }
  } else {
    problem.rope = RopeOf(rope, problem.shape.D);
  }
  if (!lab.pairing.empty()) {
    problem.rope->pairing = lab.pairing == "half" ? RopePairing::kHalf : RopePairing::kInterleaved;
  }
  for (std::vector<int64_t>* positions : {&problem.q_positions, &problem.k_positions}) {
    for (int64_t& position : *positions) position += most_shift;
  }
  problem.rope->sequence_length = LastPosition(problem) + 1;
  Validate(problem);
  problem.rope->sequence_length = LastPositionOf(lab.input, lab.Taken(length)) + most_shift + 1;
  const int64_t looked_at = lab.stages ? lab.positions : 0;
  RefuseLargeAngles(*problem.rope, std::max(problem.rope->sequence_length, looked_at) - 1);
  return *problem.rope;
}

void Measure(const Laboratory& lab, DriftReport& report) {
  const std::vector<Run> runs = RunsOf(lab);
  const std::vector<size_t> equal_of = Equals(runs);
  double work = 0;
  for (size_t n = 0; n < runs.size(); ++n) {
    if (equal_of[n] == n) work += DriftWork(lab.input, lab.Taken(runs[n].lengths.back()));
  }
  DriftProgress progress(lab.engine.progress, work);
  std::vector<std::vector<std::vector<drift::Drift>>> found(runs.size());
  for (size_t n = 0; n < runs.size(); ++n) {
    found[n] = equal_of[n] == n ? MeasureOne(lab, report, runs[n], progress) : found[equal_of[n]];
  }
  progress.Show(0);
  for (const Shift& shift : lab.shifts) {
    for (size_t n = 0; n < runs.size(); ++n) {
      const Run& run = runs[n];
      const auto at = std::find(run.shifts.begin(), run.shifts.end(), shift);
      if (at == run.shifts.end()) continue;
      std::vector<DriftRow>& rows = run.exact || run.rounded ? report.stages : report.rows;
      for (size_t t = 0; t < run.lengths.size(); ++t) {
        rows.push_back({run.recipe, run.dtype, shift, run.lengths[t],
                        found[n][static_cast<size_t>(at - run.shifts.begin())][t], run.exact,
                        run.rounded});
      }
    }
  }
}

void FindPositions(const Laboratory& lab, DriftReport& report) {
  report.positions = lab.positions;
  std::vector<RopeConfig> configs;  // of each of the report's
  for (const std::string& recipe : lab.recipes) {
    if (recipe == kExact) continue;
    const RopeConfig config = ConfigOf(lab, recipe, lab.shifts, lab.lengths.back());
    for (const DType dtype : lab.dtypes) {
      configs.push_back(config);
      report.first_positions.push_back({recipe, dtype, {}});
      report.first_positions.back().pairs.resize(static_cast<size_t>(config.rotary_dim / 2));
    }
  }
  if (configs.empty()) return;
  const int64_t pairs = configs.front().rotary_dim / 2;  // the same for all
  const int64_t tasks = static_cast<int64_t>(configs.size()) * pairs;
  simd::ParallelFor(lab.engine, tasks, [&](int64_t task, int) {
    const RopeConfig& config = configs[static_cast<size_t>(task / pairs)];
    StagePositions& found = report.first_positions[static_cast<size_t>(task / pairs)];
    found.pairs[static_cast<size_t>(task % pairs)] = drift::FindStageCosts(
        config, *FindRopeRecipe(config.recipe), found.dtype, task % pairs, report.positions);
  });
}

}  // namespace bitanchor::tools
