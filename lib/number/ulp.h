// Neighbours and distances within a format, in units of its last place.
#ifndef BITANCHOR_LIB_NUMBER_ULP_H_
#define BITANCHOR_LIB_NUMBER_ULP_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

#include "lib/number/format.h"

namespace bitanchor {

// What UlpDistance gives between a NaN and anything that is not one.
inline constexpr uint32_t kUlpDistanceNaN = std::numeric_limits<uint32_t>::max();

namespace ulp_internal {

// Negative numbers count down from zero, so that the order of the values is the order of the
// integers and both zeros are 0.
constexpr int64_t Ordered(const Format& format, uint32_t bits) {
  const uint64_t magnitude = bits & (format.SignBit() - 1);
  return (bits & format.SignBit()) != 0 ? -static_cast<int64_t>(magnitude)
                                        : static_cast<int64_t>(magnitude);
}

constexpr bool IsNaN(const Format& format, uint32_t bits) {
  return (bits & (format.SignBit() - 1)) > format.InfinityBits();
}

constexpr uint32_t Distance(const Format& format, uint32_t got, uint32_t want) {
  if (IsNaN(format, got) || IsNaN(format, want)) {
    return IsNaN(format, got) && IsNaN(format, want) ? 0 : kUlpDistanceNaN;
  }
  const int64_t distance = Ordered(format, got) - Ordered(format, want);
  return static_cast<uint32_t>(distance < 0 ? -distance : distance);
}

constexpr uint32_t NextUpBits(const Format& format, uint32_t bits) {
  const uint32_t sign = static_cast<uint32_t>(format.SignBit());
  if (IsNaN(format, bits)) return static_cast<uint32_t>(format.CanonicalNaNBits());
  if (bits == format.InfinityBits()) return bits;
  if (bits == sign) return 1;
  return (bits & sign) != 0 ? bits - 1 : bits + 1;
}

constexpr uint32_t NextDownBits(const Format& format, uint32_t bits) {
  const uint32_t sign = static_cast<uint32_t>(format.SignBit());
  if (IsNaN(format, bits)) return static_cast<uint32_t>(format.CanonicalNaNBits());
  return NextUpBits(format, bits ^ sign) ^ sign;
}

}  // namespace ulp_internal

// How many steps from one representable number to the next lead from `got` to `want`. +0 and -0
// are one place: distance 0 between them. Infinity is one step past the largest finite number.
// Two NaNs: 0, whatever their payloads. One NaN: kUlpDistanceNaN, above every other distance.
constexpr uint32_t UlpDistance(BF16 got, BF16 want) {
  return ulp_internal::Distance(kFormatBF16, got.bits, want.bits);
}
constexpr uint32_t UlpDistance(F16 got, F16 want) {
  return ulp_internal::Distance(kFormatF16, got.bits, want.bits);
}
constexpr uint32_t UlpDistance(float got, float want) {
  return ulp_internal::Distance(kFormatF32, std::bit_cast<uint32_t>(got),
                                std::bit_cast<uint32_t>(want));
}

// IEEE 754-2019 nextUp: the least number above `value`. Of both zeros the least subnormal, of the
// negative least subnormal -0, of +infinity itself, of NaN the canonical NaN.
constexpr BF16 NextUp(BF16 value) {
  return {static_cast<uint16_t>(ulp_internal::NextUpBits(kFormatBF16, value.bits))};
}
constexpr F16 NextUp(F16 value) {
  return {static_cast<uint16_t>(ulp_internal::NextUpBits(kFormatF16, value.bits))};
}
constexpr float NextUp(float value) {
  return std::bit_cast<float>(ulp_internal::NextUpBits(kFormatF32, std::bit_cast<uint32_t>(value)));
}

// IEEE 754-2019 nextDown: -NextUp(-value), NaN excepted.
constexpr BF16 NextDown(BF16 value) {
  return {static_cast<uint16_t>(ulp_internal::NextDownBits(kFormatBF16, value.bits))};
}
constexpr F16 NextDown(F16 value) {
  return {static_cast<uint16_t>(ulp_internal::NextDownBits(kFormatF16, value.bits))};
}
constexpr float NextDown(float value) {
  return std::bit_cast<float>(
      ulp_internal::NextDownBits(kFormatF32, std::bit_cast<uint32_t>(value)));
}

// The spacing of `format`'s numbers in the binade [2^e, 2^(e+1)) that holds |value|, a real number
// given in f64: what a stored value's error against an f64 centre is divided by. Zero and the
// subnormals give the least subnormal; magnitudes past the largest finite number, infinity
// included, give the spacing of the last binade. NaN gives NaN. For formats of at most 24 bits.
constexpr double UlpOf(const Format& format, double value) {
  const uint64_t magnitude = std::bit_cast<uint64_t>(value) & ~(uint64_t{1} << 63);
  if (magnitude > kFormatF64.InfinityBits()) return std::numeric_limits<double>::quiet_NaN();
  const int exponent = std::clamp(static_cast<int>(magnitude >> 52) - 1023, format.min_exponent,
                                  format.max_exponent);
  return std::bit_cast<double>(static_cast<uint64_t>(exponent - format.StoredBits() + 1023) << 52);
}

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_NUMBER_ULP_H_
