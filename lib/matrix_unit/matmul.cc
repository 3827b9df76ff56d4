#include "lib/matrix_unit/matmul.h"

#include <array>
#include <bit>
#include <cstring>
#include <span>
#include <vector>

#include "lib/matrix_unit/dot_add.h"

namespace bitanchor::matrix_unit {
namespace {

constexpr size_t kMostProducts = 32;  // of a group

template <typename Word>
uint32_t LoadWord(const std::byte* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

// The bits of element `index`, of a type of 1, 2 or 4 bytes.
uint32_t LoadBits(const std::byte* data, size_t width_bytes, int64_t index) {
  const std::byte* from = data + index * static_cast<int64_t>(width_bytes);
  if (width_bytes == 1) return LoadWord<uint8_t>(from);
  if (width_bytes == 2) return LoadWord<uint16_t>(from);
  return LoadWord<uint32_t>(from);
}

void StoreBits(std::byte* data, size_t width_bytes, int64_t index, uint32_t bits) {
  std::byte* to = data + index * static_cast<int64_t>(width_bytes);
  const uint16_t half = static_cast<uint16_t>(bits);
  if (width_bytes == 2) {
    std::memcpy(to, &half, sizeof half);
  } else {
    std::memcpy(to, &bits, sizeof bits);
  }
}

// `count` elements from `first` on, `step` apart, as the unit takes them.
void LoadOperands(const Model& model, const std::byte* data, int64_t first, int64_t step,
                  std::span<Unpacked> to) {
  const size_t width_bytes = DTypeBytes(model.dtype);
  for (Unpacked& operand : to) {
    operand = Operand(model, LoadBits(data, width_bytes, first));
    first += step;
  }
}

}  // namespace

int64_t PredictBlock(const MatMul& product, const Block& block, std::byte* d,
                     std::byte* undetermined) {
  const auto [g, m, n, rows, columns] = block;
  const int64_t M = product.M, K = product.K, N = product.N;
  const Model& model = *product.model;
  const bool half = product.result->storage.precision == kFormatF16.precision;
  const size_t row_elems = static_cast<size_t>(K);
  std::vector<Unpacked> a(static_cast<size_t>(rows) * row_elems), column(row_elems);
  LoadOperands(model, product.a, (g * M + m) * K, 1, a);
  int64_t count = 0;
  for (int64_t j = n; j < n + columns; ++j) {
    LoadOperands(model, product.b, g * K * N + j, N, column);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t at = (g * M + m + i) * N + j;
      uint32_t c = product.c == nullptr ? 0 : LoadBits(product.c, 4, at);
      if (half) c = ToF16(std::bit_cast<float>(c)).bits;
      const std::span<const Unpacked> row(a.data() + static_cast<size_t>(i) * row_elems, row_elems);
      const Prediction prediction =
          ChainedDotAdd(model, *product.result, row, column, c, product.slices);
      StoreBits(d, half ? 2 : 4, at, prediction.bits);
      undetermined[at] = static_cast<std::byte>(!prediction.determined);
      count += !prediction.determined;
    }
  }
  return count;
}

uint32_t PredictGroup(const MatMul& product, int64_t g, int64_t m, int64_t n, int64_t k,
                      int64_t count, uint32_t c, bool& corner) {
  const Model& model = *product.model;
  std::array<Unpacked, kMostProducts> a, b;
  const std::span<Unpacked> row(a.data(), static_cast<size_t>(count));
  const std::span<Unpacked> column(b.data(), static_cast<size_t>(count));
  LoadOperands(model, product.a, (g * product.M + m) * product.K + k, 1, row);
  LoadOperands(model, product.b, (g * product.K + k) * product.N + n, product.N, column);
  return DotAdd(model, *product.result, product.result->readings[0], row, column, c, corner);
}

}  // namespace bitanchor::matrix_unit
