#include "tools/diagnose_place.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>

#include "tools/judge_rows.h"
#include "tools/telling_rows.h"

namespace bitanchor::tools {
namespace {

using exact::RowPlace;

constexpr size_t kWrongRows = 32;
constexpr size_t kCandidates = 8;  // for the original of a row

// A row with wrong elements, and what the wrong ones are.
struct WrongRow {
  RowPlace at;
  int64_t wrong = 0, zero = 0, negated = 0;  // of o and LSE
  int64_t wrong_lse = 0;
  bool all_zero = true;  // every element of o, the right ones too
};

WrongRow LookAt(const Capture& capture, const RowPlace& at, const IntervalBlock& want) {
  WrongRow row{at};
  const auto look = [&](const Interval& interval, float got) {
    if (Admits(interval, got)) return false;
    ++row.wrong;
    row.zero += got == 0;
    row.negated += got != 0 && Admits(interval, -got);
    return true;
  };
  for (size_t d = 0; capture.o && d < want.o.size(); ++d) {
    const float got = capture.o.At(at.b, at.i, at.h, static_cast<int64_t>(d));
    look(want.o[d], got);
    row.all_zero &= got == 0;
  }
  if (!capture.lse) return row;
  const Interval& lse = want.lse[0];
  row.wrong_lse = look(lse, NaturalLse(capture.lse_spec, capture.lse.At(at.b, at.h, at.i),
                                       capture.problem.softmax_scale, OfEmptyRow(lse)));
  return row;
}

std::vector<WrongRow> LookAtRows(const Capture& capture, const AttentionStart& start,
                                 const std::vector<RowPlace>& places) {
  const std::vector<IntervalBlock> want = start.Intervals(places);
  std::vector<WrongRow> rows;
  for (size_t n = 0; n < places.size(); ++n) {
    rows.push_back(LookAt(capture, places[n], want[n]));
    if (rows.back().wrong == 0) rows.pop_back();  // in a freedom that sampled rows do not have
  }
  return rows;
}

std::string_view Bytes(const TensorView& o, int64_t b, int64_t i, int64_t h) {
  return {reinterpret_cast<const char*>(o.Row(b, i, h)),
          static_cast<size_t>(o.shape[3]) * DTypeBytes(o.dtype)};
}

bool Nearer(const RowPlace& to, const RowPlace& one, const RowPlace& other) {
  const auto distance = [&](const RowPlace& place) {
    return std::tuple{place.b != to.b, place.h != to.h, std::abs(place.i - to.i),
                      std::abs(place.h - to.h)};
  };
  return distance(one) < distance(other);
}

bool IsRight(const Capture& capture, const RowPlace& at, const IntervalBlock& want) {
  for (size_t d = 0; d < want.o.size(); ++d) {
    if (!Admits(want.o[d], capture.o.At(at.b, at.i, at.h, static_cast<int64_t>(d)))) return false;
  }
  return true;
}

// Of each row of o, the nearest ones that have the same bits and are not known to be wrong.
std::vector<std::vector<RowPlace>> Candidates(const TensorView& o,
                                              const std::vector<WrongRow>& rows,
                                              const std::vector<RowPlace>& all_wrong) {
  std::set<std::tuple<int64_t, int64_t, int64_t>> wrong;
  for (const RowPlace& row : all_wrong) wrong.insert({row.b, row.h, row.i});
  std::multimap<std::string_view, size_t> wanted;
  for (size_t n = 0; n < rows.size(); ++n) {
    const RowPlace& at = rows[n].at;
    if (!rows[n].all_zero) wanted.insert({Bytes(o, at.b, at.i, at.h), n});
  }
  std::vector<std::vector<RowPlace>> candidates(rows.size());
  const auto [B, S, H, D] = o.shape;
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t i = 0; i < S; ++i) {
      for (int64_t h = 0; h < H; ++h) {
        const auto [first, last] = wanted.equal_range(Bytes(o, b, i, h));
        if (first == last || wrong.count({b, h, i}) > 0) continue;
        for (auto it = first; it != last; ++it) {
          const RowPlace here = {b, h, i}, &to = rows[it->second].at;
          std::vector<RowPlace>& nearest = candidates[it->second];
          const auto nearer = [&](const RowPlace& x, const RowPlace& y) {
            return Nearer(to, x, y);
          };
          nearest.insert(std::upper_bound(nearest.begin(), nearest.end(), here, nearer), here);
          if (nearest.size() > kCandidates) nearest.pop_back();
        }
      }
    }
  }
  return candidates;
}

// Of each row of o, the nearest right one that has the same bits. What the verdict does not call
// wrong may not have been judged, and is here.
std::vector<std::optional<RowPlace>> Originals(const Capture& capture, const AttentionStart& start,
                                               const std::vector<WrongRow>& rows,
                                               const std::vector<RowPlace>& all_wrong) {
  const auto candidates = Candidates(capture.o, rows, all_wrong);
  std::vector<RowPlace> places;
  for (const auto& of_row : candidates) places.insert(places.end(), of_row.begin(), of_row.end());
  const std::vector<IntervalBlock> want = start.Intervals(places);
  std::vector<std::optional<RowPlace>> originals(rows.size());
  size_t at = 0;
  for (size_t n = 0; n < rows.size(); ++n) {
    for (const RowPlace& place : candidates[n]) {
      if (!originals[n] && IsRight(capture, place, want[at])) originals[n] = place;
      ++at;
    }
  }
  return originals;
}

// "token 512 of head 1 holds token 511's"
std::string InWords(const RowPlace& row, const RowPlace& original) {
  std::string whose;
  if (original.b != row.b) whose += fmt::format("batch {}, ", original.b);
  if (original.h != row.h) whose += fmt::format("head {}, ", original.h);
  if (original.i != row.i) whose += fmt::format("token {}, ", original.i);
  whose.resize(whose.size() - 2);
  return fmt::format("token {} of head {} holds that of {}", row.i, row.h, whose);
}

// Where the verdict has found the wrong elements of o, else where the first is.
std::string Where(const Verdict& verdict, const WrongRow& first) {
  for (const std::string& signature : verdict.signatures) {
    if (signature.starts_with("o: ")) return signature.substr(3);
  }
  return fmt::format("token {} of head {}, among others", first.at.i, first.at.h);
}

Finding Copied(const Capture& capture, const AttentionStart& start,
               const std::vector<WrongRow>& rows, const std::vector<RowPlace>& all_wrong,
               int64_t wrong) {
  Finding copied{"rows-copied", "", 0};
  if (!capture.o) return copied;
  const auto originals = Originals(capture, start, rows, all_wrong);
  int64_t held = 0, copies = 0;
  for (size_t n = 0; n < rows.size(); ++n) {
    if (!originals[n]) continue;
    held += rows[n].wrong - rows[n].wrong_lse;
    if (copies++ == 0) copied.where = InWords(rows[n].at, *originals[n]);
  }
  if (copies > 0 && all_wrong.size() > 1) {
    const bool first = originals.front() && rows.front().at == all_wrong.front();
    const char* which = first ? "the first one" : "one";
    copied.where = fmt::format("of {} wrong rows {}, {}", all_wrong.size(), which, copied.where);
  }
  copied.explains = static_cast<double>(held) / static_cast<double>(wrong);
  return copied;
}

}  // namespace

std::vector<Finding> PlaceFindings(const Capture& capture, const AttentionStart& start,
                                   const Verdict& verdict) {
  const std::vector<RowPlace> all_wrong = WrongRows(verdict);
  const std::vector<WrongRow> rows = LookAtRows(capture, start, Evenly(all_wrong, kWrongRows));
  int64_t wrong = 0, zero = 0, negated = 0;
  bool whole_rows = true;
  for (const WrongRow& row : rows) {
    wrong += row.wrong;
    zero += row.zero;
    negated += row.negated;
    whole_rows &= row.all_zero;
  }
  if (wrong == 0) return {};
  const auto share = [&](int64_t part) {
    return static_cast<double>(part) / static_cast<double>(wrong);
  };
  const std::string where = Where(verdict, rows.front());
  return {{"elements-unwritten", (whole_rows ? "whole rows, " : "") + where, share(zero)},
          {"sign-flipped", where, share(negated)},
          Copied(capture, start, rows, all_wrong, wrong)};
}

}  // namespace bitanchor::tools
