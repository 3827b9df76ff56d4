// Packing as training data meets it: a stream of documents cut into windows of S tokens, by the
// rules of AnchorAttention's two engines (arXiv 2411.13476) and of its variants. What one window
// then looks like is lib/problem/layout.h's matter.
//
// Nothing is lost silently. Documents keep their order. One that does not fit into what is left of
// a window is cut, and goes on in the next window as a segment of its own: with its own id, tag and
// copy of the anchor, and no sight of its first part. Every segment holds at least one token of its
// document; where there is no room for that the window ends in padding. What is dropped is counted.
#ifndef BITANCHOR_LIB_PROBLEM_PACKING_H_
#define BITANCHOR_LIB_PROBLEM_PACKING_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "lib/problem/layout.h"
#include "lib/problem/mask.h"

namespace bitanchor {

// Of AnchorAttention. kFlex: one anchor, shared by the documents of a window (FlexAttention).
// kFlash: a copy of it before each document (flash-attn's varlen). Without an anchor they are one.
enum class PackingEngine { kFlex, kFlash };

std::string_view Name(PackingEngine engine);  // "flex", "flash"

struct PackingOptions {
  PackingEngine engine = PackingEngine::kFlex;
  bool anchor = true;            // AnchorAttention; false: intra-document attention
  bool reset_positions = false;  // they start again in each segment; behind a shared anchor at 1
  bool interleave = false;       // segments split and their chunks shuffled (lib/problem/chunks.h)
  uint64_t seed = 0;             // of interleave
  int64_t sequence_length = 0;   // S, the anchor counted; 0: one window that holds everything
  int64_t min_length = 1;        // documents of fewer tokens, their BOS not counted, are dropped
  bool drop_last = false;        // a last window that is not full
};

// A document as it lies in the input: tokens [begin, begin + length), the first `bos` of which (0
// or 1) are its BOS. With an anchor the BOS is stripped, as the anchor stands for it.
struct SourceDocument {
  int64_t begin = 0, length = 0, bos = 0;
  int64_t tag_length = 0;  // tokens of a domain tag put before each of its segments
};

// The part of a document that lies in one window: input tokens [begin, begin + length).
struct Segment {
  int64_t document = 0;  // index of the SourceDocument
  int64_t begin = 0, length = 0;
  int64_t tag_length = 0;
};

struct PackedWindow {
  std::vector<Segment> segments;
  std::vector<Chunk> chunks;  // with interleave, in order; tokens of segments, tags counted
  int64_t padding = 0;        // tokens at the end
};

struct Packing {
  PackingOptions options;
  int64_t S = 0;  // tokens of every window
  std::vector<PackedWindow> windows;
  int64_t documents = 0;        // of which something was packed
  int64_t cut_documents = 0;    // in more than one segment
  int64_t stripped_bos = 0;     // tokens
  int64_t short_documents = 0;  // dropped for their length ...
  int64_t short_tokens = 0;     // ... with so many tokens, BOS counted
  int64_t last_tokens = 0;      // dropped with the last window

  bool SharedAnchor() const { return options.anchor && options.engine == PackingEngine::kFlex; }
  bool AnchorCopies() const { return options.anchor && options.engine == PackingEngine::kFlash; }
  MaskSpec MaskRules() const { return {SharedAnchor() ? MaskRule::kAnchor : MaskRule::kDocument}; }
};

// Throws InputError: no document or window is left, S has no room for an anchor, a tag and a token,
// there are more than 2^26 tokens in all, flash is to interleave, a tag has no anchor to follow.
Packing Pack(std::span<const SourceDocument> documents, const PackingOptions& options);

// Where a token of a window comes from: its index in the input, or one of these.
inline constexpr int64_t kFromAnchor = -1, kFromPadding = -2;
inline constexpr int64_t kFromTag = -3;  // token t of its document's tag: kFromTag - t

struct WindowTokens {
  // ids: shared anchor 0 and segments 1..N; else segments 0..N-1. Padding is one document more, so
  // that nothing sees it and no row is empty. Chunks have no cu_seqlens; with a shared anchor there
  // are none either.
  DocumentLayout layout;
  std::vector<int64_t> source;  // [S]
};

WindowTokens TokensOf(const Packing& packing, int64_t window);

// The mask of one window, B = 1.
Mask MaskOf(const Packing& packing, const WindowTokens& tokens);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_PROBLEM_PACKING_H_
