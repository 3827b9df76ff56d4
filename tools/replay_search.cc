#include "tools/replay_search.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <numeric>
#include <optional>
#include <tuple>

#include "lib/file/report_text.h"
#include "lib/replay/scheduled_attention.h"
#include "lib/tensor/error.h"
#include "simd/parallel.h"
#include "tools/judge_schedule.h"
#include "tools/replay_candidates.h"
#include "tools/replay_part.h"
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
constexpr int64_t kMostMatches = 16;

struct RowToReplay {
  const Sequence* sequence;
  int64_t n, h, keys;
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

// Better first: those that reproduce everything, by the bits of correctly rounded functions; then
// those that lasted longest.
std::vector<size_t> Ranked(const std::vector<ReplayStanding>& standings) {
  std::vector<size_t> order(standings.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const auto key = [&](size_t k) {
      const ReplayStanding& s = standings[k];
      return std::tuple(s.AllInside(), s.rows, s.AllInside() ? s.rounded : s.inside);
    };
    return key(a) > key(b);
  });
  return order;
}

class Search {
 public:
  Search(const Capture& capture, const AttentionProblem& problem,
         const replay::SpecialFunctions& functions, const std::vector<Sequence>& sequences,
         const std::vector<RowToReplay>& rows)
      : capture_(capture),
        problem_(problem),
        functions_(functions),
        sequences_(sequences),
        rows_(rows),
        looks_at_lse_(HasNaturalLse(capture)) {
    rounded_ = replay::CorrectlyRounded();
    rounded_.exp2 = functions.exp2;
    rounded_.reciprocal = functions.reciprocal;
  }

  void FirstRow(const Schedule& schedule, ReplayStanding& standing) const {
    AddRow(schedule, rows_.front(), standing);
  }

  // All rows, until one is outside.
  void BySets(const Schedule& schedule, ReplayStanding& standing) const {
    for (const RowToReplay& row : rows_) {
      AddRow(schedule, row, standing);
      if (!standing.AllInside()) break;
    }
  }

  // Those that fit, the best first, once more on all rows of some heads: few rows may show nothing
  // of a unit or of a sum's order.
  void Confirm(const std::vector<ReplayCandidate>& all, const simd::EngineOptions& options,
               std::vector<ReplayStanding>& standings, ReplaySearch& found) const {
    const auto part = PartToReplay(problem_, sequences_);
    if (!part) return;
    found.heads = part->shape.Hq;
    for (const size_t k : Ranked(standings)) {
      if (!standings[k].AllInside()) break;
      if (found.confirmed == kMostMatches) {
        standings[k] = {};
        continue;
      }
      ++found.confirmed;
      standings[k] = StandingOf(capture_, *part, all[k].schedule(), functions_, rounded_, options);
    }
  }

  void ByRoundedFunctions(const Schedule& schedule, ReplayStanding& standing) const {
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

  void AddRow(const Schedule& schedule, const RowToReplay& row, ReplayStanding& standing) const {
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
  const std::vector<Sequence>& sequences_;
  const std::vector<RowToReplay>& rows_;
  const bool looks_at_lse_;
};

void AddMatches(const ReplayCandidate& candidate, const ReplayStanding& standing,
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
std::vector<std::pair<ReplayStanding, std::pair<int64_t, TileOrder>>> TilesByFirstRow(
    const Search& search, const AttentionProblem& problem, const simd::EngineOptions& options) {
  const std::string unit = UnitsFor(problem.dtype).front().front();
  std::vector<std::pair<ReplayStanding, std::pair<int64_t, TileOrder>>> tiles;
  for (const int64_t keys : kTileKeys) {
    for (const TileOrder order : {TileOrder::kLastFirst, TileOrder::kFirstFirst}) {
      tiles.push_back({{}, {keys, order}});
    }
  }
  simd::ParallelFor(options, static_cast<int64_t>(tiles.size()), [&](int64_t task, int) {
    auto& [standing, tile] = tiles[static_cast<size_t>(task)];
    Schedule schedule = *FindSchedule(kBaseSchedule);
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
    return replay::SequencesOf(problem, *FindSchedule(kBaseSchedule));
  } catch (const InputError&) {
    return std::nullopt;
  }
}

void RankAll(const Search& search, const AttentionProblem& problem,
             const simd::EngineOptions& options, ReplaySearch& found) {
  const auto tiles = TilesByFirstRow(search, problem, options);
  ReplayCandidates candidates(problem);
  found.searched = candidates.AllVariants();
  for (const auto& [standing, tile] : tiles) {
    if (standing.Inside() >= kNear) candidates.AddUnits(tile.first, tile.second);
  }
  std::vector<ReplayCandidate>& all = candidates.all();
  if (tiles.front().first.Inside() < kNear) {  // none: the nearest on one unit has to do
    Schedule schedule = *FindSchedule(kBaseSchedule);
    schedule.unit = UnitsFor(problem.dtype).front().front();
    schedule.order = tiles.front().second.second;
    all.push_back(ReplayCandidates::Tiled(schedule, tiles.front().second.first));
  }
  // Every unit and argument by its sets, then every sum of those that fit by rounded functions; and
  // of these the best by their sets.
  std::vector<ReplayStanding> standings(all.size());
  const auto for_each = [&](size_t from, const std::function<void(size_t)>& replay) {
    simd::ParallelFor(options, static_cast<int64_t>(all.size() - from),
                      [&](int64_t task, int) { replay(from + static_cast<size_t>(task)); });
  };
  for_each(0, [&](size_t k) { search.BySets(all[k].schedule(), standings[k]); });
  const size_t first_sums = all.size();
  for (size_t k = 0; k < first_sums; ++k) {
    if (!standings[k].AllInside()) continue;
    const Schedule like = all[k].schedule();
    candidates.AddSums(like, like.TileOf(problem.shape.D, replay::IsCausalCall(problem))->keys);
  }
  standings.resize(all.size());
  for_each(0, [&](size_t k) {
    if (k >= first_sums || standings[k].AllInside())
      search.ByRoundedFunctions(all[k].schedule(), standings[k]);
  });
  int64_t most = 0;
  for (const ReplayStanding& standing : standings) most = std::max(most, standing.rounded);
  for_each(first_sums, [&](size_t k) {
    if (standings[k].rounded == most) search.BySets(all[k].schedule(), standings[k]);
  });
  found.replayed = static_cast<int64_t>(tiles.size() + all.size());
  search.Confirm(all, options, standings, found);
  for (const size_t k : Ranked(standings)) {
    const bool fits = standings[k].AllInside();
    if (std::ssize(found.matches) >= (fits ? kMostMatches : 1)) break;
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
    const Search search(capture, problem, functions, *sequences, rows);
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
      "normalisation), {} of them replayed on up to {}{}\n",
      search.searched, search.replayed, search.rows,
      search.confirmed == 0
          ? ""
          : fmt::format(", and {} of these on all of {} heads", search.confirmed, search.heads));
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
        std::ssize(search.matches) == kMostMatches ? "many schedules" : "schedules", searched);
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
