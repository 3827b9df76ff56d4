// The four 8-bit formats: OCP's E4M3 and E5M2 (OCP 8-bit Floating Point Specification 1.0) and the
// "fnuz" ones that AMD's CDNA3 takes, whose bias is one greater, which have no infinity, one NaN
// (80) and one zero.
#ifndef BITANCHOR_LIB_NUMBER_FLOAT8_H_
#define BITANCHOR_LIB_NUMBER_FLOAT8_H_

#include <cstdint>

#include "lib/number/format.h"
#include "lib/number/unpacked.h"

namespace bitanchor {

// OCP: values to +-448; NaN 7f and ff, no infinity.
struct E4M3 {
  uint8_t bits;
  static constexpr Format kFormat{4, -6, 8, Specials::kNaNAlone};
};

// OCP: an IEEE-style format, values to +-57344.
struct E5M2 {
  uint8_t bits;
  static constexpr Format kFormat{3, -14, 15};
};

// Values to +-240.
struct E4M3FNUZ {
  uint8_t bits;
  static constexpr Format kFormat{4, -7, 7, Specials::kNegativeZero};
};

// Values to +-57344.
struct E5M2FNUZ {
  uint8_t bits;
  static constexpr Format kFormat{3, -15, 15, Specials::kNegativeZero};
};

// One rounding, as RoundBits defines it. NaN gives the canonical one (7f, 7e, 80). Overflow, an
// infinite value included, gives a format without infinity its NaN (E4M3: with the sign, 7f or ff),
// unless it saturates.
template <typename Float8>
Float8 ToFloat8(double value, Rounding rounding = Rounding::kNearestEven, uint32_t random = 0,
                Overflow overflow = Overflow::kByRounding) {
  return {static_cast<uint8_t>(RoundBits(Float8::kFormat, value, rounding, random, overflow))};
}

// Exact. NaN gives the canonical quiet NaN.
template <typename Float8>
float ToF32(Float8 value) {
  // Every one of their values is a normal f32, or zero.
  return static_cast<float>(ToF64(Unpack(Float8::kFormat, value.bits)));
}

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_NUMBER_FLOAT8_H_
