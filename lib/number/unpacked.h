// A number taken apart into the integers that exact arithmetic works on.
#ifndef BITANCHOR_LIB_NUMBER_UNPACKED_H_
#define BITANCHOR_LIB_NUMBER_UNPACKED_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "lib/number/format.h"

namespace bitanchor {

enum class NumberKind : uint8_t { kFinite, kInfinity, kNaN };

// Finite: +-significand * 2^exponent, zero with its sign. Subnormals have the exponent of the least
// normal number, so that the leading bit of a normal significand, and of no other, is bit
// precision - 1 of its format.
struct Unpacked {
  uint32_t significand = 0;
  int16_t exponent = 0;
  NumberKind kind = NumberKind::kFinite;
  bool negative = false;

  bool IsZero() const { return kind == NumberKind::kFinite && significand == 0; }
};

// The number that `bits` encode in a format of at most 32 bits; what lies above the sign is
// ignored.
constexpr Unpacked Unpack(const Format& format, uint32_t bits) {
  const uint32_t sign = static_cast<uint32_t>(format.SignBit());
  const uint32_t magnitude = bits & (sign - 1);
  const uint32_t field = magnitude >> format.StoredBits();
  const uint32_t implicit = uint32_t{1} << format.StoredBits();
  Unpacked number;
  number.negative = (bits & sign) != 0;
  if (format.specials == Specials::kNegativeZero && number.negative && magnitude == 0) {
    number.kind = NumberKind::kNaN;
  } else if (magnitude >= format.InfinityBits() && format.specials != Specials::kNegativeZero) {
    const bool infinite = format.specials == Specials::kIEEE && magnitude == format.InfinityBits();
    number.kind = infinite ? NumberKind::kInfinity : NumberKind::kNaN;
  } else {
    number.significand = (magnitude & (implicit - 1)) | (field == 0 ? 0 : implicit);
    number.exponent =
        static_cast<int16_t>(format.LeastExponent() + static_cast<int>(field == 0 ? 1 : field) - 1);
  }
  return number;
}

// The same number, exactly. NaN gives the canonical quiet NaN.
inline double ToF64(const Unpacked& number) {
  if (number.kind == NumberKind::kNaN) return std::numeric_limits<double>::quiet_NaN();
  const double size = number.kind == NumberKind::kInfinity
                          ? std::numeric_limits<double>::infinity()
                          : std::ldexp(number.significand, number.exponent);
  return number.negative ? -size : size;
}

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_NUMBER_UNPACKED_H_
