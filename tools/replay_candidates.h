// The schedules that explain's search is over: those with a name, and their variants.
#ifndef BITANCHOR_TOOLS_REPLAY_CANDIDATES_H_
#define BITANCHOR_TOOLS_REPLAY_CANDIDATES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/file/schedule_file.h"
#include "lib/problem/attention_problem.h"
#include "lib/recipe/schedule.h"
#include "lib/replay/sequences.h"

namespace bitanchor::tools {

inline constexpr std::string_view kBaseSchedule = "flash-attention-2/sm80";
inline constexpr int64_t kTileKeys[] = {16, 32, 64, 128, 256};

// The units that schedules may be on, one for each arithmetic, with those that are the same.
std::vector<std::vector<std::string>> UnitsFor(DType dtype);

// What the bits of rows depend on.
struct ReplayCandidate {
  std::vector<std::string> names;  // of named schedules
  OwnedSchedule owned;
  std::vector<std::string> same_units;

  const Schedule& schedule() const { return owned.schedule; }
  // Whether its unit is this one, or has the bits of it.
  bool OnUnit(const std::string& unit) const;
  Tile tile(const AttentionProblem& problem) const {
    return *schedule().TileOf(problem.shape.D, replay::IsCausalCall(problem));
  }
};

// "flash-attention-2/sm80 but for tiles of 64 keys, order first-first".
std::string VariantName(const ReplayCandidate& candidate, const AttentionProblem& problem);

// Named schedules first, each variant once.
class ReplayCandidates {
 public:
  explicit ReplayCandidates(const AttentionProblem& problem);

  // On every unit, with these tiles and each argument of exp2.
  void AddUnits(int64_t tile_keys, TileOrder order);
  // What may still be otherwise in it: sums of weights and the last division.
  void AddSums(const Schedule& like, int64_t tile_keys);
  void Add(ReplayCandidate candidate);

  static ReplayCandidate Tiled(const Schedule& schedule, int64_t tile_keys);

  std::vector<ReplayCandidate>& all() { return all_; }
  int64_t AllVariants() const;

 private:
  const AttentionProblem& problem_;
  std::vector<std::vector<std::string>> units_;
  std::vector<ReplayCandidate> all_;
};

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_REPLAY_CANDIDATES_H_
