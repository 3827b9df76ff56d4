#include "lib/file/special_function_table.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "lib/file/printable.h"
#include "lib/number/elementary.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

constexpr double kPlausible = 0x1p-20, kLn2 = 0.69314718055994530942;
constexpr double kLeastNormal = 0x1p-126;
constexpr int64_t kReciprocals = int64_t{1} << 23;

std::string Shape(const TensorEntry& entry) {
  std::string text = std::string(DTypeName(entry.dtype)) + " [";
  for (size_t n = 0; n < entry.shape.size(); ++n) {
    text += (n == 0 ? "" : ", ") + std::to_string(entry.shape[n]);
  }
  return text + "]";
}

std::span<const float> Floats(const TensorEntry& entry, std::vector<float>& copy) {
  const size_t n = entry.bytes / sizeof(float);
  if (reinterpret_cast<uintptr_t>(entry.data) % alignof(float) == 0) {
    return {reinterpret_cast<const float*>(entry.data), n};
  }
  copy.resize(n);
  std::memcpy(copy.data(), entry.data, entry.bytes);
  return copy;
}

bool Near(double got, double want) {
  if (std::isnan(want)) return std::isnan(got);
  if (got == want) return true;
  if (std::isinf(want) || std::isinf(got)) {
    const double finite = std::isinf(want) ? got : want;
    return finite >= 0x1p128 * (1 - 0x1p-20) && got > 0;
  }
  if (std::fabs(got - want) <= kPlausible * want) return true;
  return got == 0 && want < kLeastNormal * (1 + kPlausible);  // flushed
}

double TrueExp2(float x) {
  if (std::isnan(x)) return x;
  if (std::fabs(x) < kLeastNormal) return 1;
  if (x >= 128) return std::numeric_limits<double>::infinity();
  const double value = x < -200 ? 0 : number::ExpF64(static_cast<double>(x) * kLn2);
  return value < kLeastNormal * (1 - kPlausible) ? 0 : value;
}

void CheckEntry(const char* tensor, size_t n, float got, float argument, double want) {
  if (Near(got, want)) return;
  throw InputError(
      fmt::format("{}[{}]", tensor, n), fmt::format("{:.9g}", got),
      fmt::format("{:.9g}, within 2^-20 of it: {} of {:.9g}", want,
                  std::strcmp(tensor, "rcp") == 0 ? "the reciprocal" : "the power of 2", argument));
}

uint32_t FirstArgument(const TensorEntry& entry) {
  const bool one = entry.shape.size() <= 1 && entry.bytes == DTypeBytes(entry.dtype);
  uint64_t first = 0;
  if (one && entry.dtype == DType::kU32) {
    uint32_t bits;
    std::memcpy(&bits, entry.data, sizeof bits);
    first = bits;
  } else if (one && entry.dtype == DType::kI64) {
    std::memcpy(&first, entry.data, sizeof first);
  } else {
    throw InputError("ex2_first", Shape(entry), "U32 [1] or I64 [1]");
  }
  if (first > 0xffffffffu)
    throw InputError("ex2_first", std::to_string(first), "the bits of an f32");
  return static_cast<uint32_t>(first);
}

}  // namespace

SpecialFunctionTable ReadSpecialFunctions(SafetensorsFile file, const std::string& name) {
  SpecialFunctionTable table;
  table.file = std::move(file);
  for (const TensorEntry& entry : table.file.entries()) {
    if (entry.name != "ex2" && entry.name != "ex2_first" && entry.name != "rcp") {
      throw InputError(Printable(entry.name), "a tensor of this name", "ex2, ex2_first and rcp");
    }
    const bool floats = entry.dtype == DType::kF32 && entry.shape.size() == 1 && entry.shape[0] > 0;
    if (entry.name == "ex2" && !floats) throw InputError("ex2", Shape(entry), "F32 [N]");
    if (entry.name == "rcp" && !(floats && entry.shape[0] == kReciprocals)) {
      throw InputError("rcp", Shape(entry), "F32 [8388608]: of all numbers from 1 up to 2");
    }
  }
  const TensorEntry* const ex2 = table.file.Find("ex2");
  const TensorEntry* const first = table.file.Find("ex2_first");
  const TensorEntry* const rcp = table.file.Find("rcp");
  if (ex2 == nullptr && rcp == nullptr) throw InputError(name, "neither ex2 nor rcp", "a table");
  if ((ex2 == nullptr) != (first == nullptr)) {
    throw InputError(ex2 == nullptr ? "ex2" : "ex2_first", "none", "both or neither");
  }
  if (ex2 != nullptr) {
    table.exp2 = Floats(*ex2, table.aligned[0]);
    table.exp2_first = FirstArgument(*first);
    if (table.exp2.size() - 1 > 0xffffffffu - table.exp2_first) {
      throw InputError("ex2", Shape(*ex2), "no more numbers than there are bits from ex2_first on");
    }
    for (size_t n = 0; n < table.exp2.size(); ++n) {
      const float x = std::bit_cast<float>(table.exp2_first + static_cast<uint32_t>(n));
      CheckEntry("ex2", n, table.exp2[n], x, TrueExp2(x));
    }
  }
  if (rcp != nullptr) {
    table.reciprocal = Floats(*rcp, table.aligned[1]);
    for (size_t n = 0; n < table.reciprocal.size(); ++n) {
      const float x = std::bit_cast<float>(0x3f800000u + static_cast<uint32_t>(n));
      CheckEntry("rcp", n, table.reciprocal[n], x, 1 / static_cast<double>(x));
    }
  }
  return table;
}

SpecialFunctionTable ReadSpecialFunctions(const std::string& path) {
  return ReadSpecialFunctions(SafetensorsFile::Open(path), PrintablePath(path));
}

}  // namespace bitanchor
