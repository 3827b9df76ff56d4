// Document layouts: from document lengths to ids, positions and cu_seqlens, for the ways in which
// AnchorAttention (arXiv 2411.13476) and its relatives pack documents into one sequence.
#ifndef BITANCHOR_LIB_PROBLEM_LAYOUT_H_
#define BITANCHOR_LIB_PROBLEM_LAYOUT_H_

#include <cstdint>
#include <vector>

#include "lib/problem/mask.h"

namespace bitanchor {

struct DocumentLayout {
  MaskRule rule = MaskRule::kDocument;  // the mask rule that gives this packing its meaning
  std::vector<int64_t> document_ids;    // [S]
  std::vector<int64_t> position_ids;    // [S]
  // Document starts and S, where the packing is block-diagonal and a varlen kernel can be given it;
  // empty where no cu_seqlens can express the mask (shared anchor, interleaved chunks).
  std::vector<int32_t> cu_seqlens;
};

// One shared anchor token, then the documents: S = 1 + sum of lengths, ids 0, 1..N, positions
// 0..S-1 never reset, rule anchor. AnchorContext's FlexAttention engine.
DocumentLayout SharedAnchor(const std::vector<int64_t>& lengths);

// Every document starts with its own copy of the anchor: S = sum of (1 + length), rule document,
// ids 0..N-1 (a copy belongs to its document), positions 0..S-1 except that each document's first
// index (the copy) is 0. AnchorContext's FlashAttention engine.
DocumentLayout AnchorCopies(const std::vector<int64_t>& lengths);

// Documents side by side, S = sum of lengths, ids 0..N-1, rule document; positions 0..S-1, or
// starting again at 0 in each document.
DocumentLayout IntraDocument(const std::vector<int64_t>& lengths, bool reset_positions);

// A piece of a document: tokens [begin, begin + length) of document `document` (0-based).
struct Chunk {
  int64_t document, begin, length;
};

// Chunks in the order given behind one shared anchor; the pieces of one document see each other
// wherever they lie (ids 0, 1 + document), rule anchor, positions 0..S-1. Every document's chunks
// must appear in ascending order and cover it once, else InputError: in a causal mask a later piece
// must not come first.
DocumentLayout InterleavedChunks(const std::vector<int64_t>& lengths,
                                 const std::vector<Chunk>& order);

// All throw InputError where a length is < 1 or there is no document.

// ids for a `thd` batch: a token in [cu[n], cu[n+1]) has id n. Throws InputError unless cu_seqlens
// starts at 0, never falls and ends at `tokens`. Empty sequences are allowed.
std::vector<int64_t> IdsFromCuSeqlens(const std::vector<int64_t>& cu_seqlens, int64_t tokens);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_PROBLEM_LAYOUT_H_
