#include "lib/replay/flushed_arithmetic.h"

namespace bitanchor::replay {
namespace {

bool HasZero(const Admissible& x) { return x.low <= 0 && x.high >= 0; }
bool HasInfinity(const Admissible& x) { return std::isinf(x.low) || std::isinf(x.high); }

// Whether some x times some y is inf * 0. (A set has infinity at an end, but zero anywhere.)
bool MayBeZeroTimesInfinity(const Admissible& x, const Admissible& y) {
  return (HasZero(x) && HasInfinity(y)) || (HasInfinity(x) && HasZero(y));
}

// The hull of the operation at all ends, NaN or anything where `may_be_nan`. Operands are neither
// NaN nor anything.
template <typename Operation>
Admissible AtEnds(const Admissible& x, const Admissible& y, bool may_be_nan,
                  const Operation& operation) {
  Admissible hull = operation(x.low, y.low);
  if (x.IsPinned() && y.IsPinned()) return hull;
  if (may_be_nan) return Admissible::Anything();
  hull = Union(hull, operation(x.low, y.high));
  hull = Union(hull, operation(x.high, y.low));
  return Union(hull, operation(x.high, y.high));
}

}  // namespace

Admissible Flush(const Admissible& x) {
  return x.IsNaN() || x.IsAnything() ? x : Admissible(Flush(x.low), Flush(x.high));
}

Admissible Negative(const Admissible& x) {
  return x.IsNaN() || x.IsAnything() ? x : Admissible(-x.high, -x.low);
}

Admissible Add(const Admissible& x, const Admissible& y) {
  if (x.IsNaN()) return x;
  if (y.IsNaN()) return y;
  if (x.IsAnything() || y.IsAnything()) return Admissible::Anything();
  return AtEnds(Flush(x), Flush(y), false, [](float a, float b) { return Flush(a + b); });
}

Admissible Subtract(const Admissible& x, const Admissible& y) { return Add(x, Negative(y)); }

Admissible Multiply(const Admissible& x, const Admissible& y) {
  if (x.IsNaN()) return x;
  if (y.IsNaN()) return y;
  if (x.IsAnything() || y.IsAnything()) return Admissible::Anything();
  const Admissible a = Flush(x), b = Flush(y);
  return AtEnds(a, b, MayBeZeroTimesInfinity(a, b), [](float s, float t) { return Flush(s * t); });
}

Admissible Fma(const Admissible& x, const Admissible& y, const Admissible& z) {
  if (x.IsNaN()) return x;
  if (y.IsNaN()) return y;
  if (z.IsNaN()) return z;
  if (x.IsAnything() || y.IsAnything() || z.IsAnything()) return Admissible::Anything();
  const Admissible a = Flush(x), b = Flush(y), c = Flush(z);
  const auto plus = [&](float third) {
    return AtEnds(a, b, MayBeZeroTimesInfinity(a, b),
                  [&](float s, float t) { return Flush(std::fma(s, t, third)); });
  };
  return c.IsPinned() ? plus(c.low) : Union(plus(c.low), plus(c.high));
}

Admissible Divide(const Admissible& x, const Admissible& y) {
  if (x.IsNaN()) return x;
  if (y.IsNaN()) return y;
  if (x.IsAnything() || y.IsAnything()) return Admissible::Anything();
  const Admissible a = Flush(x), b = Flush(y);
  const bool may_be_nan = HasZero(b) || (HasInfinity(a) && HasInfinity(b));
  return AtEnds(a, b, may_be_nan, [](float s, float t) { return Flush(s / t); });
}

Admissible Max(const Admissible& x, const Admissible& y) {
  if (x.IsNaN()) return Flush(y);
  if (y.IsNaN()) return Flush(x);
  if (x.IsAnything() && y.IsAnything()) return x;
  const float infinity = std::numeric_limits<float>::infinity();
  if (x.IsAnything()) return {Flush(y.low), infinity};
  if (y.IsAnything()) return {Flush(x.low), infinity};
  const auto larger = [](float a, float b) { return Place(a) > Place(b) ? a : b; };
  return Flush(Admissible(larger(x.low, y.low), larger(x.high, y.high)));
}

}  // namespace bitanchor::replay
