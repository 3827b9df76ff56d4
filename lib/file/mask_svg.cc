#include "lib/file/mask_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace bitanchor {

int64_t PictureBlock(int64_t length, int64_t most_blocks) {
  int64_t block = 1;
  while (block * most_blocks < length) block *= 2;
  return block;
}

std::string BlockPath(const BlockMap& map, BlockKind kind) {
  fmt::memory_buffer path;
  for (int64_t y = 0; y < map.query_blocks; ++y) {
    for (int64_t x = 0; x < map.key_blocks;) {
      const int64_t begin = x;
      while (x < map.key_blocks && map.At(y, x) == kind) ++x;
      if (x > begin) {
        fmt::format_to(std::back_inserter(path), "M{} {}h{}v1h-{}z", begin, y, x - begin,
                       x - begin);
      } else {
        ++x;
      }
    }
  }
  return fmt::to_string(path);
}

std::string MaskSvg(const Mask& mask, int64_t b, int64_t block, bool standalone) {
  const BlockMap blocks = MapBlocks(mask, b, block, block);
  const int64_t height = blocks.query_blocks, width = blocks.key_blocks;
  const double pixels = 512.0 / static_cast<double>(std::max(height, width));
  const std::string file =
      standalone
          ? fmt::format(R"( xmlns="http://www.w3.org/2000/svg" width="{:.0f}" height="{:.0f}")",
                        pixels * static_cast<double>(width), pixels * static_cast<double>(height))
          : "";
  return fmt::format(R"(<svg{} viewBox="0 0 {} {}" role="img" shape-rendering="crispEdges">)"
                     R"(<title>Blocks of {} queries (down) by {} keys (across)</title>)"
                     R"(<rect class="mask-empty" width="{}" height="{}" fill="#f0f0ee"/>)"
                     R"(<path class="mask-full" fill="#3d4654" d="{}"/>)"
                     R"(<path class="mask-partial" fill="#9aa6b5" d="{}"/></svg>)",
                     file, width, height, block, block, width, height,
                     BlockPath(blocks, BlockKind::kFull), BlockPath(blocks, BlockKind::kPartial));
}

}  // namespace bitanchor
