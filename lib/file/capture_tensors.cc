#include "lib/file/capture_tensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>

#include "lib/file/printable.h"
#include "lib/recipe/rope_recipe.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

using Sizes = std::vector<int64_t>;

constexpr std::string_view kNames[] = {"q",
                                       "k",
                                       "v",
                                       "o",
                                       "lse",
                                       "do",
                                       "dq",
                                       "dk",
                                       "dv",
                                       "delta",
                                       "q_rope",
                                       "k_rope",
                                       "document_ids",
                                       "position_ids",
                                       "q_document_ids",
                                       "q_position_ids",
                                       "cu_seqlens",
                                       "cos",
                                       "sin",
                                       "inv_freq"};

std::string Text(const Sizes& shape) { return Printable(fmt::format("{}", shape), 100); }

[[noreturn]] void RefuseDType(const TensorEntry& entry, const std::string& want) {
  throw InputError(entry.name, std::string(DTypeName(entry.dtype)), want);
}

[[noreturn]] void RefuseShape(const TensorEntry& entry, const std::string& want) {
  throw InputError(entry.name, "shape " + Text(entry.shape), want);
}

// [B, S, H, D] as the file has it.
Sizes Stored(const Shape4& shape, Layout layout) {
  const auto [B, S, H, D] = shape;
  if (layout == Layout::kTHD) return {S, H, D};
  if (layout == Layout::kBHSD) return {B, H, S, D};
  return {B, S, H, D};
}

float LoadAt(const TensorEntry& entry, size_t n) {
  return LoadF32(entry.dtype, entry.data + n * DTypeBytes(entry.dtype));
}

// A table of two axes, or of one where `rows` is false.
std::vector<float> ReadTable(const TensorEntry& entry, int64_t pairs, bool rows) {
  if (!IsFloat(entry.dtype)) RefuseDType(entry, "BF16, F16 or F32");
  const bool fits = entry.shape.size() == (rows ? 2 : 1) && entry.shape.back() == pairs;
  if (!fits) {
    RefuseShape(
        entry, fmt::format("[{}{}], {} being half of rotary_dim", rows ? "P, " : "", pairs, pairs));
  }
  std::vector<float> table(entry.bytes / DTypeBytes(entry.dtype));
  for (size_t n = 0; n < table.size(); ++n) table[n] = LoadAt(entry, n);
  return table;
}

}  // namespace

void CheckTensorNames(const SafetensorsFile& file) {
  for (const TensorEntry& entry : file.entries()) {
    if (std::ranges::find(kNames, entry.name) == std::end(kNames)) {
      throw InputError(Printable(entry.name), "a tensor of this name",
                       fmt::format("one of {}", fmt::join(kNames, ", ")));
    }
    if (entry.bytes == 0) RefuseShape(entry, "every size >= 1");
  }
}

const TensorEntry& Required(const SafetensorsFile& file, std::string_view name) {
  const TensorEntry* const entry = file.Find(name);
  if (entry != nullptr) return *entry;
  throw InputError(std::string(name), "no tensor", "one, as every capture has");
}

TensorView ReadHeads(const TensorEntry& entry, Layout layout) {
  if (!IsFloat(entry.dtype)) RefuseDType(entry, "BF16, F16 or F32");
  const Sizes& sizes = entry.shape;
  const bool is_thd = layout == Layout::kTHD;
  if (sizes.size() != (is_thd ? 3 : 4)) {
    RefuseShape(entry, fmt::format("{} axes, as layout {} says", is_thd ? 3 : 4, Name(layout)));
  }
  Shape4 shape = {1, sizes[0], sizes[1], sizes[2]};
  if (layout == Layout::kBSHD) shape = {sizes[0], sizes[1], sizes[2], sizes[3]};
  if (layout == Layout::kBHSD) shape = {sizes[0], sizes[2], sizes[1], sizes[3]};
  return DenseView(entry.dtype, entry.data, shape, layout);
}

TensorView ReadAnswer(const SafetensorsFile& file, std::string_view name, Layout layout,
                      const Shape4& shape) {
  const TensorEntry* const entry = file.Find(name);
  if (entry == nullptr) return {};
  const TensorView view = ReadHeads(*entry, layout);
  if (view.shape != shape) {
    RefuseShape(*entry,
                fmt::format("{}, as q, k and layout {} say", Stored(shape, layout), Name(layout)));
  }
  return view;
}

RowsView ReadRows(const SafetensorsFile& file, std::string_view name, Layout layout,
                  const AttentionShape& shape) {
  const TensorEntry* const entry = file.Find(name);
  if (entry == nullptr) return {};
  if (entry->dtype != DType::kF32) RefuseDType(*entry, "F32");
  Sizes want = {shape.B, shape.Hq, shape.Sq};
  if (layout == Layout::kTHD) want = {shape.Hq, shape.Sq};
  if (entry->shape != want) {
    RefuseShape(*entry, fmt::format("{}, as q and layout {} say", want, Name(layout)));
  }
  return {entry->data, shape.B, shape.Hq, shape.Sq};
}

void ReadRopeTables(const SafetensorsFile& file, RopeConfig& rope) {
  const int64_t pairs = rope.rotary_dim / 2;
  const TensorEntry* const cos = file.Find("cos");
  const TensorEntry* const sin = file.Find("sin");
  if ((cos == nullptr) != (sin == nullptr)) {
    throw InputError(cos == nullptr ? "cos" : "sin", "no tensor", "both cos and sin, or neither");
  }
  if (cos != nullptr) {
    rope.cos = ReadTable(*cos, pairs, true);
    rope.sin = ReadTable(*sin, pairs, true);
    if (cos->shape != sin->shape) RefuseShape(*sin, Text(cos->shape) + ", as cos has");
  }
  if (const TensorEntry* const inv_freq = file.Find("inv_freq")) {
    if (!TakesInverseFrequencies(*FindRopeRecipe(rope.recipe))) {
      throw InputError("inv_freq", "a tensor",
                       fmt::format("none with recipe {}, which iterates its angles", rope.recipe));
    }
    rope.inv_freq = ReadTable(*inv_freq, pairs, false);
  }
}

}  // namespace bitanchor
