// Binary formats narrower than f64 and the one rounding that leads into each of them.
//
// A format is a row: significant bits and exponent range. RoundBits is the definition of every
// conversion here; the inline nearest-even paths below it are shortcuts that the tests hold to it.
// All of it is integer arithmetic on bit patterns, so a caller that flushes subnormals to zero or
// rounds in another direction cannot change a result.
#ifndef BITANCHOR_LIB_NUMBER_FORMAT_H_
#define BITANCHOR_LIB_NUMBER_FORMAT_H_

#include <bit>
#include <cstdint>

namespace bitanchor {

struct BF16 {
  uint16_t bits;
};

struct F16 {
  uint16_t bits;
};

// IEEE 754-2019 section 4.3, von Neumann's rounding to odd (an inexact result gets its last bit
// set), and stochastic rounding.
enum class Rounding {
  kNearestEven,
  kNearestAway,
  kTowardZero,
  kUp,
  kDown,
  kToOdd,
  kStochastic,
};

// What becomes of a rounded magnitude past the largest finite number, the exponent thought
// unbounded.
enum class Overflow {
  kByRounding,  // infinity in the nearest modes and the stochastic one, the largest finite number
                // in kTowardZero and kToOdd, in kUp and kDown whichever the sign asks for
  kInfinity,  // infinity in every mode
  kSaturate,  // the largest finite number in every mode, of an infinite operand as well
};

// Which codes are no finite numbers.
enum class Specials {
  kIEEE,          // the last exponent: infinities and NaNs
  kNaNAlone,      // OCP E4M3: all ones, NaN; no infinity
  kNegativeZero,  // fnuz: the code of -0, NaN; no infinity and one zero
};

// A binary format: sign, exponent field, precision - 1 stored bits, with subnormals. Normal numbers
// are 1.xxx * 2^e with e in the given range.
struct Format {
  int precision;     // significant bits, the implicit one included
  int min_exponent;  // of the least normal number
  int max_exponent;
  Specials specials = Specials::kIEEE;

  constexpr int StoredBits() const { return precision - 1; }
  constexpr int LeastExponent() const { return min_exponent - StoredBits(); }  // least subnormal
  // The code after the largest finite number's.
  constexpr uint64_t InfinityBits() const {
    return (static_cast<uint64_t>(max_exponent - min_exponent + 2) << StoredBits()) -
           (specials == Specials::kNaNAlone ? 1 : 0);
  }
  constexpr uint64_t CanonicalNaNBits() const {
    return specials == Specials::kIEEE ? InfinityBits() | (uint64_t{1} << (StoredBits() - 1))
                                       : InfinityBits();
  }
  constexpr uint64_t SignBit() const {
    return std::bit_ceil(InfinityBits());  // the bit above the exponent field
  }
};

inline constexpr Format kFormatF64{53, -1022, 1023};
inline constexpr Format kFormatF32{24, -126, 127};
inline constexpr Format kFormatF16{11, -14, 15};
inline constexpr Format kFormatBF16{8, -126, 127};
inline constexpr Format kFormatTF32{11, -126, 127};  // stored in the upper 19 bits of an f32

// Rounds `value` once to `to` (precision at most 24, exponents within f64's normal range) and
// returns the encoding. Subnormals are kept. NaN gives the canonical quiet NaN, sign bit clear.
// Infinities and signed zeros stay as they are in every mode.
//
// Where a format has no infinity, what would be one (an infinite operand too) is a NaN: E4M3's with
// the sign, fnuz's only one. fnuz's zero has no sign.
//
// Stochastic: let the magnitude be (k + d / 2^n) quanta of `to` around it, d the n dropped bits
// (the quantum is that of the subnormals below the least normal number, so n grows there). The
// top min(n, 32) bits of `random` are added to the top min(n, 32) bits of d and the sum is
// truncated: the magnitude goes up exactly when floor(2^32 d / 2^n) + random >= 2^32. Stated so,
// the rule does not depend on the width the value came in. Bits of d below its top 32 are dropped
// unseen (f64 sources and deep subnormals), exact values never move, and random = 0 truncates.
// `random` is not read in the other modes.
uint32_t RoundBits(const Format& to, double value, Rounding rounding, uint32_t random,
                   Overflow overflow = Overflow::kByRounding);

// The same of the number significand * 2^exponent, or its negative. Zero keeps the sign.
uint32_t RoundBits(const Format& to, bool negative, uint64_t significand, int exponent,
                   Rounding rounding, uint32_t random = 0,
                   Overflow overflow = Overflow::kByRounding);

// Exact, and unlike a cast keeps subnormals when the caller treats them as zero.
// NaN gives the canonical quiet NaN.
double ToF64(float value);

// Exact. A NaN keeps its sign and payload, quiet or not: reading is not writing.
inline float ToF32(BF16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

// Exact. A NaN keeps its sign and payload, quiet or not.
inline float ToF32(F16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  uint32_t magnitude = value.bits & 0x7fffu;
  uint32_t bias = 127 - 15;
  if (magnitude >= 0x7c00u) {  // infinity and NaN: exponent 31 becomes 255
    bias = 255 - 31;
  } else if (magnitude < 0x0400u) {  // subnormal: bring the leading bit to the implicit place
    if (magnitude == 0) return std::bit_cast<float>(sign);
    const int shift = std::countl_zero(magnitude) - 21;
    magnitude <<= shift;
    bias -= static_cast<uint32_t>(shift) - 1;
    magnitude -= 0x0400u;
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + (bias << 23)));
}

// NaN becomes the canonical quiet NaN 7fc00000; every other value is returned as it is.
inline float Canonical(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return (bits & 0x7fffffffu) > 0x7f800000u ? std::bit_cast<float>(0x7fc00000u) : value;
}

// One rounding each, as RoundBits defines it.
inline BF16 ToBF16(float value, Rounding rounding = Rounding::kNearestEven, uint32_t random = 0) {
  if (rounding != Rounding::kNearestEven) {
    return {static_cast<uint16_t>(RoundBits(kFormatBF16, ToF64(value), rounding, random))};
  }
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fc0};
  // Below half: no carry. Above: carry. At half: the last kept bit decides. The carry runs from
  // subnormal to normal and from the largest finite number to infinity by itself.
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16)};
}

inline F16 ToF16(float value, Rounding rounding = Rounding::kNearestEven, uint32_t random = 0) {
  if (rounding != Rounding::kNearestEven) {
    return {static_cast<uint16_t>(RoundBits(kFormatF16, ToF64(value), rounding, random))};
  }
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {0x7e00};
  uint32_t rounded = 0x7c00u;
  if (magnitude < 0x38800000u) {  // below 2^-14: whole quanta of 2^-24
    const uint32_t dropped = 126 - (magnitude >> 23);
    const uint32_t significand = (magnitude & 0x007fffffu) | 0x00800000u;
    rounded =
        dropped > 24
            ? 0  // less than half a quantum
            : (significand + (1u << (dropped - 1)) - 1 + ((significand >> dropped) & 1)) >> dropped;
  } else if (magnitude < 0x47800000u) {  // below 2^16; from 65520 on the carry gives infinity
    rounded = (magnitude - ((127u - 15u) << 23) + 0x0fffu + ((magnitude >> 13) & 1)) >> 13;
  }
  return {static_cast<uint16_t>(sign | rounded)};
}

inline BF16 ToBF16(double value, Rounding rounding = Rounding::kNearestEven, uint32_t random = 0) {
  return {static_cast<uint16_t>(RoundBits(kFormatBF16, value, rounding, random))};
}

inline F16 ToF16(double value, Rounding rounding = Rounding::kNearestEven, uint32_t random = 0) {
  return {static_cast<uint16_t>(RoundBits(kFormatF16, value, rounding, random))};
}

inline float RoundToF32(double value, Rounding rounding = Rounding::kNearestEven,
                        uint32_t random = 0) {
  return std::bit_cast<float>(RoundBits(kFormatF32, value, rounding, random));
}

// The TF32 value as the f32 that matrix units take: the 13 low bits are zero.
inline float RoundToTF32(double value, Rounding rounding = Rounding::kNearestEven,
                         uint32_t random = 0) {
  return std::bit_cast<float>(RoundBits(kFormatTF32, value, rounding, random) << 13);
}

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_NUMBER_FORMAT_H_
