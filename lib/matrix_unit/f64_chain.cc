#include "lib/matrix_unit/f64_chain.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

namespace bitanchor::matrix_unit {
namespace {

constexpr auto kUnits =
    std::to_array<std::string_view>({"ampere", "ada", "hopper", "blackwell", "cdna2", "cdna3"});

double Load(const std::byte* data, int64_t index) {
  double value;
  std::memcpy(&value, data + index * static_cast<int64_t>(sizeof value), sizeof value);
  return value;
}

void Store(std::byte* data, int64_t index, double value) {
  if (std::isnan(value)) value = std::numeric_limits<double>::quiet_NaN();
  std::memcpy(data + index * static_cast<int64_t>(sizeof value), &value, sizeof value);
}

}  // namespace

std::span<const std::string_view> UnitsOfF64() { return kUnits; }

bool TakesF64(std::string_view unit) {
  return std::find(kUnits.begin(), kUnits.end(), unit) != kUnits.end();
}

void PredictF64Row(const F64MatMul& product, int64_t g, int64_t m, std::byte* d) {
  const int64_t K = product.K, N = product.N;
  const int64_t run = (K + product.slices - 1) / product.slices;
  const int64_t row = (g * product.M + m) * K, column = g * K * N, result = (g * product.M + m) * N;
  for (int64_t n = 0; n < N; ++n) {
    double total = 0;
    for (int64_t first = 0; first < K; first += run) {
      double sum = first == 0 && product.c != nullptr ? Load(product.c, result + n) : 0;
      for (int64_t k = first; k < std::min(first + run, K); ++k) {
        sum = std::fma(Load(product.a, row + k), Load(product.b, column + k * N + n), sum);
      }
      total = first == 0 ? sum : total + sum;
    }
    Store(d, result + n, total);
  }
}

}  // namespace bitanchor::matrix_unit
