#include "lib/verdict/place.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

namespace bitanchor {
namespace {

constexpr double kMost = 0.98;        // of the wrong elements
constexpr double kInformative = 0.6;  // of the rows judged: a place that holds more is no place
constexpr int64_t kFewRows = 8;       // judged: too few to speak of places
constexpr int64_t kBlock = 64;        // tokens: one query block
constexpr size_t kLongestList = 6;

// By the value of something that rows or elements have: how many were judged and how many are
// wrong.
struct Tally {
  int64_t judged = 0, wrong = 0;
  double share = 0;
};
using Tallies = std::map<int64_t, Tally>;

// The fewest values that hold kMost of what is wrong, ascending; empty where they hold too much of
// what was judged to be a place.
std::vector<int64_t> Place(const Tallies& tallies) {
  std::vector<std::pair<int64_t, int64_t>> by_wrong;  // -wrong, value
  int64_t judged = 0, wrong = 0, held = 0, covered = 0;
  for (const auto& [value, tally] : tallies) {
    judged += tally.judged;
    wrong += tally.wrong;
    if (tally.wrong > 0) by_wrong.push_back({-tally.wrong, value});
  }
  std::sort(by_wrong.begin(), by_wrong.end());
  std::vector<int64_t> values;
  for (const auto& [less_wrong, value] : by_wrong) {
    if (static_cast<double>(covered) >= kMost * static_cast<double>(wrong)) break;
    covered -= less_wrong;
    held += tallies.at(value).judged;
    values.push_back(value);
  }
  if (static_cast<double>(held) > kInformative * static_cast<double>(judged)) return {};
  std::sort(values.begin(), values.end());
  return values;
}

// "3", "2..4", "0, 8, 16 (every 8th)", "1, 5, 6"; nothing where a list would be long and has no
// rule.
std::optional<std::string> Describe(const std::vector<int64_t>& values) {
  const int64_t first = values.front(), last = values.back();
  const int64_t n = static_cast<int64_t>(values.size());
  if (n == 1) return std::to_string(first);
  if (last - first == n - 1) return std::to_string(first) + ".." + std::to_string(last);
  const int64_t step = values[1] - first;
  bool even = n >= 3;
  for (int64_t i = 1; i < n; ++i) even &= values[i] - values[i - 1] == step;
  if (!even && values.size() > kLongestList) return std::nullopt;
  std::string list;
  for (size_t i = 0; i < std::min(values.size(), kLongestList); ++i) {
    list += (i == 0 ? "" : ", ") + std::to_string(values[i]);
  }
  if (values.size() > kLongestList) list += ", ... " + std::to_string(last);
  if (even)
    list += " (every " + std::to_string(step) + (step == 2 ? "nd)" : step == 3 ? "rd)" : "th)");
  return list;
}

class Places {
 public:
  Places(const Census& census, const Mask& mask, Side side)
      : census_(census),
        rows_(census.Rows()),
        ids_(side == Side::kQueries ? mask.q_ids : mask.k_ids),
        S_(side == Side::kQueries ? mask.Sq : mask.Skv),
        side_(side) {
    for (const RowRecord& row : rows_) wrong_ += row.wrong;
  }

  std::string Sentence() {
    if (wrong_ == 0 || static_cast<int64_t>(rows_.size()) < kFewRows) return "";
    Say("batch ", "batches ", ByRow([](const RowRecord& row) { return row.b; }));
    Say("head ", "heads ", ByRow([](const RowRecord& row) { return row.h; }));
    SayDocuments();
    if (!near_start_) SayTokens();
    Say("dimension ", "dimensions ", ByColumn());
    if (parts_.empty()) return "";
    std::string sentence =
        wrong_ == 1 ? "the wrong element is"
                    : (all_ ? "all " : "98% of ") + std::to_string(wrong_) + " wrong elements are";
    sentence += " in ";
    for (size_t n = 0; n < parts_.size(); ++n) sentence += (n == 0 ? "" : "; ") + parts_[n];
    return sentence;
  }

  std::vector<Breakdown> Breakdowns() const {
    const int64_t elements = rows_.empty() ? 0 : rows_.front().elements;
    std::vector<Breakdown> all;
    const auto add = [&](std::string by, const Tallies& tallies, int64_t elements_of_one) {
      if (tallies.size() < 2) return;
      Breakdown breakdown{std::move(by), {}};
      for (const auto& [value, tally] : tallies) {
        breakdown.groups.push_back(
            {value, tally.judged * elements_of_one, tally.wrong, tally.share});
      }
      KeepWorst(breakdown.groups);
      all.push_back(std::move(breakdown));
    };
    add("batch", ByRow([](const RowRecord& row) { return row.b; }), elements);
    add("head", ByRow([](const RowRecord& row) { return row.h; }), elements);
    add(side_ == Side::kQueries ? "query_block" : "key_block",
        ByRow([](const RowRecord& row) { return row.s / kBlock; }), elements);
    if (!ids_.empty()) {
      const std::vector<std::vector<int64_t>> distances = Distances();
      add("document", ByRow([&](const RowRecord& row) { return ids_[row.b * S_ + row.s]; }),
          elements);
      add("distance", ByRow([&](const RowRecord& row) {
            return static_cast<int64_t>(
                std::bit_width(static_cast<uint64_t>(distances[row.b][row.s])));
          }),
          elements);
    }
    add("dimension", ByColumn(), 1);
    return all;
  }

 private:
  static void KeepWorst(std::vector<Group>& groups) {
    if (groups.size() <= kMostGroups) return;
    std::sort(groups.begin(), groups.end(), [](const Group& x, const Group& y) {
      return std::tuple(-x.wrong, -x.share, x.value) < std::tuple(-y.wrong, -y.share, y.value);
    });
    groups.resize(kMostGroups);
    std::sort(groups.begin(), groups.end(),
              [](const Group& x, const Group& y) { return x.value < y.value; });
  }

  template <typename Value>
  Tallies ByRow(const Value& value) const {
    Tallies tallies;
    for (const RowRecord& row : rows_) {
      Tally& tally = tallies[value(row)];
      ++tally.judged;
      tally.wrong += row.wrong;
      tally.share = std::max<double>(tally.share, row.share);
    }
    return tallies;
  }

  Tallies ByColumn() const {
    Tallies tallies;
    if (census_.wrong_by_column.size() < 2) return tallies;
    for (size_t d = 0; d < census_.wrong_by_column.size(); ++d) {
      tallies[static_cast<int64_t>(d)] = {static_cast<int64_t>(rows_.size()),
                                          census_.wrong_by_column[d], 0};
    }
    return tallies;
  }

  // Remembers whether the values hold every wrong element.
  void Held(const Tallies& tallies, const std::vector<int64_t>& values) {
    int64_t held = 0;
    for (const int64_t value : values) held += tallies.at(value).wrong;
    all_ &= held == wrong_;
  }

  void Say(const char* one, const char* many, const Tallies& tallies) {
    const std::vector<int64_t> values = Place(tallies);
    if (values.empty()) return;
    const auto described = Describe(values);
    if (!described) return;
    parts_.push_back((values.size() == 1 ? one : many) + *described);
    Held(tallies, values);
  }

  void SayDocuments() {
    if (ids_.empty()) return;
    std::set<std::pair<int64_t, int64_t>> documents;  // with wrong elements
    for (const RowRecord& row : rows_) {
      if (row.wrong > 0) documents.insert({row.b, ids_[row.b * S_ + row.s]});
    }
    Say("document ", "documents ",
        ByRow([&](const RowRecord& row) { return ids_[row.b * S_ + row.s]; }));
    if (documents.size() < 2) return;
    const std::vector<std::vector<int64_t>> distances = Distances();
    const Tallies near = ByRow([&](const RowRecord& row) {
      return static_cast<int64_t>(distances[row.b][row.s] < kBlock);
    });
    const std::vector<int64_t> values = Place(near);
    if (values != std::vector<int64_t>{1}) return;
    near_start_ = true;
    parts_.push_back("the first " + std::to_string(kBlock) + " tokens of a document");
    Held(near, values);
  }

  // A stretch of tokens without a gap that holds all that is wrong, or else almost all.
  void SayTokens() {
    const Tallies tallies = ByRow([](const RowRecord& row) { return row.s; });
    for (const double spare : {0.0, (1 - kMost) / 2 * static_cast<double>(wrong_)}) {
      const std::vector<int64_t> stretch = Stretch(tallies, spare);
      int64_t judged = 0;
      for (const int64_t s : stretch) judged += tallies.at(s).judged;
      if (static_cast<double>(judged) > kInformative * Judged()) continue;
      const int64_t first = stretch.front(), last = stretch.back();
      const bool to_the_end = last == tallies.rbegin()->first && last > first;
      parts_.push_back(to_the_end ? "tokens from " + std::to_string(first) + " on"
                       : last > first
                           ? "tokens " + std::to_string(first) + ".." + std::to_string(last)
                           : "token " + std::to_string(first));
      Held(tallies, stretch);
      return;
    }
    Say("token ", "tokens ", tallies);  // no stretch, but perhaps a comb
  }

  // The judged tokens from the first wrong one to the last, leaving out at most so many wrong
  // elements at either end.
  static std::vector<int64_t> Stretch(const Tallies& tallies, double spare) {
    const auto end = [&](auto from, auto to) {
      double passed = 0;
      for (auto at = from; at != to; ++at) {
        passed += static_cast<double>(at->second.wrong);
        if (passed > spare) return at->first;
      }
      return from->first;
    };
    const int64_t first = end(tallies.begin(), tallies.end());
    const int64_t last = end(tallies.rbegin(), tallies.rend());
    std::vector<int64_t> stretch;
    for (const auto& [s, tally] : tallies) {
      if (first <= s && s <= last) stretch.push_back(s);
    }
    return stretch;
  }

  // Of each token of each batch from the first token of its document; documents may interleave.
  std::vector<std::vector<int64_t>> Distances() const {
    std::vector<std::vector<int64_t>> distances(ids_.size() / S_);
    for (size_t b = 0; b < distances.size(); ++b) {
      std::map<int64_t, int64_t> starts;
      for (int64_t s = 0; s < S_; ++s) {
        const int64_t id = ids_[static_cast<int64_t>(b) * S_ + s];
        distances[b].push_back(s - starts.try_emplace(id, s).first->second);
      }
    }
    return distances;
  }

  double Judged() const { return static_cast<double>(rows_.size()); }

  const Census& census_;
  std::vector<RowRecord> rows_;
  const std::vector<int64_t>& ids_;
  int64_t S_, wrong_ = 0;
  Side side_;
  std::vector<std::string> parts_;
  bool all_ = true, near_start_ = false;
};

}  // namespace

std::string Signature(const Census& census, const Mask& mask, Side side) {
  return Places(census, mask, side).Sentence();
}

std::vector<Breakdown> Breakdowns(const Census& census, const Mask& mask, Side side) {
  return Places(census, mask, side).Breakdowns();
}

}  // namespace bitanchor
