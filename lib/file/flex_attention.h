// A mask as PyTorch's FlexAttention takes it.
#ifndef BITANCHOR_LIB_FILE_FLEX_ATTENTION_H_
#define BITANCHOR_LIB_FILE_FLEX_ATTENTION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "lib/file/safetensors.h"
#include "lib/problem/mask.h"

namespace bitanchor {

// One of the four lists of blocks of a torch.nn.attention.flex_attention.BlockMask, for every batch
// and for all heads at once (their axis has length 1).
struct FlexBlockList {
  std::vector<int32_t> num_blocks;  // [B, 1, rows]: how many of each row's indices count
  std::vector<int32_t> indices;     // [B, 1, rows, columns]: those, ascending; then the others
};

// The tensors of a BlockMask. `partial` blocks are those to which mask_mod is applied: a block that
// the end of the queries or of the keys cuts off is one of them even where it is full (PyTorch pads
// the mask). Lists of keys run along a row of query blocks, lists of queries down a column.
struct FlexBlockMask {
  int64_t B = 0, Sq = 0, Skv = 0, block_q = 0, block_k = 0;
  int64_t query_blocks = 0, key_blocks = 0;
  FlexBlockList kv, full_kv;  // rows: query blocks
  FlexBlockList q, full_q;    // rows: key blocks
};

// Bit for bit what create_block_mask(mask_mod, B, 1, Sq, Skv, BLOCK_SIZE=(block_q, block_k)) gives
// in PyTorch 2.13. Takes 16 bytes a block of every batch. Throws InputError where there are more
// than 2^26 of them or a length is above 2^31 - 1.
FlexBlockMask MakeFlexBlockMask(const Mask& mask, int64_t block_q, int64_t block_k);

// Its parts: the tensors, which borrow the memory of `blocks`, and the metadata.
std::vector<OutTensor> BlockMaskTensors(const FlexBlockMask& blocks);
StringMap BlockMaskMetadata(const FlexBlockMask& blocks, const Mask& mask);

// As a safetensors file: I32 tensors by the names that BlockMask has for them (kv_num_blocks,
// kv_indices, full_kv_num_blocks, ..., full_q_indices); metadata "BLOCK_SIZE" and "seq_lengths",
// each a JSON array of two numbers, queries first; and "mask", in words. Throws InputError where
// path cannot be written.
void WriteFlexBlockMask(const std::string& path, const FlexBlockMask& blocks, const Mask& mask);

// Python source of the mask as a mask_mod of every batch: a module that defines
// make_mask_mod(device), which needs torch alone.
std::string FlexMaskMod(const Mask& mask);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_FLEX_ATTENTION_H_
