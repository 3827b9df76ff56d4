#include "simd/scheduled_attention.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

#include "lib/matrix_unit/model.h"
#include "lib/replay/flushed_arithmetic.h"
#include "lib/replay/scheduled_attention.h"
#include "lib/replay/sequences.h"
#include "simd/matrix_unit.h"
#include "simd/parallel.h"
#include "simd/replay_tile.h"

namespace bitanchor::simd {
namespace {

// Some queries of one query tile, all heads.
struct Queries {
  const replay::Sequence* sequence;
  std::vector<int64_t> n;  // indices into the sequence's queries
};

// Those that their sequence answers for, the ones with most keys first.
std::vector<Queries> InTiles(const std::vector<replay::Sequence>& sequences) {
  std::vector<Queries> all;
  for (const replay::Sequence& sequence : sequences) {
    int64_t tile = -1;
    for (int64_t n = 0; n < static_cast<int64_t>(sequence.queries.size()); ++n) {
      if (!sequence.answers[static_cast<size_t>(n)]) continue;
      if (n / sequence.tile.queries != tile ||
          static_cast<int64_t>(all.back().n.size()) == kReplayRows) {
        all.push_back({&sequence, {}});
      }
      tile = n / sequence.tile.queries;
      all.back().n.push_back(n);
    }
  }
  std::stable_sort(all.begin(), all.end(), [](const Queries& x, const Queries& y) {
    return x.sequence->Tiles(x.n[0]) > y.sequence->Tiles(y.n[0]);
  });
  return all;
}

// What the loops are written for.
bool HasLoops(const matrix_unit::Model& model, const Tile& tile) {
  return OnLanes(model, model.f32) && tile.keys % 8 == 0 && tile.keys <= kPanelProducts;
}

}  // namespace

ScheduledAnswer ScheduledAttention(const AttentionProblem& problem, const Schedule& schedule,
                                   const replay::SpecialFunctions& functions,
                                   const EngineOptions& options) {
  const AttentionShape& shape = problem.shape;
  const std::vector<replay::Sequence> sequences = replay::SequencesOf(problem, schedule);
  const std::vector<Queries> queries = InTiles(sequences);
  const size_t rows = static_cast<size_t>(shape.B * shape.Sq * shape.Hq);
  const size_t elements = rows * static_cast<size_t>(shape.D);
  ScheduledAnswer answer{std::vector<uint16_t>(elements), std::vector<uint16_t>(elements),
                         std::vector<float>(rows), std::vector<float>(rows)};
  const ReplayPlan plan = {problem,
                           schedule,
                           functions,
                           *matrix_unit::FindModel(schedule.unit, problem.dtype),
                           UnitKernelsOf(options.target),
                           ReplayKernelsOf(options.target),
                           replay::Flush(replay::ExponentScale(problem.softmax_scale))};
  std::vector<ReplayScratch> scratch(static_cast<size_t>(Workers(options)));
  const int64_t tasks = static_cast<int64_t>(queries.size()) * shape.Hq;
  ParallelFor(options, tasks, [&](int64_t task, int worker) {
    const Queries& of_task = queries[static_cast<size_t>(task / shape.Hq)];
    const int64_t head = task % shape.Hq;
    if (HasLoops(plan.model, of_task.sequence->tile)) {
      ReplayTile(plan, *of_task.sequence, head, scratch[static_cast<size_t>(worker)])
          .Run(of_task.n, answer);
      return;
    }
    for (const int64_t n : of_task.n) DefineReplay(plan, *of_task.sequence, head, n, answer);
  });
  return answer;
}

}  // namespace bitanchor::simd
