#include "lib/problem/layout.h"

#include <limits>
#include <string>

#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

// cu_seqlens is int32 and positions end at 2^31 - 1, so a packed sequence may not be longer.
constexpr int64_t kMaxTokens = std::numeric_limits<int32_t>::max();

// The tokens of all documents, `extra_each` more for each and `extra` more once.
int64_t CheckedTokens(const std::vector<int64_t>& lengths, int64_t extra_each, int64_t extra) {
  if (lengths.empty()) throw InputError("documents", "no document", "at least one length");
  int64_t tokens = extra;
  for (size_t n = 0; n < lengths.size(); ++n) {
    if (lengths[n] < 1) {
      throw InputError(
          "documents",
          "length " + std::to_string(lengths[n]) + " for document " + std::to_string(n),
          "lengths >= 1");
    }
    if (lengths[n] > kMaxTokens - extra_each - tokens) {
      throw InputError(
          "documents",
          "lengths that sum past document " + std::to_string(n) + " to more than 2^31 - 1 tokens",
          "at most 2^31 - 1 tokens in all");
    }
    tokens += lengths[n] + extra_each;
  }
  return tokens;
}

DocumentLayout EmptyLayout(MaskRule rule, int64_t tokens) {
  DocumentLayout layout;
  layout.rule = rule;
  layout.document_ids.reserve(tokens);
  layout.position_ids.reserve(tokens);
  return layout;
}

void Append(DocumentLayout& layout, int64_t id, int64_t position) {
  layout.document_ids.push_back(id);
  layout.position_ids.push_back(position);
}

// The next token, at the position that is its index.
void Append(DocumentLayout& layout, int64_t id) {
  Append(layout, id, static_cast<int64_t>(layout.position_ids.size()));
}

void EndDocument(DocumentLayout& layout) {
  layout.cu_seqlens.push_back(static_cast<int32_t>(layout.document_ids.size()));
}

std::string Describe(const Chunk& chunk) {
  return "tokens [" + std::to_string(chunk.begin) + ", " + std::to_string(chunk.begin) + " + " +
         std::to_string(chunk.length) + ") of document " + std::to_string(chunk.document);
}

void CheckChunks(const std::vector<int64_t>& lengths, const std::vector<Chunk>& order) {
  std::vector<int64_t> next(lengths.size(), 0);  // of each document, the first token not yet placed
  for (const Chunk& chunk : order) {
    if (chunk.document < 0 || chunk.document >= static_cast<int64_t>(lengths.size())) {
      throw InputError("chunks", Describe(chunk),
                       "a document in 0.." + std::to_string(lengths.size() - 1));
    }
    int64_t& begin = next[chunk.document];
    if (chunk.begin != begin || chunk.length < 1 ||
        chunk.length > lengths[chunk.document] - begin) {
      throw InputError("chunks", Describe(chunk),
                       "a piece that begins at " + std::to_string(begin) + " and ends by " +
                           std::to_string(lengths[chunk.document]));
    }
    begin += chunk.length;
  }
  for (size_t n = 0; n < lengths.size(); ++n) {
    if (next[n] != lengths[n]) {
      throw InputError("chunks",
                       std::to_string(next[n]) + " tokens of document " + std::to_string(n),
                       "all " + std::to_string(lengths[n]));
    }
  }
}

}  // namespace

DocumentLayout SharedAnchor(const std::vector<int64_t>& lengths) {
  DocumentLayout layout = EmptyLayout(MaskRule::kAnchor, CheckedTokens(lengths, 0, 1));
  Append(layout, 0);
  for (size_t n = 0; n < lengths.size(); ++n) {
    for (int64_t t = 0; t < lengths[n]; ++t) Append(layout, static_cast<int64_t>(n) + 1);
  }
  return layout;
}

DocumentLayout AnchorCopies(const std::vector<int64_t>& lengths) {
  DocumentLayout layout = EmptyLayout(MaskRule::kDocument, CheckedTokens(lengths, 1, 0));
  layout.cu_seqlens = {0};
  for (size_t n = 0; n < lengths.size(); ++n) {
    const int64_t id = static_cast<int64_t>(n);
    Append(layout, id, 0);  // the copy; the tokens after it keep their index as their position
    for (int64_t t = 0; t < lengths[n]; ++t) Append(layout, id);
    EndDocument(layout);
  }
  return layout;
}

DocumentLayout IntraDocument(const std::vector<int64_t>& lengths, bool reset_positions) {
  DocumentLayout layout = EmptyLayout(MaskRule::kDocument, CheckedTokens(lengths, 0, 0));
  layout.cu_seqlens = {0};
  for (size_t n = 0; n < lengths.size(); ++n) {
    const int64_t id = static_cast<int64_t>(n);
    for (int64_t t = 0; t < lengths[n]; ++t) {
      reset_positions ? Append(layout, id, t) : Append(layout, id);
    }
    EndDocument(layout);
  }
  return layout;
}

DocumentLayout InterleavedChunks(const std::vector<int64_t>& lengths,
                                 const std::vector<Chunk>& order) {
  DocumentLayout layout = EmptyLayout(MaskRule::kAnchor, CheckedTokens(lengths, 0, 1));
  CheckChunks(lengths, order);
  Append(layout, 0);
  for (const Chunk& chunk : order) {
    for (int64_t t = 0; t < chunk.length; ++t) Append(layout, chunk.document + 1);
  }
  return layout;
}

std::vector<int64_t> IdsFromCuSeqlens(const std::vector<int64_t>& cu_seqlens, int64_t tokens) {
  const std::string name = "cu_seqlens";
  if (cu_seqlens.empty()) throw InputError(name, "no entry", "0 first and the token count last");
  if (cu_seqlens.front() != 0) {
    throw InputError(name, std::to_string(cu_seqlens.front()) + " first", "0 first");
  }
  for (size_t n = 1; n < cu_seqlens.size(); ++n) {
    if (cu_seqlens[n] < cu_seqlens[n - 1]) {
      throw InputError(name,
                       std::to_string(cu_seqlens[n]) + " after " +
                           std::to_string(cu_seqlens[n - 1]) + " at [" + std::to_string(n) + "]",
                       "entries that never fall");
    }
  }
  if (cu_seqlens.back() != tokens) {
    throw InputError(name, std::to_string(cu_seqlens.back()) + " last",
                     std::to_string(tokens) + " last, the number of tokens");
  }
  std::vector<int64_t> ids;
  ids.reserve(tokens);
  for (size_t n = 1; n < cu_seqlens.size(); ++n) {
    ids.insert(ids.end(), cu_seqlens[n] - cu_seqlens[n - 1], static_cast<int64_t>(n) - 1);
  }
  return ids;
}

}  // namespace bitanchor
