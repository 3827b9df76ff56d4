#include "lib/matrix_unit/hull.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <optional>

#include "lib/matrix_unit/dot_add.h"
#include "lib/number/ulp.h"

namespace bitanchor::matrix_unit {
namespace {

using Operands = std::span<const Unpacked>;

constexpr int kMostProducts = 32;
constexpr size_t kMostOpen = 8;

bool IsNaN(const Format& format, uint32_t bits) {
  return (bits & (format.SignBit() - 1)) > format.InfinityBits();
}

// The place of a number among all, -0 just below +0: differences count steps.
int64_t Place(const Format& format, uint32_t bits) {
  const int64_t magnitude = static_cast<int64_t>(bits & (format.SignBit() - 1));
  return (bits & format.SignBit()) != 0 ? -magnitude - 1 : magnitude;
}

uint32_t BitsAt(const Format& format, int64_t place) {
  return place >= 0 ? static_cast<uint32_t>(place)
                    : static_cast<uint32_t>(format.SignBit()) | static_cast<uint32_t>(-place - 1);
}

Hull Anything(const Result& result) {
  const Format& format = result.storage;
  return {static_cast<uint32_t>(format.InfinityBits() | format.SignBit()), result.nan};
}

// The hull of the answers that were added.
class Answers {
 public:
  explicit Answers(const Result& result) : result_(result) {}
  void Add(uint32_t bits) {
    if (IsNaN(result_.storage, bits)) {
      nan_ = true;
      return;
    }
    const int64_t place = Place(result_.storage, bits);
    low_ = low_ ? std::min(*low_, place) : place;
    high_ = high_ ? std::max(*high_, place) : place;
  }
  Hull All() const {
    if (nan_) return low_ ? Anything(result_) : Hull{result_.nan, result_.nan};
    return {BitsAt(result_.storage, *low_), BitsAt(result_.storage, *high_)};
  }

 private:
  const Result& result_;
  bool nan_ = false;
  std::optional<int64_t> low_, high_;
};

// A group whose products are known.
struct Group {
  const Model& model;
  const Result& result;
  Operands a, b;

  // The largest exponent of the products that are not zero; kNoFloor: none.
  int LargestExponent() const {
    int largest = kNoFloor;
    for (size_t k = 0; k < a.size(); ++k) {
      if (a[k].significand == 0 || b[k].significand == 0) continue;
      largest = std::max(largest, a[k].exponent + b[k].exponent + 2 * model.operand.StoredBits());
    }
    return largest;
  }

  // By every reading, of one c.
  void Add(uint32_t c, Answers& answers) const {
    bool corner = false, unused = false;
    answers.Add(DotAdd(model, result, result.readings[0], a, b, c, corner));
    for (size_t n = 1; corner && n < result.readings.size(); ++n) {
      answers.Add(DotAdd(model, result, result.readings[n], a, b, c, unused));
    }
  }

  // Of every c from low to high: at both ends of each stretch with one E.
  void Add(Hull c, Answers& answers) const {
    Add(c.low, answers);
    if (c.low == c.high) return;
    Add(c.high, answers);
    const Format& format = result.storage;
    const int64_t low = Place(format, c.low), high = Place(format, c.high);
    // A stretch begins at `place`, another ends before it.
    const auto border = [&](int64_t place) {
      if (place <= low || place > high) return;
      Add(BitsAt(format, place - 1), answers);
      Add(BitsAt(format, place), answers);
    };
    const int E = LargestExponent();
    // From exponent E + 1 on c is the largest term; below it, zero too, E stays what it is.
    const int64_t binade = int64_t{1} << format.StoredBits();
    int64_t first = std::max<int64_t>(int64_t{E} - format.min_exponent + 2, 1);
    if (low >= 0) first = std::max(first, low / binade);
    if (high < 0) first = std::max(first, (-high - 1) / binade);
    const int64_t last = std::max(high, -low - 1) / binade;
    for (int64_t exponent = first; exponent <= last; ++exponent) {
      border(exponent * binade);
      border(-exponent * binade);
    }
    if (E < format.min_exponent) {  // a subnormal c decides E, a zero does not
      border(1);
      border(-1);
    }
  }
};

// Whether nothing lies between two different numbers.
bool AreNeighbours(const Format& format, const Unpacked& low, const Unpacked& high) {
  const double below = ToF64(low), above = ToF64(high);
  if (!(below <= above)) return false;
  const double end = std::ldexp(2.0, format.max_exponent);
  if (std::isinf(above)) return below >= end - UlpOf(format, end);
  if (std::isinf(below)) return above <= UlpOf(format, end) - end;
  return above - below <= std::min(UlpOf(format, below), UlpOf(format, above));
}

// What the real sums of intervals leave to the unit: never narrower than the truth.
Hull WithinErrorBound(const Model& model, const Result& result, Operands a_low, Operands a_high,
                      Operands b, Hull c) {
  const Format& format = result.storage;
  double low = ToF64(Unpack(format, c.low)), high = ToF64(Unpack(format, c.high));
  double sizes = std::max(std::fabs(low), std::fabs(high));
  int E = std::max(Unpack(format, c.low).exponent, Unpack(format, c.high).exponent) +
          format.StoredBits();
  for (const Reading& reading : result.readings) E = std::max(E, reading.least_exponent);
  for (size_t k = 0; k < b.size(); ++k) {
    const double x = ToF64(a_low[k]) * ToF64(b[k]), y = ToF64(a_high[k]) * ToF64(b[k]);
    low += std::min(x, y);
    high += std::max(x, y);
    sizes += std::max(std::fabs(x), std::fabs(y));
    E = std::max(E, std::max(a_low[k].exponent, a_high[k].exponent) + b[k].exponent +
                        2 * model.operand.StoredBits());
  }
  if (!std::isfinite(sizes)) return Anything(result);  // NaN as well
  const double terms = static_cast<double>(b.size() + 1);
  double lost = std::ldexp(terms, E - model.fraction_bits);
  lost += terms * 0x1p-52 * sizes;  // of the sums here, in f64
  lost += 2 * UlpOf(result.format, sizes + lost);
  return {RoundBits(format, low - lost, Rounding::kDown, 0),
          RoundBits(format, high + lost, Rounding::kUp, 0)};
}

}  // namespace

Hull DotAddHull(const Model& model, const Result& result, Operands a_low, Operands a_high,
                Operands b, Hull c) {
  assert(model.arithmetic == Arithmetic::kTruncatedSum);
  const bool low_nan = IsNaN(result.storage, c.low), high_nan = IsNaN(result.storage, c.high);
  if (high_nan && !low_nan) return Anything(result);
  if (low_nan) c.high = c.low;
  std::array<Unpacked, kMostProducts> a;
  std::copy(a_low.begin(), a_low.end(), a.begin());
  std::array<size_t, kMostOpen> open;
  size_t count = 0;
  for (size_t k = 0; k < a_low.size(); ++k) {
    const bool same = a_low[k].kind == a_high[k].kind && a_low[k].negative == a_high[k].negative &&
                      a_low[k].significand == a_high[k].significand &&
                      a_low[k].exponent == a_high[k].exponent;
    if (same) continue;
    if (count == kMostOpen || !AreNeighbours(model.operand, a_low[k], a_high[k])) {
      return WithinErrorBound(model, result, a_low, a_high, b, c);
    }
    open[count++] = k;
  }
  const Group group{model, result, Operands(a).first(a_low.size()), b};
  Answers answers(result);
  for (uint32_t choice = 0; choice < uint32_t{1} << count; ++choice) {
    for (size_t n = 0; n < count; ++n) {
      a[open[n]] = (choice >> n & 1) != 0 ? a_high[open[n]] : a_low[open[n]];
    }
    group.Add(c, answers);
  }
  return answers.All();
}

}  // namespace bitanchor::matrix_unit
