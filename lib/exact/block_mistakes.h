// The mistakes of lib/recipe/mistake.h that a kernel makes with its blocks, or tiles, of keys.
#ifndef BITANCHOR_LIB_EXACT_BLOCK_MISTAKES_H_
#define BITANCHOR_LIB_EXACT_BLOCK_MISTAKES_H_

#include <cstdint>
#include <vector>

#include "lib/exact/mistaken_attention.h"

namespace bitanchor::exact {

// Keys in tiles of so many, which kernels visit, skip or load wrongly.
inline constexpr int64_t kBlockKeys = 64;
enum class BlockMistake { kSkipped, kRepeated, kStaleValues, kStaleKeys, kWrongBlock };
inline constexpr BlockMistake kBlockMistakes[] = {
    BlockMistake::kSkipped, BlockMistake::kRepeated, BlockMistake::kStaleValues,
    BlockMistake::kStaleKeys, BlockMistake::kWrongBlock};

// `keys`: the block, of whose length the blocks before it are. moved_k [B, Skv, Hkv, D]: at each
// key the one of the block before, rotated as this one is, where the kernel takes it before RoPE;
// empty: it takes it after.
MistakenAttention WithBlock(const RightAttention& right, BlockMistake mistake, int64_t block_keys,
                            const KeyRange& keys, const TensorView& moved_k = {});

// One key of every tile of so many is left out: the first, or the last, of full tiles alone or of a
// partial one, too. Empty where no tile ends, and what another of them is.
std::vector<MistakenAttention> WithTileKeyDropped(const RightAttention& right, int64_t tile_keys);

}  // namespace bitanchor::exact

#endif  // BITANCHOR_LIB_EXACT_BLOCK_MISTAKES_H_
