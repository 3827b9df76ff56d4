#include "lib/file/packed_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lib/file/capture_metadata.h"
#include "lib/file/capture_tensors.h"
#include "lib/file/capture_writer.h"
#include "lib/file/integers.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kPackingKey[] = "packing";

Json PackingJson(const Packing& packing) {
  const PackingOptions& options = packing.options;
  Json json = {{"engine", Name(options.engine)},
               {"attention", options.anchor ? "anchor" : "intra-document"},
               {"reset_positions", options.reset_positions},
               {"interleave", options.interleave},
               {"sequence_length", packing.S},
               {"min_length", options.min_length},
               {"drop_last", options.drop_last}};
  if (options.interleave) json["seed"] = options.seed;
  return json;
}

int64_t LongestOf(const std::vector<int32_t>& cu_seqlens) {
  int32_t longest = 0;
  for (size_t n = 1; n < cu_seqlens.size(); ++n) {
    longest = std::max(longest, cu_seqlens[n] - cu_seqlens[n - 1]);
  }
  return longest;
}

}  // namespace

PackedTensors TensorsOf(const Packing& packing) {
  PackedTensors all;
  all.B = static_cast<int64_t>(packing.windows.size());
  all.S = packing.S;
  const auto append = [](std::vector<int64_t>& to, const std::vector<int64_t>& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  for (int64_t w = 0; w < all.B; ++w) {
    const WindowTokens window = TokensOf(packing, w);
    append(all.document_ids, window.layout.document_ids);
    append(all.position_ids, window.layout.position_ids);
    append(all.source_index, window.source);
    const std::vector<int32_t>& starts = window.layout.cu_seqlens;
    // A window ends where the next one starts.
    for (size_t n = w == 0 ? 0 : 1; n < starts.size(); ++n) {
      all.cu_seqlens.push_back(static_cast<int32_t>(w * all.S) + starts[n]);
    }
  }
  return all;
}

Mask MaskOf(const Packing& packing, const PackedTensors& tensors) {
  return {packing.MaskRules(),  tensors.B,           tensors.S, tensors.S,
          tensors.document_ids, tensors.document_ids};
}

std::vector<int64_t> TokenIds(const Packing& packing, const PackedTensors& tensors,
                              std::span<const int64_t> input, const SpecialTokens& special) {
  std::vector<int64_t> tokens;
  tokens.reserve(tensors.source_index.size());
  for (size_t n = 0; n < tensors.source_index.size(); ++n) {
    const int64_t from = tensors.source_index[n];
    if (from >= 0) {
      tokens.push_back(input[from]);
    } else if (from == kFromAnchor) {
      tokens.push_back(special.anchor);
    } else if (from == kFromPadding) {
      tokens.push_back(special.padding);
    } else {
      const PackedWindow& window = packing.windows[n / static_cast<size_t>(tensors.S)];
      const int64_t segment = tensors.document_ids[n] - (packing.SharedAnchor() ? 1 : 0);
      tokens.push_back(special.tags[window.segments[segment].document][kFromTag - from]);
    }
  }
  return tokens;
}

void WritePacked(const std::string& path, const Packing& packing, const PackedTensors& tensors,
                 const std::vector<int64_t>& token_ids,
                 const std::optional<FlexBlockMask>& blocks) {
  const auto ids = [&](const char* name, const std::vector<int64_t>& numbers) {
    return OutIds(name, numbers, tensors.B, Layout::kBSHD);
  };
  std::vector<OutTensor> out = {ids("document_ids", tensors.document_ids),
                                ids("position_ids", tensors.position_ids),
                                ids("source_index", tensors.source_index)};
  if (!token_ids.empty()) out.push_back(ids("tokens", token_ids));
  const Json capture = {
      {"version", 1}, {"layout", "bshd"}, {"mask", MaskJson(packing.MaskRules())}};
  StringMap metadata = {{kCaptureKey, capture.dump()}, {kPackingKey, PackingJson(packing).dump()}};
  if (!tensors.cu_seqlens.empty()) {
    out.push_back({"cu_seqlens",
                   DType::kI32,
                   {static_cast<int64_t>(tensors.cu_seqlens.size())},
                   std::as_bytes(std::span(tensors.cu_seqlens))});
    metadata["max_seqlen"] = std::to_string(LongestOf(tensors.cu_seqlens));
  }
  if (blocks) {
    const std::vector<OutTensor> of_blocks = BlockMaskTensors(*blocks);
    out.insert(out.end(), of_blocks.begin(), of_blocks.end());
    metadata.merge(BlockMaskMetadata(*blocks, MaskOf(packing, tensors)));
  }
  WriteSafetensors(path, out, metadata);
}

bool IsPacked(const SafetensorsFile& file) {
  return file.metadata().contains(kPackingKey) && file.Find("q") == nullptr;
}

Mask ReadPackedMask(const SafetensorsFile& file) {
  const auto text = file.metadata().find(kCaptureKey);
  if (text == file.metadata().end()) {
    throw InputError("__metadata__.bitanchor", "none", "the mask's rule");
  }
  const TensorEntry& entry = Required(file, "document_ids");
  if (entry.shape.size() != 2 || entry.bytes == 0) {
    throw InputError("document_ids", "another shape", "[B, S], both >= 1");
  }
  Mask mask;
  mask.spec = ReadCaptureSpec(text->second, 1).mask;
  mask.B = entry.shape[0];
  mask.Sq = mask.Skv = entry.shape[1];
  mask.k_ids = LoadIntegers(entry);
  const auto negative = std::ranges::find_if(mask.k_ids, [](int64_t id) { return id < 0; });
  if (negative != mask.k_ids.end()) {
    throw InputError("document_ids", fmt::format("{}", *negative), "numbers >= 0");
  }
  mask.q_ids = mask.k_ids;
  return mask;
}

}  // namespace bitanchor
