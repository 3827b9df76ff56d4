// A mask drawn in characters.
#ifndef BITANCHOR_TOOLS_MASK_TEXT_H_
#define BITANCHOR_TOOLS_MASK_TEXT_H_

#include <cstdint>
#include <string>

#include "lib/problem/block_map.h"
#include "lib/problem/mask.h"

namespace bitanchor::tools {

// Lines of a drawing at most 64 columns wide besides its labels, and a legend: queries downwards,
// keys to the right. Of at most 64 tokens a side it shows single pairs, of more the blocks of
// `map`, of more than 32 blocks a side squares of several. Unicode, or with `ascii` nothing beyond
// it.
std::string DrawMask(const Mask& mask, int64_t b, const BlockMap& map, int64_t block_q,
                     int64_t block_k, bool ascii);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_MASK_TEXT_H_
