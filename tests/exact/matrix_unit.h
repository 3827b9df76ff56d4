// NVIDIA's matrix units, bit by bit, as measured on hardware (MMA-Sim, arXiv 2511.10909; Khattak
// and Mikaitis, arXiv 2512.07004): a truncated fused dot-add.
#ifndef BITANCHOR_TESTS_EXACT_MATRIX_UNIT_H_
#define BITANCHOR_TESTS_EXACT_MATRIX_UNIT_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

#include "lib/number/format.h"
#include "lib/recipe/contract.h"

namespace bitanchor::testing {

struct Factors {
  float a, b;
};

// c + sum a b over at most L products. Subnormal factors keep the exponent `least` (-14 for f16).
// F + 4 bits of every term fit into an f64, so the sum is exact.
inline float DotAdd(const MatrixUnit& unit, int least, float c, std::span<const Factors> group) {
  const auto exponent = [&](float x) { return std::max(std::ilogb(x), least); };
  int top = std::numeric_limits<int>::min();
  for (const auto [a, b] : group) {
    if (a != 0 && b != 0) top = std::max(top, exponent(a) + exponent(b));
  }
  if (c != 0) top = std::max(top, std::max(std::ilogb(c), -126));
  if (top == std::numeric_limits<int>::min()) return 0;
  const int shift = static_cast<int>(unit.fraction_bits) - top;
  const auto truncated = [&](double x) { return std::trunc(std::ldexp(x, shift)); };
  double sum = truncated(c);
  for (const auto [a, b] : group) sum += truncated(double{a} * b);
  return RoundToF32(std::ldexp(sum, -shift), Rounding::kTowardZero);
}

// Groups of L in the order of the products, each adding to the last one's result.
inline float ChainedDotAdd(const MatrixUnit& unit, int least, float c,
                           std::span<const Factors> products) {
  for (size_t at = 0; at < products.size(); at += unit.products) {
    const size_t size = std::min<size_t>(unit.products, products.size() - at);
    c = DotAdd(unit, least, c, products.subspan(at, size));
  }
  return c;
}

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_EXACT_MATRIX_UNIT_H_
