#include "lib/file/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "lib/file/byte_order.h"
#include "lib/file/printable.h"
#include "lib/file/strict_json.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

using nlohmann::json;

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

// The header's text without its padding.
std::string_view HeaderText(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.size() < kLengthBytes) {
    throw InputError(name, fmt::format("{} bytes", bytes.size()),
                     "a safetensors file, which begins with 8 bytes of header length");
  }
  const uint64_t length = LoadLittleU64(bytes.data());
  if (length > kMaxHeaderBytes || length > bytes.size() - kLengthBytes) {
    throw InputError(name, fmt::format("a header length of {} bytes", length),
                     fmt::format("at most {}, as a safetensors file of this size allows",
                                 std::min<uint64_t>(kMaxHeaderBytes, bytes.size() - kLengthBytes)));
  }
  std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length);
  text = text.substr(0, text.find_last_not_of(' ') + 1);
  if (text.empty() || text.front() != '{' || text.back() != '}') {
    throw InputError(name, "a header that is not one JSON object padded with spaces",
                     "a safetensors file");
  }
  return text;
}

StringMap ReadMetadata(const json& value) {
  if (!value.is_object()) {
    throw InputError("__metadata__", Describe(value), "an object of strings");
  }
  StringMap metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      throw InputError("__metadata__." + Printable(key), Describe(text), "a string");
    }
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

// A list of non-negative integers. "-0" is no such integer: nlohmann reads it as a signed one.
std::vector<int64_t> ReadSizes(const json& value, const std::string& field) {
  if (!value.is_array()) throw InputError(field, Describe(value), "an array of integers >= 0");
  std::vector<int64_t> sizes;
  sizes.reserve(value.size());
  for (const json& size : value) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() > INT64_MAX) {
      throw InputError(field, Describe(size), "integers in 0..2^63 - 1");
    }
    sizes.push_back(size.get<int64_t>());
  }
  return sizes;
}

DType ReadDType(const json& value, const std::string& field) {
  const auto dtype = value.is_string() ? DTypeFromName(value.get_ref<const std::string&>())
                                       : std::optional<DType>();
  if (dtype) return *dtype;
  throw InputError(field, Describe(value), "a dtype such as BF16, F16, F32, I32 or I64");
}

struct Placed {
  TensorEntry entry;
  int64_t begin = 0, end = 0;  // in the data
};

void CheckSize(const Placed& placed, const std::string& name) {
  int64_t bytes = static_cast<int64_t>(DTypeBytes(placed.entry.dtype));
  for (const int64_t size : placed.entry.shape) {
    if (!__builtin_mul_overflow(bytes, size, &bytes)) continue;
    throw InputError(name + ".shape", Printable(fmt::format("{}", placed.entry.shape)),
                     "fewer than 2^63 bytes");
  }
  if (bytes != placed.end - placed.begin) {
    throw InputError(name + ".data_offsets", fmt::format("[{}, {}]", placed.begin, placed.end),
                     fmt::format("{} bytes, as dtype and shape say", bytes));
  }
}

Placed ReadEntry(const std::string& name, const json& value) {
  const std::string shown = Printable(name);
  const std::string want = "an object of dtype, shape and data_offsets";
  if (!value.is_object()) throw InputError(shown, Describe(value), want);
  for (const auto& [key, unused] : value.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      throw InputError(shown, "a key " + Quoted(key), want);
    }
  }
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    if (!value.contains(key)) throw InputError(shown, fmt::format("no {}", key), want);
  }
  Placed placed;
  placed.entry.name = name;
  placed.entry.dtype = ReadDType(value["dtype"], shown + ".dtype");
  placed.entry.shape = ReadSizes(value["shape"], shown + ".shape");
  const std::vector<int64_t> offsets = ReadSizes(value["data_offsets"], shown + ".data_offsets");
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    throw InputError(shown + ".data_offsets", Printable(fmt::format("{}", offsets)),
                     "[begin, end] with begin <= end");
  }
  placed.begin = offsets[0];
  placed.end = offsets[1];
  CheckSize(placed, shown);
  return placed;
}

// Every byte of the data belongs to exactly one tensor.
void CheckCover(const std::vector<Placed>& placed, int64_t data_bytes, const std::string& name) {
  int64_t covered = 0;
  for (const Placed& tensor : placed) {
    if (tensor.begin != covered || tensor.end > data_bytes) {
      throw InputError(Printable(tensor.entry.name) + ".data_offsets",
                       fmt::format("[{}, {}]", tensor.begin, tensor.end),
                       fmt::format("begin {}, where the tensor before ends, and an end within the "
                                   "{} bytes of data",
                                   covered, data_bytes));
    }
    covered = tensor.end;
  }
  if (covered != data_bytes) {
    throw InputError(name, fmt::format("{} bytes of data", data_bytes),
                     fmt::format("{}, as the tensors' data_offsets say", covered));
  }
}

}  // namespace

SafetensorsFile SafetensorsFile::Open(const std::string& path) {
  MappedFile mapped = MappedFile::Open(path);
  SafetensorsFile file = Parse(mapped.bytes(), path);
  file.file_ = std::move(mapped);
  return file;
}

SafetensorsFile SafetensorsFile::Parse(std::span<const std::byte> bytes, const std::string& name) {
  const std::string shown = PrintablePath(name);
  const json header = ParseStrictJson(HeaderText(bytes, shown), shown);
  SafetensorsFile file;
  std::vector<Placed> placed;
  for (const auto& [key, value] : header.items()) {
    if (key == "__metadata__") {
      file.metadata_ = ReadMetadata(value);
    } else {
      placed.push_back(ReadEntry(key, value));
    }
  }
  // A tensor of no bytes goes before the one that begins where it stands.
  std::ranges::sort(placed, {}, [](const Placed& tensor) {
    return std::tie(tensor.begin, tensor.end, tensor.entry.name);
  });
  std::span<const std::byte> data = bytes.subspan(kLengthBytes + LoadLittleU64(bytes.data()));
  CheckCover(placed, static_cast<int64_t>(data.size()), shown);
  if constexpr (kHostIsBigEndian) {
    file.swapped_.assign(data.begin(), data.end());
    data = file.swapped_;
  }
  for (Placed& tensor : placed) {
    const size_t size = static_cast<size_t>(tensor.end - tensor.begin);
    tensor.entry.data = data.data() + tensor.begin;
    tensor.entry.bytes = size;
    if constexpr (kHostIsBigEndian) {
      ReverseElements(std::span(file.swapped_).subspan(tensor.begin, size),
                      DTypeBytes(tensor.entry.dtype));
    }
    file.entries_.push_back(std::move(tensor.entry));
  }
  return file;
}

const TensorEntry* SafetensorsFile::Find(std::string_view name) const {
  const auto found = std::ranges::find(entries_, name, &TensorEntry::name);
  return found == entries_.end() ? nullptr : &*found;
}

}  // namespace bitanchor
