#include "tools/pack_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "lib/file/printable.h"
#include "lib/tensor/error.h"
#include "tools/problem_options.h"

namespace bitanchor::tools {
namespace {

// Token ids, which unlike Numbers begin at 0.
std::vector<int64_t> TokenIdsOf(const std::string& text) {
  std::vector<int64_t> ids;
  const char *at = text.data(), *const end = at + text.size();
  while (true) {
    int64_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || id < 0 || (next != end && *next != ',')) {
      throw InputError("--domain-tag", Quoted(text), "token ids, separated by commas");
    }
    ids.push_back(id);
    if (next == end) return ids;
    at = next + 1;
  }
}

std::map<std::string, std::vector<int64_t>> TagsOf(const PackCommand& command) {
  std::map<std::string, std::vector<int64_t>> tags;
  for (const std::string& text : command.domain_tags) {
    const size_t equals = text.rfind('=');
    const std::string domain = equals == text.npos ? "" : text.substr(0, equals);
    const std::string ids = equals == text.npos ? text : text.substr(equals + 1);
    if (!tags.emplace(domain, TokenIdsOf(ids)).second) {
      throw InputError("--domain-tag", "two for " + (domain.empty() ? "all" : Quoted(domain)),
                       "one for each domain");
    }
  }
  return tags;
}

// nullptr: none, as there are no tags at all.
const std::vector<int64_t>* TagOf(const PackInput& input, size_t document) {
  if (input.tags.empty()) return nullptr;
  const std::string domain = input.list.domains.empty() ? "" : input.list.domains[document];
  auto tag = input.tags.find(domain);
  if (tag == input.tags.end()) tag = input.tags.find("");
  if (tag == input.tags.end()) {
    throw InputError("--domain-tag",
                     fmt::format("none for document {}, domain {}", document, Quoted(domain)),
                     "one for it, or one for all");
  }
  return &tag->second;
}

int64_t CountInner(const PackInput& input, int64_t anchor) {
  int64_t count = 0;
  for (const SourceDocument& document : input.documents) {
    const auto begin = input.list.tokens.begin() + document.begin;
    count += std::count(begin + document.bos, begin + document.length, anchor);
  }
  return count;
}

}  // namespace

void PackCommand::AddTo(CLI::App& command) {
  command.add_option("input", input,
                     "Documents: .npy (lengths), .safetensors (lengths, or tokens and cu_seqlens) "
                     "or .jsonl (a line each: a length, token ids, or an object with length or "
                     "tokens and perhaps domain)");
  command.add_option("--documents,--lengths", documents, "Document lengths, instead of a file");
  command.add_option("-o,--output", out,
                     "Write document_ids, position_ids, source_index, tokens, cu_seqlens and "
                     "BlockMask tensors to this safetensors file");
  command
      .add_option("--engine", engine,
                  "flex: one anchor for all documents of a window, their BOS stripped; flash: a "
                  "copy of it before each, for varlen kernels")
      ->check(CLI::IsMember({"flex", "flash"}))
      ->capture_default_str();
  command
      .add_option("--attention", attention,
                  "anchor, or intra-document: no anchor, documents as they are")
      ->check(CLI::IsMember({"anchor", "intra-document"}))
      ->capture_default_str();
  command
      .add_option("-S,--sequence-length", sequence_length,
                  "Tokens of a window, anchor included (default: one window for all)")
      ->check(CLI::PositiveNumber);
  command.add_flag("--reset-positions", reset_positions,
                   "Positions start again in each document, behind an anchor at 1: then both "
                   "engines give the same attention");
  command.add_flag("--interleave", interleave,
                   "Split documents of 64 to 2048 tokens into 2 or 3 chunks and mix them (flex)");
  command.add_option("--seed", seed, "Of --interleave, 64 bits")
      ->check(WholeUpTo(UINT64_MAX))
      ->capture_default_str();
  command
      .add_option("--domain-tag", domain_tags,
                  "Token ids put after the anchor, before each document: 5,6 for all, or "
                  "NAME=5,6 for a domain; may be repeated")
      ->expected(1)
      ->take_all();
  command
      .add_option("--anchor-token", anchor_token,
                  "The anchor's token id: BOS, or EOS for models that have no BOS")
      ->check(WholeUpTo(INT64_MAX));
  command
      .add_option("--bos", bos,
                  "Token id that is stripped where a document begins with it; of documents "
                  "given by length, each does (default: the anchor's, where token ids are known)")
      ->check(WholeUpTo(INT64_MAX));
  command.add_option("--pad-token", pad_token, "Token id of padding")
      ->check(WholeUpTo(INT64_MAX))
      ->capture_default_str();
  command
      .add_option("--min-length", min_length,
                  "Drop documents of fewer tokens, BOS not counted; says how many")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_flag("--drop-last", drop_last, "Drop a last window that is not full; says so");
  command.add_flag("--compare", compare, "Show the other packings of the same documents as well");
  command.add_option("--block-q", block_q, "Queries of a block")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--block-k", block_k, "Keys of a block")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_flag("--no-block-mask", no_block_mask, "Leave the BlockMask tensors out");
  command.add_option("--py", py,
                     "Write FlexAttention's mask_mod as Python (-: to stdout, instead of the "
                     "text)");
  command.add_option("--json", json,
                     "Write the numbers to this file (-: to stdout, instead of the text)");
  command.add_flag("--quiet", quiet, "Print nothing");
}

PackingOptions PackCommand::Packing() const {
  PackingOptions options;
  options.engine = engine == "flash" ? PackingEngine::kFlash : PackingEngine::kFlex;
  options.anchor = attention == "anchor";
  options.reset_positions = reset_positions;
  options.interleave = interleave;
  options.seed = seed;
  options.sequence_length = sequence_length;
  options.min_length = min_length;
  options.drop_last = drop_last;
  return options;
}

int64_t PackCommand::Bos(bool has_tokens) const {
  if (bos) return *bos;
  return has_tokens && anchor_token ? *anchor_token : -1;
}

std::vector<std::span<const int64_t>> PackInput::TagOfEach() const {
  std::vector<std::span<const int64_t>> of_each;
  if (tags.empty()) return of_each;
  for (size_t n = 0; n < documents.size(); ++n) of_each.emplace_back(*TagOf(*this, n));
  return of_each;
}

PackInput ReadPackInput(const PackCommand& command) {
  if (command.input.empty() == command.documents.empty()) {
    throw InputError(
        "pack", command.input.empty() ? "neither a file nor --documents" : "a file and --documents",
        "one of the two");
  }
  PackInput input;
  if (command.input.empty()) {
    input.list.lengths = Numbers("--documents", command.documents);
    CheckLengths(input.list.lengths, "--documents");
  } else {
    input.list = ReadDocumentList(command.input);
  }
  const bool has_tokens = input.list.has_tokens;
  if (has_tokens && command.attention == "anchor" && !command.anchor_token) {
    throw InputError("--anchor-token", "none",
                     "the anchor's token id: BOS, or EOS for models that have no BOS");
  }
  input.documents = SourceDocuments(input.list, command.Bos(has_tokens));
  input.tags = TagsOf(command);
  for (size_t n = 0; n < input.documents.size(); ++n) {
    const std::vector<int64_t>* const tag = TagOf(input, n);
    if (tag) input.documents[n].tag_length = static_cast<int64_t>(tag->size());
  }
  if (has_tokens && command.anchor_token) {
    input.inner_anchors = CountInner(input, *command.anchor_token);
  }
  return input;
}

}  // namespace bitanchor::tools
