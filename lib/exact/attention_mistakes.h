// The mistakes of lib/recipe/mistake.h that a forward pass can make after RoPE, as mistaken kernels
// of a given problem.
#ifndef BITANCHOR_LIB_EXACT_ATTENTION_MISTAKES_H_
#define BITANCHOR_LIB_EXACT_ATTENTION_MISTAKES_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/exact/block_mistakes.h"
#include "lib/exact/mistaken_attention.h"

namespace bitanchor::exact {

// The window is so many keys; nullopt: ignored.
MistakenAttention WithWindow(const RightAttention& right, std::optional<int64_t> window_keys);

// Where documents start: the first tokens of runs of one id, but neither token 0 nor what follows
// an anchor. Of batch b, in order.
std::vector<int64_t> DocumentStarts(const Mask& mask, int64_t b);

// Documents start `by` tokens late (early where it is negative, one token at most): all of them, or
// the one that starts at key `start` of batch b. nullopt: no start can move.
std::optional<MistakenAttention> WithStartsMoved(const RightAttention& right, int64_t by);
std::optional<MistakenAttention> WithStartMoved(const RightAttention& right, int64_t by, int64_t b,
                                                int64_t start);

// Every mistake that means something for this problem's mask, scale, heads and types, whether or
// not it changes an answer; several of one id where there is a choice. Blocks: that of kBlockKeys
// in the middle of the keys; tiles of as many. Of roundings: weights that are truncated, or rounded
// where `weights_stay_exact` (the contract lets them not be), and outputs that are truncated.
std::vector<MistakenAttention> AttentionMistakes(const RightAttention& right,
                                                 bool weights_stay_exact);

}  // namespace bitanchor::exact

#endif  // BITANCHOR_LIB_EXACT_ATTENTION_MISTAKES_H_
