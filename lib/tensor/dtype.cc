#include "lib/tensor/dtype.h"

#include <array>

namespace bitanchor {
namespace {

struct Row {
  DType dtype;
  std::string_view name;
};

constexpr std::array<Row, 17> kRows = {{{DType::kBool, "BOOL"},
                                        {DType::kU8, "U8"},
                                        {DType::kI8, "I8"},
                                        {DType::kF8E4M3, "F8_E4M3"},
                                        {DType::kF8E5M2, "F8_E5M2"},
                                        {DType::kF8E4M3FNUZ, "F8_E4M3FNUZ"},
                                        {DType::kF8E5M2FNUZ, "F8_E5M2FNUZ"},
                                        {DType::kI16, "I16"},
                                        {DType::kU16, "U16"},
                                        {DType::kF16, "F16"},
                                        {DType::kBF16, "BF16"},
                                        {DType::kI32, "I32"},
                                        {DType::kU32, "U32"},
                                        {DType::kF32, "F32"},
                                        {DType::kF64, "F64"},
                                        {DType::kI64, "I64"},
                                        {DType::kU64, "U64"}}};

}  // namespace

std::string_view DTypeName(DType dtype) { return kRows[static_cast<size_t>(dtype)].name; }

std::optional<DType> DTypeFromName(std::string_view name) {
  for (const Row& row : kRows) {
    if (row.name == name) return row.dtype;
  }
  return std::nullopt;
}

}  // namespace bitanchor
