// A user's own schedule: `run --recipe FILE.json`, `check --recipe FILE.json`.
#ifndef BITANCHOR_LIB_FILE_SCHEDULE_FILE_H_
#define BITANCHOR_LIB_FILE_SCHEDULE_FILE_H_

#include <string>
#include <string_view>
#include <vector>

#include "lib/recipe/schedule.h"

namespace bitanchor {

// A schedule with the memory of its tiles, unless those are the program's own. To be moved only.
struct OwnedSchedule {
  Schedule schedule;
  std::vector<HeadDimTiles> tiles;

  OwnedSchedule() = default;
  OwnedSchedule(OwnedSchedule&&) = default;
  OwnedSchedule& operator=(OwnedSchedule&&) = default;
};

// `like` with one tile for all head dimensions, causal or not.
OwnedSchedule WithTile(const Schedule& like, const Tile& tile);

// One strict JSON object. `name` is required, and no schedule of the program may have it; `base`,
// required, names one of those, from which all is taken that the object does not say:
//   {"name": "mine", "base": "flash-attention-2/sm80",
//    "unit": "hopper",                 a matrix unit's name, which is not looked up here
//    "tile": [128, 64],                queries, keys: multiples of 16 up to 1024, for every D
//    "order": "last-first",            or "first-first"
//    "exp_argument": "fused",          or "scaled", "shifted"
//    "row_sum": "quads",               or "ascending"
//    "fused_row_sum": true,
//    "normalisation": "reciprocal",    or "division"
//    "says": "...", "source": "..."}
//
// What they mean: lib/recipe/schedule.h. Throws InputError naming the key, or else `document`, for
// all that is not so.
OwnedSchedule ParseSchedule(std::string_view text, const std::string& document);

// Of a file; throws for one that cannot be read, too.
OwnedSchedule ReadSchedule(const std::string& path);

// As the JSON spells them.
std::string_view Name(TileOrder order);
std::string_view Name(ExpArgument argument);
std::string_view Name(RowSum sum);
std::string_view Name(Normalisation normalisation);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_SCHEDULE_FILE_H_
