#include <algorithm>
#include <cassert>
#include <nlohmann/json.hpp>

#include "lib/file/byte_order.h"
#include "lib/file/printable.h"
#include "lib/file/safetensors.h"
#include "lib/file/write_file.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

using Json = nlohmann::ordered_json;  // keeps the order in which keys are added

// What the writer can be trusted with: the caller made these up, the user did not.
bool Consistent(std::span<const OutTensor> tensors) {
  std::vector<std::string> names = {"__metadata__"};
  for (const OutTensor& tensor : tensors) {
    size_t bytes = DTypeBytes(tensor.dtype);
    for (const int64_t size : tensor.shape) bytes *= static_cast<size_t>(size);
    if (bytes != tensor.bytes.size()) return false;
    names.push_back(tensor.name);
  }
  std::ranges::sort(names);
  return std::ranges::adjacent_find(names) == names.end();
}

// Widest first keeps every tensor aligned to its elements.
std::vector<const OutTensor*> InFileOrder(std::span<const OutTensor> tensors) {
  std::vector<const OutTensor*> order;
  for (const OutTensor& tensor : tensors) order.push_back(&tensor);
  std::ranges::sort(order, [](const OutTensor* left, const OutTensor* right) {
    const size_t left_bytes = DTypeBytes(left->dtype), right_bytes = DTypeBytes(right->dtype);
    return left_bytes != right_bytes ? left_bytes > right_bytes : left->name < right->name;
  });
  return order;
}

}  // namespace

std::string SafetensorsHeader(std::span<const OutTensor> tensors, const StringMap& metadata) {
  assert(Consistent(tensors));
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  size_t begin = 0;
  for (const OutTensor* tensor : InFileOrder(tensors)) {
    const size_t end = begin + tensor->bytes.size();
    header[tensor->name] = {{"dtype", DTypeName(tensor->dtype)},
                            {"shape", tensor->shape},
                            {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const Json::type_error&) {
    throw InputError("__metadata__", "text that is not UTF-8", "UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string out(8, '\0');
  StoreLittleU64(text.size(), out.data());
  return out + text;
}

void WriteSafetensors(const std::string& path, std::span<const OutTensor> tensors,
                      const StringMap& metadata) {
  const std::string header = SafetensorsHeader(tensors, metadata);
  std::vector<Bytes> pieces = {std::as_bytes(std::span(header))};
  std::vector<std::vector<std::byte>> swapped;
  for (const OutTensor* tensor : InFileOrder(tensors)) {
    if constexpr (kHostIsBigEndian) {
      swapped.emplace_back(tensor->bytes.begin(), tensor->bytes.end());
      ReverseElements(swapped.back(), DTypeBytes(tensor->dtype));
      pieces.push_back(swapped.back());  // the bytes stay where they are when `swapped` grows
    } else {
      pieces.push_back(tensor->bytes);
    }
  }
  WriteFile(path, pieces);
}

}  // namespace bitanchor
