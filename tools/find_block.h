// Which block of keys a kernel may have visited, loaded or weighed wrongly.
#ifndef BITANCHOR_TOOLS_FIND_BLOCK_H_
#define BITANCHOR_TOOLS_FIND_BLOCK_H_

#include <cstdint>
#include <vector>

#include "lib/exact/attention_mistakes.h"
#include "lib/tensor/tensor_view.h"

namespace bitanchor::tools {

// For each way of exact::kBlockMistakes, the block of `block_keys` keys with which it comes closest
// to the answers `o` at these rows; with moved_k, WithBlock's, for the ways that take it. Cost: a
// few passes over each row's keys, whatever the number of blocks.
std::vector<exact::MistakenAttention> LikeliestBlocks(const exact::RightAttention& right,
                                                      const TensorView& o,
                                                      const std::vector<exact::RowPlace>& rows,
                                                      int64_t block_keys,
                                                      const TensorView& moved_k = {});

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_FIND_BLOCK_H_
