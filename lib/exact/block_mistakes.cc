#include "lib/exact/block_mistakes.h"

#include <string>

namespace bitanchor::exact {

MistakenAttention WithBlock(const RightAttention& right, BlockMistake mistake, int64_t block_keys,
                            const KeyRange& keys, const TensorView& moved_k) {
  const std::string where =
      "keys " + std::to_string(keys.first) + ".." + std::to_string(keys.end - 1);
  const auto counted = [&](const char* id, int64_t times) {
    MistakenAttention kernel = Mistaken(right, id, where);
    kernel.times = [keys, times](const RowPlace&, int64_t j) { return keys.Holds(j) ? times : 1; };
    return kernel;
  };
  const auto moved = [&](const char* id, const std::string& of, bool moves_k, bool moves_v) {
    const bool before_rope = moves_k && moved_k;
    MistakenAttention kernel =
        Mistaken(right, id, of + where + (before_rope ? ", before RoPE" : ""));
    kernel.moved = keys;
    kernel.values_back = moves_v ? block_keys : 0;
    if (before_rope) {
      kernel.moved_k = moved_k;
    } else {
      kernel.keys_back = moves_k ? block_keys : 0;
    }
    return kernel;
  };
  switch (mistake) {
    case BlockMistake::kSkipped:
      return counted("block-skipped", 0);
    case BlockMistake::kRepeated:
      return counted("block-repeated", 2);
    case BlockMistake::kStaleValues:
      return moved("stale-tile", "V of ", false, true);
    case BlockMistake::kStaleKeys:
      return moved("stale-tile", "K of ", true, false);
    case BlockMistake::kWrongBlock:
      return moved("key-block-wrong", "", true, true);
  }
  return {};
}

std::vector<MistakenAttention> WithTileKeyDropped(const RightAttention& right, int64_t tile_keys) {
  const int64_t Skv = right->problem.shape.Skv;
  std::vector<MistakenAttention> all;
  if (Skv <= tile_keys) return all;
  const auto drop = [&](const std::string& where, const auto& dropped) {
    all.push_back(Mistaken(right, "tile-key-dropped",
                           where + " of every tile of " + std::to_string(tile_keys)));
    all.back().times = [dropped](const RowPlace&, int64_t j) { return dropped(j) ? 0 : 1; };
  };
  const auto is_last = [tile_keys](int64_t j) { return j % tile_keys == tile_keys - 1; };
  drop("the last", is_last);
  drop("the first", [tile_keys](int64_t j) { return j % tile_keys == 0; });
  if (Skv % tile_keys == 0) return all;
  drop("the last, a partial one's too,",
       [is_last, Skv](int64_t j) { return is_last(j) || j == Skv - 1; });
  return all;
}

}  // namespace bitanchor::exact
