// What `bitanchor pack` was asked for.
#ifndef BITANCHOR_TOOLS_PACK_OPTIONS_H_
#define BITANCHOR_TOOLS_PACK_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/file/document_list.h"
#include "lib/file/packed_file.h"
#include "lib/problem/packing.h"

namespace bitanchor::tools {

struct PackCommand {
  std::string input, documents, out, json, py;
  std::string engine = "flex", attention = "anchor";
  std::vector<std::string> domain_tags;
  std::optional<int64_t> anchor_token, bos;
  int64_t pad_token = 0, sequence_length = 0, min_length = 1;
  int64_t block_q = 128, block_k = 128;
  uint64_t seed = 0;
  bool reset_positions = false, interleave = false, drop_last = false, compare = false;
  bool no_block_mask = false, quiet = false;

  void AddTo(CLI::App& command);
  PackingOptions Packing() const;
  // The BOS to strip: --bos, else the anchor where token ids are known; -1: none.
  int64_t Bos(bool has_tokens) const;
};

// The documents of a command and the tags that it gives them.
struct PackInput {
  DocumentList list;
  std::vector<SourceDocument> documents;
  std::map<std::string, std::vector<int64_t>> tags;  // by domain; "" is every other one
  int64_t inner_anchors = 0;                         // anchor token ids inside documents

  // The tag of each document; empty where there are none.
  std::vector<std::span<const int64_t>> TagOfEach() const;
};

// Throws InputError naming the file or the option.
PackInput ReadPackInput(const PackCommand& command);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_PACK_OPTIONS_H_
