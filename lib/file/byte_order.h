// The one place that knows about byte order: files are little-endian, views are the host's.
#ifndef BITANCHOR_LIB_FILE_BYTE_ORDER_H_
#define BITANCHOR_LIB_FILE_BYTE_ORDER_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitanchor {

static_assert(std::endian::native == std::endian::little || std::endian::native == std::endian::big,
              "a mixed byte order would need a swap of its own");
inline constexpr bool kHostIsBigEndian = std::endian::native == std::endian::big;

// Reverses the bytes of every element of `width` bytes; data.size() is a multiple of width.
inline void ReverseElements(std::span<std::byte> data, size_t width) {
  for (size_t at = 0; at < data.size(); at += width) {
    std::reverse(data.begin() + at, data.begin() + at + width);
  }
}

inline uint64_t LoadLittleU64(const std::byte* data) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | std::to_integer<uint64_t>(data[i]);
  return value;
}

inline void StoreLittleU64(uint64_t value, char* data) {
  for (int i = 0; i < 8; ++i) data[i] = static_cast<char>(value >> (8 * i));
}

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_BYTE_ORDER_H_
