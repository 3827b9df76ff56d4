// Exact sums of signed numbers, for definitions that round once at the end.
#ifndef BITANCHOR_LIB_NUMBER_FIXED_POINT_H_
#define BITANCHOR_LIB_NUMBER_FIXED_POINT_H_

#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "lib/number/format.h"

namespace bitanchor {

// A multiple of 2^-320 between -2^319 and 2^319: room for any few products of f32 numbers.
class FixedPoint {
 public:
  // Adds significand * 2^exponent, or subtracts it.
  void Add(bool negative, uint64_t significand, int exponent) {
    const int shift = exponent - kLeastExponent;
    assert(shift >= 0 && shift < 64 * (static_cast<int>(kDigits) - 1));
    const size_t at = static_cast<size_t>(shift / 64);
    const int up = shift % 64;
    const uint64_t parts[] = {significand << up, up == 0 ? 0 : significand >> (64 - up)};
    uint64_t carry = 0;
    for (size_t i = at; i < kDigits; ++i) {
      const uint64_t part = i - at < 2 ? parts[i - at] : 0;
      const unsigned __int128 sum = negative
                                        ? static_cast<unsigned __int128>(digits_[i]) - part - carry
                                        : static_cast<unsigned __int128>(digits_[i]) + part + carry;
      digits_[i] = static_cast<uint64_t>(sum);
      carry = static_cast<uint64_t>(sum >> 64) & 1;
    }
  }

  bool IsZero() const {
    for (const uint64_t digit : digits_) {
      if (digit != 0) return false;
    }
    return true;
  }

  // Rounded once to `to`, as RoundBits defines it. Zero gives +0.
  uint32_t Round(const Format& to, Rounding rounding) const {
    if (IsZero()) return 0;
    const bool negative = (digits_.back() >> 63) != 0;
    std::array<uint64_t, kDigits> size = digits_;
    if (negative) {
      uint64_t carry = 1;
      for (uint64_t& digit : size) {
        digit = ~digit + carry;
        carry = carry != 0 && digit == 0;
      }
    }
    size_t top = kDigits - 1;
    while (size[top] == 0) --top;
    // The leading 64 bits; whether anything is below them goes into their last.
    const int empty = std::countl_zero(size[top]);
    const uint64_t next = top == 0 ? 0 : size[top - 1];
    uint64_t leading = size[top] << empty;
    if (empty != 0) leading |= next >> (64 - empty);
    bool below = (next << empty) != 0;
    for (size_t i = 0; i + 1 < top; ++i) below |= size[i] != 0;
    return RoundBits(to, negative, leading | static_cast<uint64_t>(below),
                     kLeastExponent + 64 * static_cast<int>(top) - empty, rounding);
  }

 private:
  static constexpr int kLeastExponent = -320;
  static constexpr size_t kDigits = 10;
  std::array<uint64_t, kDigits> digits_ = {};  // two's complement, the least digit first
};

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_NUMBER_FIXED_POINT_H_
