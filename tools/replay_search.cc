#include "tools/replay_search.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>
#include <tuple>

#include "lib/file/report_text.h"
#include "lib/file/schedule_file.h"
#include "lib/matrix_unit/model.h"
#include "lib/replay/scheduled_attention.h"
#include "lib/tensor/error.h"
#include "simd/parallel.h"
#include "tools/judge_schedule.h"
#include "tools/telling_rows.h"

namespace bitanchor::tools {
namespace {

using replay::Sequence;

constexpr size_t kRows = 10;
// Rows of at least the first many keys show every size of tile; beyond the second they take long.
constexpr int64_t kTellingKeys = 400, kManyKeys = 600, kMostKeys = 16384;
// Of the first row's elements: a schedule with the right tiles but another unit or rounding has
// more than this in its sets, one with other tiles mostly less.
constexpr double kNear = 0.93;
constexpr size_t kMostMatches = 16;
constexpr int64_t kTileKeys[] = {16, 32, 64, 128, 256};
constexpr std::string_view kBase = "flash-attention-2/sm80";

// What the bits of rows depend on.
struct Candidate {
  std::vector<std::string> names;  // of named schedules
  OwnedSchedule owned;
  std::vector<std::string> same_units;

  const Schedule& schedule() const { return owned.schedule; }
  Tile tile(const AttentionProblem& problem) const {
    return *schedule().TileOf(problem.shape.D, problem.mask.spec.causal);
  }
};

struct RowToReplay {
  const Sequence* sequence;
  int64_t n, h, keys;
};

// How a candidate stands to the rows so far.
struct Standing {
  int64_t rows = 0, elements = 0, inside = 0, pinned = 0;
  int64_t rounded = 0;  // that have the bits of correctly rounded functions

  bool AllInside() const { return elements > 0 && inside == elements; }
  double Inside() const { return Share(inside); }
  double Share(int64_t count) const {
    return elements == 0 ? 0 : static_cast<double>(count) / static_cast<double>(elements);
  }
};

// The units that schedules may be on, one for each arithmetic, with those that are the same.
std::vector<std::vector<std::string>> Units(DType dtype) {
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

bool SameBits(const Candidate& a, const Candidate& b, const AttentionProblem& problem) {
  const auto key = [&](const Candidate& c) {
    const Schedule& s = c.schedule();
    return std::tuple(c.tile(problem).keys, s.order, s.exp_argument, s.row_sum, s.fused_row_sum,
                      s.normalisation);
  };
  const auto on_unit = [](const Candidate& c, const std::string& unit) {
    return c.schedule().unit == unit ||
           std::find(c.same_units.begin(), c.same_units.end(), unit) != c.same_units.end();
  };
  return key(a) == key(b) && (on_unit(a, b.schedule().unit) || on_unit(b, a.schedule().unit));
}

// Named schedules first, each variant once.
class Candidates {
 public:
  explicit Candidates(const AttentionProblem& problem)
      : problem_(problem), units_(Units(problem.dtype)) {
    for (const Schedule& schedule : Schedules()) {
      if (!schedule.TileOf(problem.shape.D, problem.mask.spec.causal)) continue;
      Candidate named;
      named.names = {schedule.name};
      named.owned.schedule = schedule;
      Add(std::move(named));
    }
  }

  // On every unit, with these tiles and each argument of exp2.
  void AddUnits(int64_t tile_keys, TileOrder order) {
    for (const auto& unit : units_) {
      for (const ExpArgument argument :
           {ExpArgument::kFused, ExpArgument::kScaled, ExpArgument::kShifted}) {
        Schedule schedule = *FindSchedule(kBase);
        schedule.unit = unit.front();
        schedule.order = order;
        schedule.exp_argument = argument;
        Add(Tiled(schedule, tile_keys));
      }
    }
  }

  // What may still be otherwise in it: sums of weights and the last division.
  void AddSums(const Schedule& like, int64_t tile_keys) {
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

  static Candidate Tiled(const Schedule& schedule, int64_t tile_keys) {
    Candidate candidate;
    candidate.owned = WithTile(schedule, {128, tile_keys});
    return candidate;
  }

  std::vector<Candidate>& all() { return all_; }
  int64_t AllVariants() const {
    constexpr int64_t kOfEach = 2 * 3 * 2 * 2 * 2;
    return static_cast<int64_t>(units_.size() * std::size(kTileKeys)) * kOfEach;
  }

 private:
  void Add(Candidate candidate) {
    const std::string unit = candidate.schedule().unit;
    for (const auto& same : units_) {
      if (std::find(same.begin(), same.end(), unit) == same.end()) continue;
      for (const std::string& other : same) {
        if (other != unit) candidate.same_units.push_back(other);
      }
    }
    for (Candidate& there : all_) {
      if (!SameBits(there, candidate, problem_)) continue;
      there.names.insert(there.names.end(), candidate.names.begin(), candidate.names.end());
      return;
    }
    all_.push_back(std::move(candidate));
  }

  const AttentionProblem& problem_;
  std::vector<std::vector<std::string>> units_;
  std::vector<Candidate> all_;
};

// The first one tells most for its price; the others are a spread up to the longest.
std::vector<RowToReplay> RowsToReplay(const AttentionProblem& problem,
                                      const std::vector<Sequence>& sequences) {
  std::vector<RowToReplay> rows;
  for (const Sequence& sequence : sequences) {
    for (size_t n = 0; n < sequence.queries.size(); ++n) {
      const int64_t at = static_cast<int64_t>(n), keys = sequence.Visible(at);
      if (sequence.answers[n] && keys > 0) rows.push_back({&sequence, at, 0, keys});
    }
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const RowToReplay& a, const RowToReplay& b) { return a.keys < b.keys; });
  const auto from = [&](int64_t keys) {
    return std::partition_point(rows.begin(), rows.end(),
                                [&](const RowToReplay& row) { return row.keys < keys; });
  };
  std::vector<RowToReplay> some;
  if (from(kTellingKeys) != from(kManyKeys)) {
    some.assign(from(kTellingKeys), from(kManyKeys));
  } else if (from(kTellingKeys) == rows.end()) {  // short rows alone: the longest
    const int64_t most = rows.empty() ? 0 : rows.back().keys;
    some.assign(from(most - most / 4), rows.end());
    std::reverse(some.begin(), some.end());
  } else {
    some.assign(from(kTellingKeys), rows.end());
  }
  if (some.empty()) return some;
  const int64_t budget = static_cast<int64_t>(kRows) * kManyKeys / some.front().keys;
  some = Evenly(some, static_cast<size_t>(std::clamp<int64_t>(budget, 2, kRows)));
  for (size_t k = 0; k < some.size(); ++k) {
    some[k].h = static_cast<int64_t>(k) * problem.shape.Hq / static_cast<int64_t>(some.size());
  }
  return some;
}

class Search {
 public:
  Search(const Capture& capture, const AttentionProblem& problem,
         const replay::SpecialFunctions& functions, const std::vector<RowToReplay>& rows)
      : capture_(capture), problem_(problem), functions_(functions), rows_(rows) {
    rounded_ = replay::CorrectlyRounded();
    rounded_.exp2 = functions.exp2;
    rounded_.reciprocal = functions.reciprocal;
    looks_at_lse_ = capture.lse && capture.lse_spec.base == LseBase::kE && capture.lse_spec.scaled;
  }

  void FirstRow(const Schedule& schedule, Standing& standing) const {
    AddRow(schedule, rows_.front(), standing);
  }

  // All rows, until one is outside.
  void BySets(const Schedule& schedule, Standing& standing) const {
    for (const RowToReplay& row : rows_) {
      AddRow(schedule, row, standing);
      if (!standing.AllInside()) break;
    }
  }

  void ByRoundedFunctions(const Schedule& schedule, Standing& standing) const {
    for (const RowToReplay& row : rows_) {
      const replay::ScheduledRow answer = Answer(schedule, rounded_, row);
      standing.rounded += InsideO(row, answer) + InsideLse(row, answer);
    }
  }

 private:
  replay::ScheduledRow Answer(const Schedule& schedule, const replay::SpecialFunctions& functions,
                              const RowToReplay& row) const {
    Sequence sequence = *row.sequence;  // whose tiles are another schedule's
    sequence.tile = *schedule.TileOf(problem_.shape.D, sequence.causal);
    return replay::AnswerOf(problem_, schedule, functions, sequence, row.h, row.n);
  }

  static int64_t QueryOf(const RowToReplay& row) {
    return row.sequence->queries[static_cast<size_t>(row.n)];
  }

  int64_t InsideO(const RowToReplay& row, const replay::ScheduledRow& answer) const {
    int64_t inside = 0;
    for (size_t d = 0; d < answer.o.size(); ++d) {
      inside += answer.o[d].Contains(
          capture_.o.At(row.sequence->b, QueryOf(row), row.h, static_cast<int64_t>(d)));
    }
    return inside;
  }

  int64_t InsideLse(const RowToReplay& row, const replay::ScheduledRow& answer) const {
    return looks_at_lse_ &&
           answer.lse.Contains(capture_.lse.At(row.sequence->b, row.h, QueryOf(row)));
  }

  void AddRow(const Schedule& schedule, const RowToReplay& row, Standing& standing) const {
    const replay::ScheduledRow answer = Answer(schedule, functions_, row);
    ++standing.rows;
    standing.elements += static_cast<int64_t>(answer.o.size()) + looks_at_lse_;
    standing.inside += InsideO(row, answer) + InsideLse(row, answer);
    for (const replay::Admissible& o : answer.o) standing.pinned += o.IsPinned();
    standing.pinned += looks_at_lse_ && answer.lse.IsPinned();
  }

  const Capture& capture_;
  const AttentionProblem& problem_;
  replay::SpecialFunctions functions_, rounded_;
  const std::vector<RowToReplay>& rows_;
  bool looks_at_lse_;
};

// "flash-attention-2/sm80 but for tiles of 64 keys, the first one first".
std::string VariantName(const Candidate& candidate, const AttentionProblem& problem) {
  const Schedule& base = *FindSchedule(kBase);
  const Schedule& schedule = candidate.schedule();
  std::vector<std::string> other;
  const auto is_base_unit = [&] {
    return schedule.unit == base.unit ||
           std::find(candidate.same_units.begin(), candidate.same_units.end(), base.unit) !=
               candidate.same_units.end();
  };
  if (!is_base_unit()) other.push_back("unit " + schedule.unit);
  const int64_t keys = candidate.tile(problem).keys;
  if (keys != base.TileOf(problem.shape.D, problem.mask.spec.causal)->keys) {
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
  if (other.empty()) return std::string(kBase);
  return fmt::format("{} but for {}", kBase, fmt::join(other, ", "));
}

void AddMatches(const Candidate& candidate, const Standing& standing,
                const AttentionProblem& problem, std::vector<ScheduleMatch>& matches) {
  ScheduleMatch match;
  match.schedule = candidate.schedule();
  match.schedule.tiles = {};
  match.tile = candidate.tile(problem);
  match.same_units = candidate.same_units;
  match.rows = standing.rows;
  match.elements = standing.elements;
  match.reproduces = standing.Inside();
  match.pinned = standing.Share(standing.pinned);
  match.rounded = standing.Share(standing.rounded);
  std::vector<std::string> names = candidate.names;
  if (names.empty()) names.push_back(VariantName(candidate, problem));
  for (const std::string& name : names) {
    match.name = name;
    matches.push_back(match);
  }
}

// Tiles and orders that the first row does not speak against, the best first, on any unit.
std::vector<std::pair<Standing, std::pair<int64_t, TileOrder>>> TilesByFirstRow(
    const Search& search, const AttentionProblem& problem, const simd::EngineOptions& options) {
  const std::string unit = Units(problem.dtype).front().front();
  std::vector<std::pair<Standing, std::pair<int64_t, TileOrder>>> tiles;
  for (const int64_t keys : kTileKeys) {
    for (const TileOrder order : {TileOrder::kLastFirst, TileOrder::kFirstFirst}) {
      tiles.push_back({{}, {keys, order}});
    }
  }
  simd::ParallelFor(options, static_cast<int64_t>(tiles.size()), [&](int64_t task, int) {
    auto& [standing, tile] = tiles[static_cast<size_t>(task)];
    Schedule schedule = *FindSchedule(kBase);
    schedule.unit = unit;
    schedule.order = tile.second;
    const OwnedSchedule owned = WithTile(schedule, {128, tile.first});
    search.FirstRow(owned.schedule, standing);
  });
  std::stable_sort(tiles.begin(), tiles.end(),
                   [](const auto& a, const auto& b) { return a.first.inside > b.first.inside; });
  return tiles;
}

// The first few, and how many more.
std::string Some(const std::vector<std::string>& names) {
  constexpr size_t kShown = 3;
  if (names.size() <= kShown + 1) return fmt::format("{}", fmt::join(names, "; "));
  return fmt::format("{}; and {} more", fmt::join(names.begin(), names.begin() + kShown, "; "),
                     names.size() - kShown);
}

std::string RowsInWords(const std::vector<RowToReplay>& rows) {
  const auto [least, most] = std::minmax_element(
      rows.begin(), rows.end(),
      [](const RowToReplay& a, const RowToReplay& b) { return a.keys < b.keys; });
  return fmt::format("{} rows of {} to {} keys", rows.size(), least->keys, most->keys);
}

// The problem, or nullopt where no schedule has code for it.
std::optional<std::vector<Sequence>> SequencesFor(const AttentionProblem& problem) {
  try {
    return replay::SequencesOf(problem, *FindSchedule(kBase));
  } catch (const InputError&) {
    return std::nullopt;
  }
}

// Better first: those that reproduce everything, by the bits of correctly rounded functions; then
// those that lasted longest.
std::vector<size_t> Ranked(const std::vector<Standing>& standings) {
  std::vector<size_t> order(standings.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const auto key = [&](size_t k) {
      const Standing& s = standings[k];
      return std::tuple(s.AllInside(), s.rows, s.AllInside() ? s.rounded : s.inside);
    };
    return key(a) > key(b);
  });
  return order;
}

void RankAll(const Search& search, const AttentionProblem& problem,
             const simd::EngineOptions& options, ReplaySearch& found) {
  const auto tiles = TilesByFirstRow(search, problem, options);
  Candidates candidates(problem);
  found.searched = candidates.AllVariants();
  for (const auto& [standing, tile] : tiles) {
    if (standing.Inside() >= kNear) candidates.AddUnits(tile.first, tile.second);
  }
  std::vector<Candidate>& all = candidates.all();
  if (tiles.front().first.Inside() < kNear) {  // none: the nearest on one unit has to do
    Schedule schedule = *FindSchedule(kBase);
    schedule.unit = Units(problem.dtype).front().front();
    schedule.order = tiles.front().second.second;
    all.push_back(Candidates::Tiled(schedule, tiles.front().second.first));
  }
  // Every unit and argument by its sets, then every sum of those that fit by rounded functions; and
  // of these the best by their sets.
  std::vector<Standing> standings(all.size());
  const auto for_each = [&](size_t from, const std::function<void(size_t)>& replay) {
    simd::ParallelFor(options, static_cast<int64_t>(all.size() - from),
                      [&](int64_t task, int) { replay(from + static_cast<size_t>(task)); });
  };
  for_each(0, [&](size_t k) { search.BySets(all[k].schedule(), standings[k]); });
  const size_t first_sums = all.size();
  for (size_t k = 0; k < first_sums; ++k) {
    if (!standings[k].AllInside()) continue;
    const Schedule like = all[k].schedule();
    candidates.AddSums(like, like.TileOf(problem.shape.D, problem.mask.spec.causal)->keys);
  }
  standings.resize(all.size());
  for_each(0, [&](size_t k) {
    if (k >= first_sums || standings[k].AllInside())
      search.ByRoundedFunctions(all[k].schedule(), standings[k]);
  });
  int64_t most = 0;
  for (const Standing& standing : standings) most = std::max(most, standing.rounded);
  for_each(first_sums, [&](size_t k) {
    if (standings[k].rounded == most) search.BySets(all[k].schedule(), standings[k]);
  });
  found.replayed = static_cast<int64_t>(tiles.size() + all.size());
  for (const size_t k : Ranked(standings)) {
    const bool fits = standings[k].AllInside();
    if (found.matches.size() >= (fits ? kMostMatches : 1)) break;
    AddMatches(all[k], standings[k], problem, found.matches);
    if (!fits) break;
  }
}

}  // namespace

bool ReplaySearch::Tells() const {
  const ScheduleMatch& best = matches.front();
  return std::none_of(matches.begin(), matches.end(), [&](const ScheduleMatch& match) {
    return match.tile.keys != best.tile.keys && match.rounded == best.rounded;
  });
}

ReplaySearch SearchSchedules(const Capture& capture, const replay::SpecialFunctions& functions,
                             const simd::EngineOptions& options) {
  ReplaySearch found;
  if (!capture.o || capture.o.dtype != capture.problem.dtype ||
      capture.problem.dtype == DType::kF32) {
    return found;
  }
  simd::EngineOptions quiet = options;
  quiet.progress = nullptr;
  const auto sequences = SequencesFor(capture.problem);
  if (!sequences) return found;
  const std::vector<RowToReplay> rows = RowsToReplay(capture.problem, *sequences);
  if (rows.empty()) return found;
  if (rows.front().keys > kMostKeys) {
    found.not_searched = fmt::format("rows of {} keys and more take too long", rows.front().keys);
    return found;
  }
  try {
    const Rotated rotated = Rotate(capture.problem, capture.layout, Engine::kSimd, quiet);
    const AttentionProblem problem = AsTheKernelReadIt(capture, rotated);
    const Search search(capture, problem, functions, rows);
    found.rows = RowsInWords(rows);
    RankAll(search, problem, quiet, found);
  } catch (const InputError& error) {
    found.not_searched = error.what();
  }
  return found;
}

std::string SearchText(const ReplaySearch& search) {
  if (!search.not_searched.empty()) {
    return "schedule: not searched: " + search.not_searched + "\n";
  }
  if (search.matches.empty()) return "";
  const ScheduleMatch& best = search.matches.front();
  const std::string searched = fmt::format(
      "  searched: {} schedules (units, tiles of 16 to 256 keys, orders, exp2's argument, sums, "
      "normalisation), {} of them replayed on up to {}\n",
      search.searched, search.replayed, search.rows);
  if (!search.Found()) {
    return fmt::format(
        "schedule: none that is known makes these bits; nearest {}: {:.1f}% of {} elements of {} "
        "row{}\n{}",
        best.name, 100 * best.reproduces, best.elements, best.rows, best.rows == 1 ? "" : "s",
        searched);
  }
  if (!search.Tells()) {
    return fmt::format(
        "schedule: these rows cannot tell; {} of several tiles may have made them\n{}",
        search.matches.size() == kMostMatches ? "many schedules" : "schedules", searched);
  }
  std::string text =
      fmt::format("schedule: {} makes these bits: {} of {} rows, {:.1f}% of elements pinned\n",
                  best.name, best.rows, best.rows, 100 * best.pinned);
  std::vector<std::string> twins, others;
  for (size_t k = 1; k < search.matches.size(); ++k) {
    const ScheduleMatch& match = search.matches[k];
    (match.rounded == best.rounded ? twins : others).push_back(match.name);
  }
  text += fmt::format("  {:.2f}% are the bits of correctly rounded special functions\n",
                      100 * best.rounded);
  if (!best.same_units.empty()) {
    text += fmt::format("  unit {}, whose bits are those of {}\n", best.schedule.unit,
                        fmt::join(best.same_units, ", "));
  }
  if (!twins.empty()) {
    text += fmt::format("  not to be told from it here: {}\n", Some(twins));
  }
  if (!others.empty()) {
    text += fmt::format(
        "  possible too, if special functions round otherwise ({:.2f}% and less): "
        "{}\n",
        100 * search.matches[1 + twins.size()].rounded, Some(others));
  }
  return text + searched;
}

}  // namespace bitanchor::tools
