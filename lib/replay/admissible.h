// Sets of f32 numbers that a value may be one of, and what operations make of them.
#ifndef BITANCHOR_LIB_REPLAY_ADMISSIBLE_H_
#define BITANCHOR_LIB_REPLAY_ADMISSIBLE_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>

namespace bitanchor::replay {

// All f32 numbers from low to high, ends included, -0 below +0. Both NaN: NaN, whichever its bits.
// `high` alone a NaN: anything, every number and NaN.
struct Admissible {
  float low = 0, high = 0;

  Admissible() = default;
  Admissible(float x) : low(x), high(x) {}  // NOLINT: a number is a set
  Admissible(float from, float to) : low(from), high(to) {}

  static Admissible Anything() {
    return {-std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()};
  }
  bool IsNaN() const { return std::isnan(low); }
  bool IsAnything() const { return !std::isnan(low) && std::isnan(high); }
  // One number, or NaN.
  bool IsPinned() const;
  bool Contains(float x) const;
};

// The place of a number among all, -0 just below +0: differences count steps. Not of NaN.
inline int64_t Place(float x) {
  const int64_t magnitude = std::bit_cast<uint32_t>(x) & 0x7fffffffu;
  return std::signbit(x) ? -magnitude - 1 : magnitude;
}

inline float AtPlace(int64_t place) {
  return std::bit_cast<float>(place >= 0 ? static_cast<uint32_t>(place)
                                         : 0x80000000u | static_cast<uint32_t>(-place - 1));
}

inline bool Admissible::IsPinned() const {
  return IsNaN() || (!IsAnything() && Place(low) == Place(high));
}

inline bool Admissible::Contains(float x) const {
  if (IsAnything()) return true;
  if (IsNaN() || std::isnan(x)) return IsNaN() && std::isnan(x);
  return Place(low) <= Place(x) && Place(x) <= Place(high);
}

inline Admissible Union(const Admissible& x, const Admissible& y) {
  if (x.IsNaN() && y.IsNaN()) return x;
  if (x.IsNaN() || y.IsNaN() || x.IsAnything() || y.IsAnything()) return Admissible::Anything();
  return {AtPlace(std::min(Place(x.low), Place(y.low))),
          AtPlace(std::max(Place(x.high), Place(y.high)))};
}

}  // namespace bitanchor::replay

#endif  // BITANCHOR_LIB_REPLAY_ADMISSIBLE_H_
