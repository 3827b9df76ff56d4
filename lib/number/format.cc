#include "lib/number/format.h"

#include <algorithm>
#include <cassert>

namespace bitanchor {
namespace {

constexpr uint64_t kF64FractionMask = (uint64_t{1} << 52) - 1;
constexpr uint64_t kF64NaN = 0x7ff8000000000000u;

// A magnitude of `kept` + `significand's low `dropped` bits` / 2^dropped quanta.
struct Split {
  uint64_t kept;
  uint64_t significand;
  int dropped;  // at least 1

  bool Inexact() const {
    return dropped >= 64 ? significand != 0 : (significand & ((uint64_t{1} << dropped) - 1)) != 0;
  }
  // The top 32 of the dropped bits, zeros appended if there are fewer.
  uint32_t Fraction32() const {
    if (dropped <= 32) return static_cast<uint32_t>(significand << (32 - dropped));
    return dropped - 32 >= 64 ? 0 : static_cast<uint32_t>(significand >> (dropped - 32));
  }
  bool AtLeastHalf() const { return dropped <= 64 && ((significand >> (dropped - 1)) & 1) != 0; }
  bool AboveHalf() const {
    return AtLeastHalf() && (significand & ((uint64_t{1} << (dropped - 1)) - 1)) != 0;
  }
};

uint64_t RoundMagnitude(const Split& split, bool negative, Rounding rounding, uint32_t random) {
  switch (rounding) {
    case Rounding::kNearestEven:
      return split.kept + (split.AboveHalf() || (split.AtLeastHalf() && (split.kept & 1) != 0));
    case Rounding::kNearestAway:
      return split.kept + split.AtLeastHalf();
    case Rounding::kTowardZero:
      return split.kept;
    case Rounding::kUp:
      return split.kept + (!negative && split.Inexact());
    case Rounding::kDown:
      return split.kept + (negative && split.Inexact());
    case Rounding::kToOdd:
      return split.kept | static_cast<uint64_t>(split.Inexact());
    case Rounding::kStochastic:
      return split.kept + ((uint64_t{split.Fraction32()} + random) >> 32);
  }
  assert(false && "unknown rounding mode");
  return split.kept;
}

// What stands for a magnitude that is too large, infinity among them.
uint64_t OverflowBits(const Format& to, bool negative, Rounding rounding, Overflow overflow) {
  const bool directed = rounding == Rounding::kTowardZero || rounding == Rounding::kToOdd ||
                        (rounding == Rounding::kUp && negative) ||
                        (rounding == Rounding::kDown && !negative);
  const bool finite =
      overflow == Overflow::kSaturate || (overflow == Overflow::kByRounding && directed);
  return to.InfinityBits() - finite;
}

uint32_t Signed(const Format& to, bool negative, uint64_t magnitude) {
  const bool unsigned_zero = to.specials == Specials::kNegativeZero && magnitude == 0;
  const uint64_t sign = negative && !unsigned_zero ? to.SignBit() : 0;
  return static_cast<uint32_t>(sign | magnitude);
}

}  // namespace

uint32_t RoundBits(const Format& to, bool negative, uint64_t significand, int exponent,
                   Rounding rounding, uint32_t random, Overflow overflow) {
  if (significand == 0) return Signed(to, negative, 0);
  const int leading = 63 - std::countl_zero(significand);
  // The quantum stops shrinking at the least normal exponent: subnormals.
  const int result_exponent = std::max(exponent + leading, to.min_exponent);
  const int dropped = (result_exponent - to.StoredBits()) - exponent;
  uint64_t rounded = 0;  // in quanta
  if (dropped <= 0) {
    rounded = significand << -dropped;
  } else {
    const Split split{dropped >= 64 ? 0 : significand >> dropped, significand, dropped};
    rounded = RoundMagnitude(split, negative, rounding, random);
  }
  // Adding the significand with its implicit bit onto an exponent field that is one too small
  // encodes subnormals, normals and the carry between any two binades alike.
  const uint64_t encoded =
      (static_cast<uint64_t>(result_exponent - to.min_exponent) << to.StoredBits()) + rounded;
  if (encoded < to.InfinityBits()) return Signed(to, negative, encoded);
  return Signed(to, negative, OverflowBits(to, negative, rounding, overflow));
}

uint32_t RoundBits(const Format& to, double value, Rounding rounding, uint32_t random,
                   Overflow overflow) {
  const uint64_t bits = std::bit_cast<uint64_t>(value);
  const bool negative = (bits >> 63) != 0;
  const int exponent_field = static_cast<int>((bits >> 52) & 0x7ff);
  const uint64_t fraction = bits & kF64FractionMask;
  if (exponent_field == 0x7ff) {
    if (fraction != 0) return static_cast<uint32_t>(to.CanonicalNaNBits());
    return Signed(to, negative, to.InfinityBits() - (overflow == Overflow::kSaturate));
  }
  // An f64 subnormal has no implicit bit.
  const uint64_t significand = exponent_field == 0 ? fraction : fraction | (uint64_t{1} << 52);
  return RoundBits(to, negative, significand, std::max(exponent_field, 1) - 1023 - 52, rounding,
                   random, overflow);
}

double ToF64(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint64_t sign = static_cast<uint64_t>(bits >> 31) << 63;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return std::bit_cast<double>(kF64NaN);
  uint64_t wide = static_cast<uint64_t>(magnitude) << 29;
  if (magnitude == 0x7f800000u) {
    wide = uint64_t{0x7ff} << 52;
  } else if (magnitude >= 0x00800000u) {
    wide += uint64_t{1023 - 127} << 52;
  } else if (magnitude != 0) {  // subnormal in f32, normal in f64
    const int shift = std::countl_zero(magnitude) - 8;
    wide = (wide << shift) + (static_cast<uint64_t>(1023 - 127 - shift) << 52);
  }
  return std::bit_cast<double>(sign | wide);
}

}  // namespace bitanchor
