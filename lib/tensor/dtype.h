// Element types of tensors: the names and sizes that safetensors uses.
#ifndef BITANCHOR_LIB_TENSOR_DTYPE_H_
#define BITANCHOR_LIB_TENSOR_DTYPE_H_

#include <cstddef>
#include <optional>
#include <string_view>

namespace bitanchor {

enum class DType {
  kBool,
  kU8,
  kI8,
  kF8E4M3,
  kF8E5M2,
  kF8E4M3FNUZ,
  kF8E5M2FNUZ,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kF64,
  kI64,
  kU64
};

std::string_view DTypeName(DType dtype);                    // "BF16", as safetensors spells it
std::optional<DType> DTypeFromName(std::string_view name);  // nullopt: no such name

// Here, because loops over rows of tensors ask it.
constexpr size_t DTypeBytes(DType dtype) {
  switch (dtype) {
    case DType::kBool:
    case DType::kU8:
    case DType::kI8:
    case DType::kF8E4M3:
    case DType::kF8E5M2:
    case DType::kF8E4M3FNUZ:
    case DType::kF8E5M2FNUZ:
      return 1;
    case DType::kI16:
    case DType::kU16:
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kI32:
    case DType::kU32:
    case DType::kF32:
      return 4;
    case DType::kF64:
    case DType::kI64:
    case DType::kU64:
      return 8;
  }
  return 0;
}

// The types that q, k, v and answers may have.
inline bool IsFloat(DType dtype) {
  return dtype == DType::kBF16 || dtype == DType::kF16 || dtype == DType::kF32;
}

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_TENSOR_DTYPE_H_
