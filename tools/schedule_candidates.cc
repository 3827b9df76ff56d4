#include "tools/schedule_candidates.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "lib/number/float8.h"

namespace bitanchor::tools {
namespace {

using exact::Quantum;
using exact::RescaleFault;
using exact::TiledKernel;

constexpr int64_t kTileKeys[] = {16, 32, 64, 128, 256};
constexpr int64_t kMostTiles = 128;  // each of which may be the one that goes wrong

Format FormatOf(DType dtype) {
  return dtype == DType::kF16 ? kFormatF16 : dtype == DType::kBF16 ? kFormatBF16 : kFormatF32;
}

struct NamedFormat {
  std::string name;
  Format format;
};

class Candidates {
 public:
  explicit Candidates(const ScheduleScope& scope) : scope_(scope) {
    AddWeightRoundings();
    for (const NamedFormat& narrow : NarrowFormats()) AddScoreRoundings(narrow);
    AddRowSumRoundings();
    for (const TiledKernel& schedule : RightSchedules(scope_)) AddAfterSums(schedule);
  }

  std::vector<Candidate> all;

 private:
  void Add(const char* id, const std::string& where, const TiledKernel& kernel) {
    all.push_back({id, where, kernel});
  }

  // Narrower than f32, and the inputs' own first.
  std::vector<NamedFormat> NarrowFormats() const {
    std::vector<NamedFormat> formats = {{"bf16", kFormatBF16}, {"f16", kFormatF16}};
    if (scope_.dtype == DType::kF16) std::swap(formats[0], formats[1]);
    return formats;
  }

  void AddWeightRoundings() {
    for (TiledKernel kernel : Schedules(scope_)) {
      const auto add = [&](const char* id, const std::string& name, const Quantum& quantum) {
        kernel.weights = quantum;
        Add(id, "to " + name, kernel);
      };
      for (const auto& [name, format] : NarrowFormats()) {
        if (!scope_.may_round_weights) add("weights-rounded", name, {format});
        add("weights-truncated", name, {format, Rounding::kTowardZero});
        add("weights-rounded-up", name, {format, Rounding::kUp});
      }
      add("weights-fp8", "E4M3", {E4M3::kFormat});
      add("weights-fp8", "E5M2", {E5M2::kFormat});
    }
  }

  void AddScoreRoundings(const NamedFormat& narrow) {
    const auto& [name, format] = narrow;
    const Quantum quantum{format};
    const auto add = [&](const std::string& where, const TiledKernel& of) {
      for (TiledKernel kernel : RightSchedules(scope_)) {
        kernel.scores = of.scores;
        kernel.score_group = of.score_group;
        kernel.scaled_scores = of.scaled_scores;
        Add("scores-rounded", where, kernel);
      }
    };
    TiledKernel kernel;
    kernel.scores = quantum;
    add("q.k to " + name, kernel);
    for (const int64_t group : {1, 2, 4, 8, 16, 32, 64}) {
      if (group >= scope_.D) break;
      kernel.score_group = group;
      add(fmt::format("q.k to {} after every {} of its dimensions", name, group), kernel);
    }
    kernel = {};
    kernel.scaled_scores = quantum;
    add("scaled scores to " + name, kernel);
    kernel.scores = quantum;
    add("q.k to " + name + ", and again once it is scaled", kernel);
  }

  void AddRowSumRoundings() {
    for (TiledKernel kernel : RightSchedules(scope_)) {
      for (const auto& [name, format] : NarrowFormats()) {
        const std::string before = name + " before they are added";
        kernel.summed = Quantum{format, Rounding::kTowardZero};
        Add("row-sum-rounded", "weights are truncated to " + before, kernel);
        kernel.summed = Quantum{format};
        Add("row-sum-rounded", "weights are rounded to " + before, kernel);
      }
    }
  }

  // What differs in what becomes of each tile's sums.
  void AddAfterSums(const TiledKernel& schedule) {
    TiledKernel kernel = schedule;
    for (const auto& [name, format] : NarrowFormats()) {
      kernel.running = Quantum{format};
      Add("accumulator-rounded", "to " + name, kernel);
      kernel.running = Quantum{format, Rounding::kDown};
      Add("accumulator-rounded", "to " + name + ", always down", kernel);
      kernel.running = Quantum{format, Rounding::kTowardZero};
      Add("accumulator-rounded", "to " + name + ", toward zero", kernel);
    }
    if (scope_.o_dtype != DType::kF32) {
      kernel = schedule;
      kernel.output = Quantum{FormatOf(scope_.o_dtype), Rounding::kTowardZero};
      Add("output-truncated", "to " + std::string(DTypeName(scope_.o_dtype)), kernel);
    }
    if (schedule.tile > 0) AddRescales(schedule);
  }

  void AddRescales(const TiledKernel& schedule) {
    constexpr struct {
      RescaleFault fault;
      const char* id;
    } kFaults[] = {{RescaleFault::kOutput, "output-not-rescaled"},
                   {RescaleFault::kSum, "sum-not-rescaled"},
                   {RescaleFault::kBoth, "never-rescaled"},
                   {RescaleFault::kStaleMaximum, "maximum-stale"}};
    for (const auto& [fault, id] : kFaults) {
      TiledKernel kernel = schedule;
      kernel.fault = fault;
      Add(id, "in every tile", kernel);
      const int64_t tiles = (scope_.Skv + kernel.tile - 1) / kernel.tile;
      if (fault == RescaleFault::kBoth || tiles > kMostTiles) continue;
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const int64_t first = tile * kernel.tile, end = std::min(first + kernel.tile, scope_.Skv);
        kernel.faulty_tile = tile;
        Add(id, fmt::format("in the tile of keys {}..{}", first, end - 1), kernel);
      }
    }
  }

  const ScheduleScope& scope_;
};

}  // namespace

std::vector<TiledKernel> Schedules(const ScheduleScope& scope) {
  std::vector<TiledKernel> all = {{}};
  for (const int64_t tile : kTileKeys) {
    if (tile >= scope.Skv) break;
    for (const bool descending : {false, true}) {
      all.push_back({});
      all.back().tile = tile;
      all.back().descending = descending;
    }
  }
  return all;
}

std::vector<TiledKernel> RightSchedules(const ScheduleScope& scope) {
  std::vector<TiledKernel> all;
  for (TiledKernel kernel : Schedules(scope)) {
    all.push_back(kernel);
    if (!scope.may_round_weights || scope.dtype == DType::kF32) continue;
    kernel.weights = Quantum{FormatOf(scope.dtype)};
    all.push_back(kernel);
  }
  return all;
}

std::string Named(const TiledKernel& schedule) {
  if (schedule.tile == 0) return "the whole row at once";
  return fmt::format("tiles of {} keys{}", schedule.tile,
                     schedule.descending ? ", the last one first" : "");
}

std::vector<Candidate> ScheduleCandidates(const ScheduleScope& scope) {
  return std::move(Candidates(scope).all);
}

}  // namespace bitanchor::tools
