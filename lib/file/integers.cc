#include "lib/file/integers.h"

#include <fmt/format.h>

#include "lib/file/byte_order.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

uint64_t Bits(const std::byte* data, const IntegerType& type) {
  uint64_t bits = 0;
  for (int i = 0; i < type.width; ++i) {
    const int at = type.big_endian ? i : type.width - 1 - i;
    bits = bits << 8 | std::to_integer<uint64_t>(data[at]);
  }
  return bits;
}

int64_t Widened(uint64_t bits, const IntegerType& type) {
  if (!type.is_signed) return static_cast<int64_t>(bits);
  const int unused = 64 - 8 * type.width;
  return static_cast<int64_t>(bits << unused) >> unused;
}

std::optional<IntegerType> TypeOf(DType dtype) {
  // Entries are in the host's byte order.
  const int width = static_cast<int>(DTypeBytes(dtype));
  switch (dtype) {
    case DType::kI8:
    case DType::kI16:
    case DType::kI32:
    case DType::kI64:
      return IntegerType{width, true, kHostIsBigEndian};
    case DType::kU8:
    case DType::kU16:
    case DType::kU32:
    case DType::kU64:
      return IntegerType{width, false, kHostIsBigEndian};
    default:
      return std::nullopt;
  }
}

}  // namespace

std::vector<int64_t> LoadIntegers(std::span<const std::byte> data, const IntegerType& type,
                                  const std::string& field) {
  const size_t width = static_cast<size_t>(type.width);
  std::vector<int64_t> numbers(data.size() / width);
  for (size_t n = 0; n < numbers.size(); ++n) {
    const uint64_t bits = Bits(data.data() + n * width, type);
    if (!type.is_signed && bits > INT64_MAX) {
      throw InputError(field, fmt::format("{} at [{}]", bits, n), "numbers up to 2^63 - 1");
    }
    numbers[n] = Widened(bits, type);
  }
  return numbers;
}

std::vector<int64_t> LoadIntegers(const TensorEntry& entry) {
  const std::optional<IntegerType> type = TypeOf(entry.dtype);
  if (!type) {
    throw InputError(entry.name, std::string(DTypeName(entry.dtype)), "integers, I8 to U64");
  }
  return LoadIntegers({entry.data, entry.bytes}, *type, entry.name);
}

}  // namespace bitanchor
