// Documents as users have them: their lengths, or their token ids.
#ifndef BITANCHOR_LIB_FILE_DOCUMENT_LIST_H_
#define BITANCHOR_LIB_FILE_DOCUMENT_LIST_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lib/problem/packing.h"

namespace bitanchor {

struct DocumentList {
  std::vector<int64_t> lengths;  // of each document, >= 0
  std::vector<int64_t> tokens;   // of all, one after another; empty where only lengths are known
  bool has_tokens = false;
  std::vector<std::string> domains;  // of each document, "" where it has none; empty: none has one
};

// By the name's end:
//   .npy          integers of one axis: lengths
//   .safetensors  integers: `lengths` [N], or `tokens` (or `input_ids`) [T] with `cu_seqlens` [N+1]
//                 or `lengths` [N]; `cu_seqlens` alone gives lengths
//   .jsonl        a document a line: a length, an array of token ids, or an object with `length` or
//                 `tokens` (or `input_ids`) and, if it likes, `domain`, a string
// Throws InputError naming the file, the tensor or the line for everything else: negative lengths
// and ids, lengths that do not add up to the tokens, lines with and without tokens in one file,
// unknown names, more than 2^31 - 1 tokens.
DocumentList ReadDocumentList(const std::string& path);

// The same of bytes, `name` being the file's.
DocumentList ParseDocumentList(std::span<const std::byte> bytes, const std::string& name);

// Throws InputError naming `field` for a negative length and more than 2^31 - 1 tokens in all.
void CheckLengths(const std::vector<int64_t>& lengths, const std::string& field);

// The documents as Pack takes them, without tags. A document's first token is its BOS where it is
// `bos`; of documents whose tokens are not known, where `bos` >= 0: each then begins with it.
std::vector<SourceDocument> SourceDocuments(const DocumentList& list, int64_t bos);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_DOCUMENT_LIST_H_
