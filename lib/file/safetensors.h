// The safetensors container, read strictly and written deterministically.
//
//   u64 little-endian header length N, at most 100,000,000
//   N bytes of UTF-8 JSON beginning with '{', padded with spaces:
//     {"__metadata__": {string: string, ...},
//      NAME: {"dtype": "BF16", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
//   the data: little-endian, row-major, offsets counted from its beginning, without hole or overlap
#ifndef BITANCHOR_LIB_FILE_SAFETENSORS_H_
#define BITANCHOR_LIB_FILE_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/file/mapped_file.h"
#include "lib/tensor/dtype.h"

namespace bitanchor {

struct TensorEntry {
  std::string name;
  DType dtype = DType::kU8;
  std::vector<int64_t> shape;       // empty: one element
  const std::byte* data = nullptr;  // in the host's byte order, row-major, no alignment promised
  size_t bytes = 0;                 // the product of shape, times DTypeBytes(dtype)
};

using StringMap = std::map<std::string, std::string>;

// Owns the bytes that its entries point to (Open) or borrows them (Parse); moving it moves neither.
class SafetensorsFile {
 public:
  // Maps the file. Throws InputError as MappedFile::Open and Parse do.
  static SafetensorsFile Open(const std::string& path);

  // `bytes` must outlive the result and everything taken from it. `name` stands for the file in
  // errors. Throws InputError for whatever the format does not allow: the fields are `name`, or the
  // tensor's ("q.data_offsets"). Tensors of no elements are allowed.
  static SafetensorsFile Parse(std::span<const std::byte> bytes, const std::string& name);

  const std::vector<TensorEntry>& entries() const { return entries_; }  // in the order of the data
  const TensorEntry* Find(std::string_view name) const;                 // nullptr: no such tensor
  const StringMap& metadata() const { return metadata_; }               // of __metadata__

 private:
  std::optional<MappedFile> file_;
  std::vector<std::byte> swapped_;  // the data in the host's order, on big-endian hosts only
  std::vector<TensorEntry> entries_;
  StringMap metadata_;
};

// A tensor to be written. `bytes`: as TensorEntry's data.
struct OutTensor {
  std::string name;
  DType dtype = DType::kU8;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

// Writes the file as WriteFile does: whole or not at all. The same arguments give the same bytes:
// __metadata__ first (left out where empty), then the tensors, widest dtype first, then by name;
// the header padded with spaces to a multiple of 8 bytes. Names must be unique and sizes must fit
// (asserted). Throws InputError where path cannot be written or a text is not UTF-8.
void WriteSafetensors(const std::string& path, std::span<const OutTensor> tensors,
                      const StringMap& metadata);

// The bytes in front of the data: length and header. `tensors` as WriteSafetensors orders them.
std::string SafetensorsHeader(std::span<const OutTensor> tensors, const StringMap& metadata);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_SAFETENSORS_H_
