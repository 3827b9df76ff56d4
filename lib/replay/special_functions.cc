#include "lib/replay/special_functions.h"

#include <cassert>

#include "lib/number/elementary.h"
#include "lib/number/format.h"
#include "lib/replay/flushed_arithmetic.h"

namespace bitanchor::replay {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kMostScanned = 4096;

// So many steps around two numbers that are not below +0, subnormal ones flushed.
Admissible Around(float low, float high, int ulp) {
  return Flush(Admissible(AtPlace(std::max<int64_t>(Place(low) - ulp, 0)),
                          AtPlace(std::min(Place(high) + ulp, Place(kInfinity)))));
}

bool Knows(const FunctionTable& table, float x) {
  return std::bit_cast<uint32_t>(x) - table.first < table.values.size();
}

// Whether the table knows any of the numbers from x.low to x.high.
bool KnowsAny(const FunctionTable& table, const Admissible& x) {
  if (table.values.empty()) return false;
  const uint32_t last = table.first + static_cast<uint32_t>(table.values.size() - 1);
  // In each sign the numbers' bits ascend with their magnitude.
  const auto overlaps = [&](uint32_t from, uint32_t to) {
    return from <= to && table.first <= to && last >= from;
  };
  const uint32_t low = std::bit_cast<uint32_t>(x.low), high = std::bit_cast<uint32_t>(x.high);
  const bool negative = std::signbit(x.low), positive = !std::signbit(x.high);
  return (negative && overlaps(positive ? 0x80000000u : high, low)) ||
         (positive && overlaps(negative ? 0 : low, high));
}

// The union of a function over all numbers of a set.
template <typename Function>
Admissible OverAll(const Admissible& x, const Function& function) {
  if (Place(x.high) - Place(x.low) >= kMostScanned) return {0.0f, kInfinity};
  Admissible all = function(x.low);
  for (int64_t place = Place(x.low) + 1; place <= Place(x.high); ++place) {
    all = Union(all, function(AtPlace(place)));
  }
  return all;
}

// 1/x of a positive finite x by a table of [1, 2).
float ScaledReciprocal(const FunctionTable& table, float x) {
  int exponent = 0;
  const float in_1_2 = 2 * std::frexp(x, &exponent);
  const double value = table.values[std::bit_cast<uint32_t>(in_1_2) & 0x7fffffu];
  const double scaled = std::ldexp(value, 1 - exponent);
  return scaled < 0x1p-126 ? 0.0f : static_cast<float>(scaled);
}

}  // namespace

Admissible SpecialFunctions::Exp2(float x) const {
  if (std::isnan(x)) return x;
  x = Flush(x);
  if (x == 0) return 1.0f;
  if (std::isinf(x)) return x > 0 ? kInfinity : 0.0f;
  if (Knows(exp2, x)) return exp2.values[std::bit_cast<uint32_t>(x) - exp2.first];
  const float rounded = number::Exp2(x);
  return Around(rounded, rounded, ulp);
}

Admissible SpecialFunctions::Exp2(const Admissible& x) const {
  if (x.IsAnything()) return x;
  if (x.IsPinned()) return Exp2(x.low);
  const Admissible flushed = Flush(x);
  if (KnowsAny(exp2, flushed)) {
    return OverAll(flushed, [&](float number) { return Exp2(number); });
  }
  return Around(number::Exp2(flushed.low), number::Exp2(flushed.high), ulp);
}

Admissible SpecialFunctions::Reciprocal(float x) const {
  if (std::isnan(x)) return x;
  x = Flush(x);
  if (x == 0 || std::isinf(x)) return 1 / x;
  const float size = std::fabs(x);
  Admissible of_size;
  if (!reciprocal.values.empty()) {
    of_size = ScaledReciprocal(reciprocal, size);
  } else {
    of_size = Around(1 / size, 1 / size, ulp);
  }
  return x > 0 ? of_size : Negative(of_size);
}

Admissible SpecialFunctions::Reciprocal(const Admissible& x) const {
  if (x.IsAnything()) return x;
  if (x.IsPinned()) return Reciprocal(x.low);
  assert(x.low > 0);
  const Admissible flushed = Flush(x);
  if (!reciprocal.values.empty()) {
    return OverAll(flushed, [&](float number) { return Reciprocal(number); });
  }
  return Around(1 / flushed.high, 1 / flushed.low, ulp);
}

Admissible SpecialFunctions::Log2(float x) const {
  if (std::isnan(x)) return x;
  x = Flush(x);
  if (x == 0) return -kInfinity;
  if (x < 0) return std::numeric_limits<float>::quiet_NaN();
  if (std::isinf(x)) return x;
  constexpr double kLn2 = 0x1.62e42fefa39efp-1;
  int exponent = 0;
  const bool power_of_2 = std::frexp(x, &exponent) == 0.5f;
  const double log2 = power_of_2 ? exponent - 1 : number::LogF64(x) / kLn2;
  // LogF64 is within 2^-49, ln 2 and the division within 2^-53 each.
  double error = power_of_2 ? 0 : 0x1p-48 * std::fabs(log2);
  error += log2_error * std::max(1.0, std::fabs(log2));
  if (log2_error == 0) return Flush({RoundToF32(log2 - error), RoundToF32(log2 + error)});
  return Flush(
      {RoundToF32(log2 - error, Rounding::kDown), RoundToF32(log2 + error, Rounding::kUp)});
}

Admissible SpecialFunctions::Log2(const Admissible& x) const {
  if (x.IsAnything()) return x;
  if (x.IsPinned()) return Log2(x.low);
  if (x.low < 0) return Admissible::Anything();
  return Union(Log2(x.low), Log2(x.high));
}

SpecialFunctions CorrectlyRounded() {
  SpecialFunctions functions;
  functions.ulp = 0;
  functions.log2_error = 0;
  return functions;
}

}  // namespace bitanchor::replay
