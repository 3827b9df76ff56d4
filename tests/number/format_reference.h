// Conversions by a method of their own, to hold lib/number/format.h against: the neighbours of a
// value are found by bisection over all values of the format, built from the format's definition,
// and the mode then picks one by exact comparison.
#ifndef BITANCHOR_TESTS_NUMBER_FORMAT_REFERENCE_H_
#define BITANCHOR_TESTS_NUMBER_FORMAT_REFERENCE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "lib/number/format.h"

namespace bitanchor::testing {

inline constexpr Rounding kModes[] = {Rounding::kNearestEven, Rounding::kNearestAway,
                                      Rounding::kTowardZero,  Rounding::kUp,
                                      Rounding::kDown,        Rounding::kToOdd};

// A format by its definition: every nonnegative finite value, ascending; index = bit pattern.
struct Reference {
  int exponent_bits, fraction_bits;
  std::vector<double> values;

  Reference(int e, int f) : Reference(e, f, (1 << (e - 1)) - 1, ((1 << e) - 1) << f) {}

  // `finite`: how many codes of positive sign are numbers; an infinity or NaN comes next.
  Reference(int e, int f, int bias, int finite) : exponent_bits(e), fraction_bits(f) {
    for (int bits = 0; bits < finite; ++bits) {
      const int exponent = bits >> f, fraction = bits & ((1 << f) - 1);
      const int significand = exponent == 0 ? fraction : fraction | 1 << f;
      values.push_back(std::ldexp(significand, std::max(exponent, 1) - bias - f));
    }
  }

  // Index of the largest value that is not above `size` (finite), looked for next to `near` first.
  uint32_t Below(double size, uint32_t near = 0) const {
    const auto holds = [&](uint32_t low) {
      return values[low] <= size && (low + 1 == values.size() || size < values[low + 1]);
    };
    if (holds(near)) return near;
    const auto above = std::upper_bound(values.begin(), values.end(), size);
    return static_cast<uint32_t>(above - values.begin()) - 1;
  }

  // The bits of |x| (finite, or infinite) rounded; `negative` matters for the directed modes.
  uint32_t Round(double size, bool negative, Rounding mode) const {
    return Pick(std::isinf(size) ? 0 : Below(size), size, negative, mode);
  }

  // The same where low = Below(size) is known.
  uint32_t Pick(uint32_t low, double size, bool negative, Rounding mode) const {
    const uint32_t infinity = static_cast<uint32_t>(values.size());
    if (std::isinf(size)) return infinity;
    const bool exact = values[low] == size;
    if (exact) return low;
    const bool away = (mode == Rounding::kUp && !negative) || (mode == Rounding::kDown && negative);
    if (mode == Rounding::kTowardZero ||
        ((mode == Rounding::kUp || mode == Rounding::kDown) && !away))
      return low;
    if (mode == Rounding::kToOdd) return (low & 1) != 0 || low + 1 == infinity ? low : low + 1;
    if (away) return low + 1;
    // The value after the largest finite one, were there another binade: nearest rounds to infinity
    // from half-way on.
    const double next = low + 1 < infinity ? values[low + 1] : 2 * values[low] - values[low - 1];
    const double down = size - values[low],
                 up = next - size;  // exact: neighbours are within a factor of 2, or 0
    if (down != up) return down < up ? low : low + 1;
    return mode == Rounding::kNearestAway || (low & 1) != 0 ? low + 1 : low;
  }
};

inline const Reference& BF16Reference() {
  static const Reference reference(8, 7);
  return reference;
}
inline const Reference& F16Reference() {
  static const Reference reference(5, 10);
  return reference;
}

inline const Reference& TF32Reference() {
  static const Reference reference(8, 10);
  return reference;
}

// Where the last call found its neighbours: consecutive arguments often have the same.
struct NeighbourHints {
  uint32_t bf16 = 0, f16 = 0;
};

// Whether ToBF16 and ToF16 of x are right in every mode.
template <typename T>
bool ConversionsAreRight(T x, NeighbourHints& hints) {
  const double size = std::fabs(static_cast<double>(x));
  const bool negative = std::signbit(x);
  const uint32_t sign = negative ? 0x8000u : 0u;
  if (std::isfinite(x)) {
    hints = {BF16Reference().Below(size, hints.bf16), F16Reference().Below(size, hints.f16)};
  }
  for (const Rounding mode : kModes) {
    const uint32_t want_bf16 =
        std::isnan(x) ? 0x7FC0u : BF16Reference().Pick(hints.bf16, size, negative, mode) | sign;
    const uint32_t want_f16 =
        std::isnan(x) ? 0x7E00u : F16Reference().Pick(hints.f16, size, negative, mode) | sign;
    if (ToBF16(x, mode).bits != want_bf16 || ToF16(x, mode).bits != want_f16) return false;
  }
  return true;
}

template <typename T>
bool ConversionsAreRight(T x) {
  NeighbourHints hints;
  return ConversionsAreRight(x, hints);
}

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_NUMBER_FORMAT_REFERENCE_H_
