// Queries of one query tile and head through all tiles of keys, as a schedule goes through them.
#ifndef BITANCHOR_SIMD_REPLAY_TILE_H_
#define BITANCHOR_SIMD_REPLAY_TILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lib/matrix_unit/model.h"
#include "lib/problem/attention_problem.h"
#include "lib/recipe/schedule.h"
#include "lib/replay/scheduled_attention.h"
#include "lib/replay/sequences.h"
#include "lib/replay/special_functions.h"
#include "simd/hull_chain.h"
#include "simd/matrix_unit_panel.h"
#include "simd/replay_plan.h"
#include "simd/scheduled_attention.h"
#include "simd/scratch.h"

namespace bitanchor::simd {

// The queries that are computed together, at most.
constexpr int64_t kReplayRows = 128;

// What is the same for all tiles.
struct ReplayPlan {
  const AttentionProblem& problem;
  const Schedule& schedule;
  const replay::SpecialFunctions& functions;
  const matrix_unit::Model& model;
  UnitKernels unit;
  ReplayKernels rows;
  float factor;  // c, flushed
};

// The answer for query n of the sequence by the definition.
void DefineReplay(const ReplayPlan& plan, const replay::Sequence& sequence, int64_t head, int64_t n,
                  ScheduledAnswer& answer);

// A row's maximum and sums.
struct ReplayRow {
  float max;
  float low[4], high[4];
};

// One worker's memory.
struct ReplayScratch {
  PanelScratch scores_panel;
  HullScratch hull;
  AlignedBuffer<float> scores, o_low, o_high, row, x, p_low, p_high;
  AlignedBuffer<uint16_t> weights, weights_high, keys;
  std::vector<ReplayRow> rows;
  std::vector<OpenElement> open;
  std::vector<bool> lost;
};

class ReplayTile {
 public:
  ReplayTile(const ReplayPlan& plan, const replay::Sequence& sequence, int64_t head,
             ReplayScratch& scratch);

  // Writes the answers of these queries of one query tile (indices into the sequence's), at most
  // kReplayRows.
  void Run(std::span<const int64_t> queries, ScheduledAnswer& answer);

 private:
  void AddTile(int64_t tile, int64_t step);
  void Score(int64_t from, int64_t count);
  void DefineScores(std::span<const LeftLanes> left, int64_t from, int64_t k, int64_t columns,
                    float* c);
  void AddRow(int64_t i, int64_t from, int64_t count, int64_t step);
  void Weigh(int64_t i, float max, int64_t count);
  replay::Admissible Rescaling(float from, float to, int64_t step) const;
  void Rescale(int64_t i, const replay::Admissible& f);
  void AddToSums(int64_t i, const replay::Admissible& f, bool first_tile);
  void Unpin();
  float* Output(float* o, int64_t i, int64_t panel) const;
  void Finish(int64_t i, ScheduledAnswer& answer);
  void Define(int64_t i, ScheduledAnswer& answer) const {
    DefineReplay(plan_, sequence_, head_, queries_[static_cast<size_t>(i)], answer);
  }
  replay::Admissible LSE(float max, const replay::Admissible& l) const;
  int64_t KeyCount() const { return static_cast<int64_t>(sequence_.keys.size()); }
  const std::byte* KeyRow(const TensorView& tensor, int64_t key) const {
    return tensor.Row(sequence_.b, sequence_.keys[static_cast<size_t>(key)], key_head_);
  }

  const ReplayPlan& plan_;
  const replay::Sequence& sequence_;
  const int64_t head_, key_head_, D_, panels_;
  ReplayScratch& s_;
  std::span<const int64_t> queries_;
  UnitPanel scores_;
  HullChain output_;
  bool pinned_ = true;  // every o: o_high is not used
};

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_REPLAY_TILE_H_
