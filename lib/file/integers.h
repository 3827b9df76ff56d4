// Integers of every width as files hold them, widened.
#ifndef BITANCHOR_LIB_FILE_INTEGERS_H_
#define BITANCHOR_LIB_FILE_INTEGERS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/file/safetensors.h"

namespace bitanchor {

struct IntegerType {
  int width = 8;  // bytes: 1, 2, 4 or 8
  bool is_signed = true;
  bool big_endian = false;
};

// data.size() is a multiple of the width; no alignment is needed. Throws InputError naming `field`
// and the place of a number beyond 2^63 - 1.
std::vector<int64_t> LoadIntegers(std::span<const std::byte> data, const IntegerType& type,
                                  const std::string& field);

// The same of a tensor of any shape, I8 to U64; InputError where it is of another type.
std::vector<int64_t> LoadIntegers(const TensorEntry& entry);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_INTEGERS_H_
