#include "lib/file/document_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "lib/file/integers.h"
#include "lib/file/json_fields.h"
#include "lib/file/mapped_file.h"
#include "lib/file/npy.h"
#include "lib/file/printable.h"
#include "lib/file/safetensors.h"
#include "lib/file/strict_json.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

using nlohmann::json;

constexpr int64_t kMostTokens = std::numeric_limits<int32_t>::max();

void CheckIds(const std::vector<int64_t>& ids, const std::string& field) {
  const auto negative = std::ranges::find_if(ids, [](int64_t id) { return id < 0; });
  if (negative == ids.end()) return;
  throw InputError(field, fmt::format("{} at [{}]", *negative, negative - ids.begin()),
                   "token ids >= 0");
}

// ---- safetensors

std::vector<int64_t> OneAxis(const TensorEntry& entry) {
  if (entry.shape.size() != 1) {
    throw InputError(entry.name, fmt::format("{} axes", entry.shape.size()), "one");
  }
  return LoadIntegers(entry);
}

std::vector<int64_t> LengthsOf(const std::vector<int64_t>& cu_seqlens) {
  if (cu_seqlens.empty()) throw InputError("cu_seqlens", "no entry", "0 first");
  IdsFromCuSeqlens({cu_seqlens.front()}, 0);  // begins with 0
  std::vector<int64_t> lengths;
  for (size_t n = 1; n < cu_seqlens.size(); ++n) {
    if (cu_seqlens[n] < cu_seqlens[n - 1] || cu_seqlens[n] > kMostTokens) {
      throw InputError("cu_seqlens",
                       fmt::format("{} after {} at [{}]", cu_seqlens[n], cu_seqlens[n - 1], n),
                       "entries that never fall, up to 2^31 - 1");
    }
    lengths.push_back(cu_seqlens[n] - cu_seqlens[n - 1]);
  }
  return lengths;
}

DocumentList OfSafetensors(const SafetensorsFile& file, const std::string& name) {
  for (const TensorEntry& entry : file.entries()) {
    const bool known = entry.name == "lengths" || entry.name == "tokens" ||
                       entry.name == "input_ids" || entry.name == "cu_seqlens";
    if (known) continue;
    throw InputError(Printable(entry.name), "a tensor of this name",
                     "lengths, tokens or input_ids, cu_seqlens");
  }
  const TensorEntry* const lengths = file.Find("lengths");
  const TensorEntry* const cu_seqlens = file.Find("cu_seqlens");
  if ((lengths == nullptr) == (cu_seqlens == nullptr)) {
    throw InputError(name, lengths ? "lengths and cu_seqlens" : "neither lengths nor cu_seqlens",
                     "one of the two");
  }
  DocumentList list;
  list.lengths = lengths ? OneAxis(*lengths) : LengthsOf(OneAxis(*cu_seqlens));
  const TensorEntry* const tokens = file.Find("tokens");
  const TensorEntry* const input_ids = file.Find("input_ids");
  if (tokens && input_ids) throw InputError(name, "tokens and input_ids", "one of the two");
  if (tokens || input_ids) {
    list.has_tokens = true;
    list.tokens = OneAxis(tokens ? *tokens : *input_ids);
    CheckIds(list.tokens, tokens ? "tokens" : "input_ids");
  }
  return list;
}

// ---- JSON lines

struct Line {
  int64_t length = 0;
  std::optional<std::vector<int64_t>> tokens;
  std::string domain;
};

Line OfObject(const json& value) {
  const JsonFields fields(value, "document", {"length", "tokens", "input_ids", "domain"});
  Line line;
  line.tokens = fields.Integers("tokens");
  const bool two_names = line.tokens && fields.Find("input_ids") != nullptr;
  if (!line.tokens) line.tokens = fields.Integers("input_ids");
  const std::optional<int64_t> length = fields.Integer("length");
  if (two_names || length.has_value() == line.tokens.has_value()) {
    throw InputError("document", two_names || length ? "two of them" : "none of them",
                     "one of length, tokens and input_ids");
  }
  line.length = length ? *length : static_cast<int64_t>(line.tokens->size());
  line.domain = fields.String("domain").value_or("");
  return line;
}

Line ParseLine(std::string_view text) {
  const json value = ParseStrictJson(text, "document");
  if (value.is_object()) return OfObject(value);
  // An integer or an array, by the same rules as the fields.
  if (value.is_array()) return OfObject(json{{"tokens", value}});
  if (value.is_number_integer()) return OfObject(json{{"length", value}});
  throw InputError("document", Describe(value), "a length, an array of token ids or an object");
}

void AddLine(DocumentList& list, Line line, bool first) {
  if (line.length < 0) throw InputError("length", std::to_string(line.length), ">= 0");
  if (first) list.has_tokens = line.tokens.has_value();
  if (list.has_tokens != line.tokens.has_value()) {
    throw InputError("document", line.tokens ? "tokens" : "a length",
                     list.has_tokens ? "tokens, as the lines before" : "a length, as before");
  }
  list.lengths.push_back(line.length);
  if (line.tokens) {
    CheckIds(*line.tokens, "tokens");
    list.tokens.insert(list.tokens.end(), line.tokens->begin(), line.tokens->end());
  }
  list.domains.push_back(std::move(line.domain));
}

DocumentList OfJsonLines(std::string_view text, const std::string& name) {
  DocumentList list;
  for (size_t at = 0, n = 1; at < text.size(); ++n) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    if (line.ends_with('\r')) line.remove_suffix(1);
    try {
      AddLine(list, ParseLine(line), n == 1);
    } catch (const InputError& error) {
      throw error.In(fmt::format("{} line {}", name, n));
    }
    at = end + 1;
  }
  const bool any = std::ranges::any_of(list.domains, [](const auto& d) { return !d.empty(); });
  if (!any) list.domains.clear();
  return list;
}

std::string_view AsText(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

void CheckLengths(const std::vector<int64_t>& lengths, const std::string& field) {
  int64_t sum = 0;
  for (size_t n = 0; n < lengths.size(); ++n) {
    if (lengths[n] < 0) {
      throw InputError(field, fmt::format("{} at [{}]", lengths[n], n), "lengths >= 0");
    }
    if (lengths[n] > kMostTokens - sum) {
      throw InputError(field, fmt::format("more than 2^31 - 1 tokens by [{}]", n),
                       "at most 2^31 - 1");
    }
    sum += lengths[n];
  }
}

DocumentList ReadDocumentList(const std::string& path) {
  const MappedFile file = MappedFile::Open(path);
  return ParseDocumentList(file.bytes(), path);
}

DocumentList ParseDocumentList(std::span<const std::byte> bytes, const std::string& name) {
  const std::string shown = PrintablePath(name);
  DocumentList list;
  if (name.ends_with(".npy")) {
    try {
      list.lengths = ParseNpyIntegers(bytes, "npy");
    } catch (const InputError& error) {
      throw error.In(shown);
    }
  } else if (name.ends_with(".safetensors")) {
    list = OfSafetensors(SafetensorsFile::Parse(bytes, shown), shown);
  } else if (name.ends_with(".jsonl")) {
    list = OfJsonLines(AsText(bytes), shown);
  } else {
    throw InputError(shown, "another ending", ".npy, .safetensors or .jsonl");
  }
  CheckLengths(list.lengths, shown);
  int64_t sum = 0;
  for (const int64_t length : list.lengths) sum += length;
  if (list.has_tokens && sum != static_cast<int64_t>(list.tokens.size())) {
    throw InputError(shown, fmt::format("lengths of {} tokens in all", sum),
                     fmt::format("{}, as there are tokens", list.tokens.size()));
  }
  return list;
}

std::vector<SourceDocument> SourceDocuments(const DocumentList& list, int64_t bos) {
  std::vector<SourceDocument> documents;
  int64_t begin = 0;
  for (const int64_t length : list.lengths) {
    SourceDocument document{begin, length, 0, 0};
    if (bos >= 0 && length > 0) document.bos = !list.has_tokens || list.tokens[begin] == bos;
    documents.push_back(document);
    begin += length;
  }
  return documents;
}

}  // namespace bitanchor
