// A packing as a file, for FlexAttention, flash-attn and captures.
//
// Tensors, B windows of S tokens:
//   document_ids, position_ids  I64 [B, S]   as a capture has them (lib/file/capture.h)
//   source_index                I64 [B, S]   where the token stood in the input, its documents end to
//                                            end; -1 an anchor, -2 padding, -3 - t a tag's token t
//   tokens                      I64 [B, S]   where the input's are known
//   cu_seqlens                  I32 [n + 1]  of all windows end to end, B S tokens, as flash-attn's
//                                            varlen takes them; where the packing has them
//   kv_num_blocks, ...          I32          of FlexAttention's BlockMask (flex_attention.h)
// Metadata: "bitanchor", a capture's, which says the mask's rule; "packing", JSON: the engine and
// the options; with a BlockMask also its "BLOCK_SIZE", "seq_lengths" and "mask"; with cu_seqlens
// "max_seqlen".
#ifndef BITANCHOR_LIB_FILE_PACKED_FILE_H_
#define BITANCHOR_LIB_FILE_PACKED_FILE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/file/flex_attention.h"
#include "lib/file/safetensors.h"
#include "lib/problem/packing.h"

namespace bitanchor {

struct PackedTensors {
  int64_t B = 0, S = 0;
  std::vector<int64_t> document_ids, position_ids, source_index;  // [B, S]
  std::vector<int32_t> cu_seqlens;                                // of B S tokens; may be empty
};

PackedTensors TensorsOf(const Packing& packing);

// The mask of all windows, B of them.
Mask MaskOf(const Packing& packing, const PackedTensors& tensors);

// What stands in place of a token that is none of the input's.
struct SpecialTokens {
  int64_t anchor = 0, padding = 0;
  std::vector<std::span<const int64_t>> tags;  // of each document; empty where no document has one
};

// [B, S]: `input` where it comes from there.
std::vector<int64_t> TokenIds(const Packing& packing, const PackedTensors& tensors,
                              std::span<const int64_t> input, const SpecialTokens& special);

// token_ids may be empty, blocks absent. Throws InputError where path cannot be written.
void WritePacked(const std::string& path, const Packing& packing, const PackedTensors& tensors,
                 const std::vector<int64_t>& token_ids, const std::optional<FlexBlockMask>& blocks);

// Whether a file is one that WritePacked wrote, rather than a capture.
bool IsPacked(const SafetensorsFile& file);

// The mask of such a file. Throws InputError naming the tensor or field that does not fit.
Mask ReadPackedMask(const SafetensorsFile& file);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_PACKED_FILE_H_
