// Schedules: in what order a GPU's kernel for attention does which operation, so that its answer
// follows bit by bit. A recipe (lib/recipe/attention_recipe.h) is our own; a schedule is another
// kernel's, on its own matrix unit. Data: what the fields mean is
// lib/replay/scheduled_attention.h's business and lib/NUMERICS.md's, section 9.
#ifndef BITANCHOR_LIB_RECIPE_SCHEDULE_H_
#define BITANCHOR_LIB_RECIPE_SCHEDULE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lib/tensor/dtype.h"

namespace bitanchor {

struct Tile {
  int64_t queries = 0, keys = 0;
  bool operator==(const Tile&) const = default;
};

enum class TileOrder { kLastFirst, kFirstFirst };

// How the weights of a row are added up (NUMERICS, section 9).
enum class RowSum {
  kQuads,      // four sums, over the keys 8 n + 2 t and 8 n + 2 t + 1 of a tile; at the end
               // (r0 + r2) + (r1 + r3)
  kAscending,  // one sum, key after key
};

// What the argument of exp2 is, s being a score and M the maximum so far.
enum class ExpArgument {
  kFused,    // RN(s c - RN(M c)), c = scale * log2(e)
  kScaled,   // RN(RN(s c) - RN(M c))
  kShifted,  // RN(RN(s - M) c)
};

// What the last division is.
enum class Normalisation {
  kReciprocal,  // o * rcp(l)
  kDivision,    // RN(o / l)
};

struct HeadDimTiles {
  int64_t head_dim;
  Tile causal, full;
};

struct Schedule {
  std::string name;  // "flash-attention-2/sm80"
  std::string unit;  // of lib/matrix_unit/model.h; the input is q's dtype
  std::span<const HeadDimTiles> tiles;
  TileOrder order = TileOrder::kLastFirst;
  ExpArgument exp_argument = ExpArgument::kFused;
  RowSum row_sum = RowSum::kQuads;
  // l of the tiles before is scaled within the first addition of a tile: fma(l, f, p), or apart.
  bool fused_row_sum = true;
  Normalisation normalisation = Normalisation::kReciprocal;
  std::string says, source;

  // The tile for a head dimension; nullopt: the kernel has none.
  std::optional<Tile> TileOf(int64_t head_dim, bool causal) const;
};

std::span<const Schedule> Schedules();
const Schedule* FindSchedule(std::string_view name);  // nullptr: no such schedule

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_RECIPE_SCHEDULE_H_
