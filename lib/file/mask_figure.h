// A mask as a figure that explains itself, for a browser, a paper or an issue. MaskSvg
// (lib/file/mask_svg.h) is the bare block map.
#ifndef BITANCHOR_LIB_FILE_MASK_FIGURE_H_
#define BITANCHOR_LIB_FILE_MASK_FIGURE_H_

#include <cstdint>
#include <string>

#include "lib/problem/mask.h"

namespace bitanchor {

struct FigureOptions {
  int64_t b = 0;  // which batch
  int64_t block_q = 128, block_k = 128;
  std::string title;  // any bytes; empty: the mask in words
};

// One <svg> element, self-contained, for a file of its own or inside an HTML page (no ids, no style
// sheet, nothing fetched; `max-width: 100%; height: auto` fits it to its column): the blocks (full,
// partial, empty) with queries downwards and keys to the right, where documents begin, and a
// legend. Single pairs as well where neither side has more than 64 tokens. Where a side has more
// than 256 blocks, one square stands for several, and the legend says for how many. The same
// arguments give the same bytes. Costs what MapBlocks costs.
std::string MaskFigure(const Mask& mask, const FigureOptions& options);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_MASK_FIGURE_H_
