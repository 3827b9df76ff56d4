#include "lib/problem/packing.h"

#include <algorithm>
#include <cassert>
#include <numeric>
#include <string>

#include "lib/problem/chunks.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 26;  // packed, some 40 bytes each

// A document without what is stripped of it.
struct Own {
  int64_t begin, length;
};

Own OwnTokens(const SourceDocument& document, bool anchor) {
  const int64_t bos = anchor ? document.bos : 0;
  return {document.begin + bos, document.length - bos};
}

// Puts documents into windows, one after another.
class Packer {
 public:
  Packer(Packing& packing, int64_t S) : packing_(packing), S_(S) {}

  void Add(int64_t document, const SourceDocument& source) {
    const Own own = OwnTokens(source, packing_.options.anchor);
    const int64_t overhead = Overhead(source);
    if (Anchor() + overhead >= S_) {
      throw InputError("--sequence-length", std::to_string(S_),
                       "at least " + std::to_string(Anchor() + overhead + 1) +
                           ", for an anchor, a tag and a token of the document");
    }
    for (int64_t at = 0; at < own.length;) {
      if (windows().empty() || used_ + overhead >= S_) OpenWindow();
      const int64_t length = std::min(own.length - at, S_ - used_ - overhead);
      windows().back().segments.push_back({document, own.begin + at, length, source.tag_length});
      used_ += overhead + length;
      at += length;
    }
  }

  void Close() {
    if (!windows().empty()) windows().back().padding = S_ - used_;
  }

  int64_t Overhead(const SourceDocument& source) const {
    return source.tag_length + (packing_.AnchorCopies() ? 1 : 0);
  }
  int64_t Anchor() const { return packing_.SharedAnchor() ? 1 : 0; }

 private:
  std::vector<PackedWindow>& windows() { return packing_.windows; }

  void OpenWindow() {
    Close();
    if (static_cast<int64_t>(windows().size() + 1) > kMostTokens / S_) {
      throw InputError("documents", "more than 2^26 tokens in all their windows", "at most 2^26");
    }
    windows().emplace_back();
    used_ = Anchor();
  }

  Packing& packing_;
  int64_t S_;
  int64_t used_ = 0;  // tokens of the last window
};

// Whether it is packed; counts it where not.
bool Keep(Packing& packing, const SourceDocument& document) {
  if (document.length - document.bos >= packing.options.min_length) return true;
  ++packing.short_documents;
  packing.short_tokens += document.length;
  return false;
}

void CheckOptions(std::span<const SourceDocument> documents, const PackingOptions& options) {
  if (options.interleave && options.engine == PackingEngine::kFlash) {
    throw InputError("--interleave", "--engine flash",
                     "--engine flex: no cu_seqlens expresses a document that lies in pieces");
  }
  if (options.min_length < 1) {
    throw InputError("--min-length", std::to_string(options.min_length), ">= 1");
  }
  if (options.sequence_length < 0 || options.sequence_length > kMostTokens) {
    throw InputError("--sequence-length", std::to_string(options.sequence_length), "1..2^26");
  }
  for (const SourceDocument& document : documents) {
    assert(document.bos == 0 || (document.bos == 1 && document.length >= 1));
    if (!options.anchor && document.tag_length > 0) {
      throw InputError("--domain-tag", "intra-document attention", "an anchor, which it follows");
    }
  }
}

// The window that holds everything.
int64_t WholeLength(std::span<const SourceDocument> documents, const Packer& packer,
                    const PackingOptions& options) {
  int64_t S = packer.Anchor();
  for (const SourceDocument& document : documents) {
    if (document.length - document.bos < options.min_length) continue;
    const int64_t tokens = packer.Overhead(document) + OwnTokens(document, options.anchor).length;
    if (tokens > kMostTokens - S) {
      throw InputError("documents", "more than 2^26 tokens in all", "at most 2^26");
    }
    S += tokens;
  }
  return S;
}

void DropLast(Packing& packing) {
  if (!packing.options.drop_last || packing.windows.empty()) return;
  if (packing.windows.back().padding == 0) return;
  for (const Segment& segment : packing.windows.back().segments) {
    packing.last_tokens += segment.length;
  }
  packing.windows.pop_back();
}

// Documents come in order, so the segments of one are neighbours.
void CountDocuments(Packing& packing) {
  int64_t document = -1, segments = 0;
  for (const PackedWindow& window : packing.windows) {
    for (const Segment& segment : window.segments) {
      segments = segment.document == document ? segments + 1 : 1;
      document = segment.document;
      if (segments == 1) ++packing.documents;
      if (segments == 2) ++packing.cut_documents;
    }
  }
}

// The tag goes with the first chunk.
void Interleave(PackedWindow& window, uint64_t seed, int64_t w) {
  std::vector<int64_t> lengths;
  std::vector<std::vector<int64_t>> cuts;
  for (const Segment& segment : window.segments) {
    const int64_t n = static_cast<int64_t>(lengths.size());
    cuts.push_back(DrawCuts(segment.length, seed, w, n));
    for (int64_t& cut : cuts.back()) cut += segment.tag_length;
    lengths.push_back(segment.tag_length + segment.length);
  }
  window.chunks = InterleavedOrder(lengths, cuts, seed, w);
}

// Each document's tokens are counted from its first one, wherever they lie.
void ResetPositions(const Packing& packing, DocumentLayout& layout) {
  std::vector<int64_t> next;  // of each id
  for (size_t s = 0; s < layout.document_ids.size(); ++s) {
    const size_t id = static_cast<size_t>(layout.document_ids[s]);
    if (id >= next.size()) next.resize(id + 1, packing.SharedAnchor() ? 1 : 0);
    const bool anchor = packing.SharedAnchor() && id == 0;
    layout.position_ids[s] = anchor ? 0 : next[id]++;
  }
}

void Pad(const Packing& packing, int64_t padding, int64_t id, WindowTokens& tokens) {
  if (padding == 0) return;
  DocumentLayout& layout = tokens.layout;
  for (int64_t n = 0; n < padding; ++n) {
    const bool starts = n == 0 && packing.AnchorCopies();  // as each document there
    layout.position_ids.push_back(starts ? 0 : static_cast<int64_t>(layout.position_ids.size()));
    layout.document_ids.push_back(id);
    tokens.source.push_back(kFromPadding);
  }
  if (!layout.cu_seqlens.empty()) layout.cu_seqlens.push_back(static_cast<int32_t>(packing.S));
}

// Interleaved without an anchor: InterleavedChunks, the anchor taken away again.
DocumentLayout InterleavedDocuments(const std::vector<int64_t>& lengths,
                                    const std::vector<Chunk>& chunks) {
  DocumentLayout layout = InterleavedChunks(lengths, chunks);
  layout.rule = MaskRule::kDocument;
  layout.document_ids.erase(layout.document_ids.begin());
  for (int64_t& id : layout.document_ids) --id;
  layout.position_ids.pop_back();
  return layout;
}

DocumentLayout LayoutOf(const Packing& packing, const PackedWindow& window,
                        const std::vector<int64_t>& lengths) {
  if (packing.options.interleave) {
    return packing.options.anchor ? InterleavedChunks(lengths, window.chunks)
                                  : InterleavedDocuments(lengths, window.chunks);
  }
  if (packing.SharedAnchor()) return SharedAnchor(lengths);
  if (packing.AnchorCopies()) return AnchorCopies(lengths);
  return IntraDocument(lengths, false);
}

}  // namespace

std::string_view Name(PackingEngine engine) {
  return engine == PackingEngine::kFlex ? "flex" : "flash";
}

Packing Pack(std::span<const SourceDocument> documents, const PackingOptions& options) {
  CheckOptions(documents, options);
  Packing packing;
  packing.options = options;
  packing.S = options.sequence_length;
  if (packing.S == 0) packing.S = WholeLength(documents, Packer(packing, 0), options);
  Packer packer(packing, packing.S);
  for (size_t n = 0; n < documents.size(); ++n) {
    if (!Keep(packing, documents[n])) continue;
    packer.Add(static_cast<int64_t>(n), documents[n]);
    if (options.anchor) packing.stripped_bos += documents[n].bos;
  }
  packer.Close();
  if (packing.windows.empty()) {
    throw InputError("documents",
                     "none of at least " + std::to_string(options.min_length) + " tokens",
                     "at least one");
  }
  DropLast(packing);
  if (packing.windows.empty()) {
    throw InputError("documents", "no full window", "one, or the last window kept");
  }
  CountDocuments(packing);
  if (options.interleave) {
    for (size_t w = 0; w < packing.windows.size(); ++w) {
      Interleave(packing.windows[w], options.seed, static_cast<int64_t>(w));
    }
  }
  return packing;
}

WindowTokens TokensOf(const Packing& packing, int64_t w) {
  const PackedWindow& window = packing.windows[w];
  std::vector<int64_t> lengths;
  std::vector<Chunk> chunks;
  for (const Segment& segment : window.segments) {
    chunks.push_back(
        {static_cast<int64_t>(lengths.size()), 0, segment.tag_length + segment.length});
    lengths.push_back(segment.tag_length + segment.length);
  }
  if (packing.options.interleave) chunks = window.chunks;
  WindowTokens tokens{LayoutOf(packing, window, lengths), {}};
  tokens.source.reserve(packing.S);
  if (packing.SharedAnchor()) tokens.source.push_back(kFromAnchor);
  for (const Chunk& chunk : chunks) {
    const Segment& segment = window.segments[chunk.document];
    if (packing.AnchorCopies()) tokens.source.push_back(kFromAnchor);
    for (int64_t t = chunk.begin; t < chunk.begin + chunk.length; ++t) {
      const int64_t own = t - segment.tag_length;
      tokens.source.push_back(own < 0 ? kFromTag - t : segment.begin + own);
    }
  }
  const int64_t segments = static_cast<int64_t>(window.segments.size());
  Pad(packing, window.padding, segments + (packing.SharedAnchor() ? 1 : 0), tokens);
  if (packing.options.reset_positions) ResetPositions(packing, tokens.layout);
  assert(static_cast<int64_t>(tokens.source.size()) == packing.S);
  assert(tokens.source.size() == tokens.layout.document_ids.size());
  return tokens;
}

Mask MaskOf(const Packing& packing, const WindowTokens& tokens) {
  const std::vector<int64_t>& ids = tokens.layout.document_ids;
  return {packing.MaskRules(), 1, packing.S, packing.S, ids, ids};
}

}  // namespace bitanchor
