// The block map of a mask as a small SVG picture: queries down, keys across.
#ifndef BITANCHOR_LIB_FILE_MASK_SVG_H_
#define BITANCHOR_LIB_FILE_MASK_SVG_H_

#include <cstdint>
#include <string>

#include "lib/problem/block_map.h"
#include "lib/problem/mask.h"

namespace bitanchor {

// The least power of two, at least 1, of which at most `most_blocks` (>= 1) cover `length` tokens.
int64_t PictureBlock(int64_t length, int64_t most_blocks = 64);

// The blocks of one kind as the data of one <path>, in units of blocks: neighbours in a row are one
// rectangle.
std::string BlockPath(const BlockMap& map, BlockKind kind);

// One <svg> element without text, its viewBox in blocks of `block` queries by as many keys of
// batch b; the caller says which block that is. Full and partial blocks are two paths of the
// classes "mask-full" and "mask-partial" on a ground of class "mask-empty". They carry fills for
// where there is no style sheet; told apart by lightness alone. `standalone`: with what a file of
// its own needs, 512 pixels on the longer side; else as wide as the page makes it.
std::string MaskSvg(const Mask& mask, int64_t b, int64_t block, bool standalone = false);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_MASK_SVG_H_
