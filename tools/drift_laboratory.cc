#include "tools/drift_laboratory.h"

#include <optional>
#include <utility>

#include "lib/drift/stage_costs.h"
#include "lib/recipe/rope_recipe.h"
#include "lib/tensor/error.h"
#include "simd/parallel.h"
#include "tools/drift_lists.h"

namespace bitanchor::tools {
namespace {

using drift::RopeStage;
using drift::StagedRope;
using drift::StageSet;

// The greatest position of the first tokens of every sequence.
int64_t LastPositionOf(const DriftInput& input, int64_t taken) {
  const AttentionShape& shape = input.problem.shape;
  int64_t last = 0;
  for (int64_t b = 0; b < shape.B; ++b) {
    const auto begin = input.problem.k_positions.begin() + b * shape.Skv;
    last = std::max(last, *std::max_element(begin, begin + taken));
  }
  return last;
}

// Validated for `length` tokens at every shift: rope types that go by the sequence's length take
// the longer of the two for both.
bool GoesByLength(const RopeConfig& config) {
  return config.type == RopeType::kDynamic || config.type == RopeType::kLongrope;
}

// One recipe to measure, with the lengths that share its config.
struct Run {
  std::string recipe;
  DType dtype;
  std::optional<RopeStage> exact, rounded;
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
  const auto add = [&](const std::vector<int64_t>& lengths) {
    const RopeConfig config = ConfigOf(lab, recipe, lengths.back());
    runs.push_back({recipe, dtype, exact, rounded, lengths,
                    StagedRope(config, *FindRopeRecipe(config.recipe), dtype, stages)});
  };
  if (!GoesByLength(ConfigOf(lab, recipe, lab.lengths.back()))) return add(lab.lengths);
  for (const int64_t length : lab.lengths) add({length});
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
      if (runs[m].lengths == runs[n].lengths && runs[m].rope.SameAs(runs[n].rope)) of[n] = m;
    }
  }
  return of;
}

}  // namespace

RopeConfig ConfigOf(const Laboratory& lab, const std::string& recipe, int64_t length) {
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
    for (int64_t& position : *positions) position += lab.MostShift();
  }
  problem.rope->sequence_length = LastPosition(problem) + 1;
  Validate(problem);
  problem.rope->sequence_length =
      LastPositionOf(lab.input, lab.Taken(length)) + lab.MostShift() + 1;
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
    std::vector<int64_t> taken;
    for (const int64_t length : runs[n].lengths) taken.push_back(lab.Taken(length));
    found[n] = equal_of[n] == n
                   ? MeasureDrift(lab.input, runs[n].rope, lab.shifts, taken, lab.engine, progress)
                   : found[equal_of[n]];
  }
  progress.Show(0);
  for (size_t s = 0; s < lab.shifts.size(); ++s) {
    for (size_t n = 0; n < runs.size(); ++n) {
      const Run& run = runs[n];
      std::vector<DriftRow>& rows = run.exact || run.rounded ? report.stages : report.rows;
      for (size_t t = 0; t < run.lengths.size(); ++t) {
        rows.push_back({run.recipe, run.dtype, lab.shifts[s], run.lengths[t],
                        std::move(found[n][s][t]), run.exact, run.rounded});
      }
    }
  }
}

void FindPositions(const Laboratory& lab, DriftReport& report) {
  report.positions = lab.positions;
  for (const std::string& recipe : lab.recipes) {
    if (recipe == kExact) continue;
    const RopeConfig config = ConfigOf(lab, recipe, lab.lengths.back());
    for (const DType dtype : lab.dtypes) {
      StagePositions found = {recipe, dtype, {}};
      found.pairs.resize(static_cast<size_t>(config.rotary_dim / 2));
      simd::ParallelFor(lab.engine, config.rotary_dim / 2, [&](int64_t pair, int) {
        found.pairs[static_cast<size_t>(pair)] = drift::FindStageCosts(
            config, *FindRopeRecipe(config.recipe), dtype, pair, report.positions);
      });
      report.first_positions.push_back(std::move(found));
    }
  }
}

}  // namespace bitanchor::tools
