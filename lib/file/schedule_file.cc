#include "lib/file/schedule_file.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "lib/file/json_fields.h"
#include "lib/file/mapped_file.h"
#include "lib/file/printable.h"
#include "lib/file/strict_json.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

constexpr int64_t kTileStep = 16, kMostTile = 1024;

template <typename T, size_t N>
using Names = std::array<std::pair<T, std::string_view>, N>;

constexpr Names<TileOrder, 2> kOrders = {
    {{TileOrder::kLastFirst, "last-first"}, {TileOrder::kFirstFirst, "first-first"}}};
constexpr Names<ExpArgument, 3> kArguments = {{{ExpArgument::kFused, "fused"},
                                               {ExpArgument::kScaled, "scaled"},
                                               {ExpArgument::kShifted, "shifted"}}};
constexpr Names<RowSum, 2> kSums = {{{RowSum::kQuads, "quads"}, {RowSum::kAscending, "ascending"}}};
constexpr Names<Normalisation, 2> kNormalisations = {
    {{Normalisation::kReciprocal, "reciprocal"}, {Normalisation::kDivision, "division"}}};

template <typename T, size_t N>
std::string_view NameIn(const Names<T, N>& names, T value) {
  for (const auto& [one, name] : names) {
    if (one == value) return name;
  }
  return "";
}

template <typename T, size_t N>
void ReadName(const JsonFields& fields, std::string_view key, const Names<T, N>& names, T& value) {
  const auto got = fields.String(key);
  if (!got) return;
  std::string all;
  for (const auto& [one, name] : names) {
    if (name == *got) {
      value = one;
      return;
    }
    all += (all.empty() ? "" : ", ") + std::string(name);
  }
  throw InputError(std::string(key), Quoted(*got), "one of " + all);
}

std::string NameOf(const JsonFields& fields) {
  const std::string name = fields.String("name").value_or("");
  if (name.empty()) throw InputError("name", "none", "a name for the schedule");
  if (name.size() > 60 || Printable(name) != name) {
    throw InputError("name", Quoted(name), "at most 60 printable characters");
  }
  if (FindSchedule(name) != nullptr) {
    throw InputError("name", Quoted(name), "another than the program's own schedules have");
  }
  return name;
}

const Schedule& BaseOf(const JsonFields& fields) {
  const std::string base = fields.String("base").value_or("");
  if (const Schedule* const found = FindSchedule(base)) return *found;
  std::string all;
  for (const Schedule& schedule : Schedules()) {
    all += (all.empty() ? "" : ", ") + schedule.name;
  }
  throw InputError("base", base.empty() ? "none" : Quoted(base), "one of " + all);
}

std::optional<Tile> TileOf(const JsonFields& fields) {
  const auto sizes = fields.Integers("tile");
  if (!sizes) return std::nullopt;
  const bool fits = sizes->size() == 2 && std::all_of(sizes->begin(), sizes->end(), [](int64_t n) {
                      return n >= kTileStep && n <= kMostTile && n % kTileStep == 0;
                    });
  if (!fits) {
    std::string got;
    for (size_t n = 0; n < std::min<size_t>(sizes->size(), 4); ++n) {
      got += (n == 0 ? "" : ", ") + std::to_string((*sizes)[n]);
    }
    throw InputError("tile", "[" + got + (sizes->size() > 4 ? ", ...]" : "]"),
                     "[queries, keys], multiples of 16 up to 1024");
  }
  return Tile{(*sizes)[0], (*sizes)[1]};
}

}  // namespace

OwnedSchedule WithTile(const Schedule& like, const Tile& tile) {
  OwnedSchedule owned;
  owned.schedule = like;
  for (const HeadDimTiles& row : like.tiles) owned.tiles.push_back({row.head_dim, tile, tile});
  owned.schedule.tiles = owned.tiles;
  return owned;
}

OwnedSchedule ParseSchedule(std::string_view text, const std::string& document) {
  const nlohmann::json object = ParseStrictJson(text, document);
  if (!object.is_object()) throw InputError(document, Describe(object), "an object");
  const JsonFields fields(object, "",
                          {"name", "base", "unit", "tile", "order", "exp_argument", "row_sum",
                           "fused_row_sum", "normalisation", "says", "source"});
  Schedule schedule = BaseOf(fields);
  const std::string base = schedule.name;
  schedule.name = NameOf(fields);
  schedule.says = fields.String("says").value_or("as " + base + ", but for what the file says");
  schedule.source = fields.String("source").value_or(schedule.source);
  schedule.unit = fields.String("unit").value_or(schedule.unit);
  ReadName(fields, "order", kOrders, schedule.order);
  ReadName(fields, "exp_argument", kArguments, schedule.exp_argument);
  ReadName(fields, "row_sum", kSums, schedule.row_sum);
  ReadName(fields, "normalisation", kNormalisations, schedule.normalisation);
  schedule.fused_row_sum = fields.Bool("fused_row_sum").value_or(schedule.fused_row_sum);
  if (const auto tile = TileOf(fields)) return WithTile(schedule, *tile);
  OwnedSchedule owned;
  owned.schedule = schedule;
  return owned;
}

OwnedSchedule ReadSchedule(const std::string& path) {
  const MappedFile file = MappedFile::Open(path);
  const auto bytes = file.bytes();
  return ParseSchedule({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                       PrintablePath(path));
}

std::string_view Name(TileOrder order) { return NameIn(kOrders, order); }
std::string_view Name(ExpArgument argument) { return NameIn(kArguments, argument); }
std::string_view Name(RowSum sum) { return NameIn(kSums, sum); }
std::string_view Name(Normalisation normalisation) {
  return NameIn(kNormalisations, normalisation);
}

}  // namespace bitanchor
