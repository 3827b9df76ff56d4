// What the tests of all models share: their names, and operands in the ways that matter.
#ifndef BITANCHOR_TESTS_MATRIX_UNIT_DRAW_H_
#define BITANCHOR_TESTS_MATRIX_UNIT_DRAW_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "lib/matrix_unit/model.h"

namespace bitanchor::matrix_unit {

inline void PrintTo(const Model& model, std::ostream* out) {
  *out << model.unit << " " << model.input;
}

}  // namespace bitanchor::matrix_unit

namespace bitanchor::testing {

using matrix_unit::Model;
using matrix_unit::Result;

inline std::string NameOf(const Model& model) {
  std::string name = std::string(model.unit) + "_" + std::string(model.input);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

inline std::vector<const Result*> Results(const Model& model) {
  std::vector<const Result*> results = {&model.f32};
  if (model.f16) results.push_back(&*model.f16);
  return results;
}

inline uint32_t StoredBits(const Result& result, double x) {
  if (std::isnan(x)) return result.nan;
  return RoundBits(result.storage, x, Rounding::kNearestEven, 0);
}

// Bits of finite numbers of a format, in some of the ways that matter.
class Draw {
 public:
  Draw(const Format& format, uint64_t seed) : format_(format), random_(seed) {}
  enum Way { kAny, kSubnormal, kNear, kLarge, kTinyProducts, kWays };

  uint32_t Bits(int way) {
    const uint32_t finite = static_cast<uint32_t>(format_.InfinityBits());
    const uint32_t normal = uint32_t{1} << format_.StoredBits();
    const uint32_t one = static_cast<uint32_t>(-format_.min_exponent + 1) * normal;
    uint32_t magnitude = Below(finite);
    if (way == kSubnormal) magnitude = Below(3 * normal);
    if (way == kNear) magnitude = std::min(one - 2 * normal + Below(4 * normal), finite - 1);
    if (way == kTinyProducts) {  // around f32's least numbers, where the format has such
      const int exponent = -62 - static_cast<int>(Below(14));
      if (exponent > format_.min_exponent) {
        magnitude =
            static_cast<uint32_t>(exponent - format_.min_exponent + 1) * normal + Below(normal);
      }
    }
    if (way == kLarge) magnitude = finite - 1 - Below(2 * normal);
    if (Below(9) == 0) magnitude &= ~(normal - 1) | (normal >> 1);  // few bits: ties
    if (Below(12) == 0) magnitude = 0;
    const uint32_t sign = Below(2) == 0 ? 0 : static_cast<uint32_t>(format_.SignBit());
    const bool unsigned_zero = format_.specials == Specials::kNegativeZero && magnitude == 0;
    return magnitude | (unsigned_zero ? 0 : sign);
  }
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

 private:
  Format format_;
  std::mt19937_64 random_;
};

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_MATRIX_UNIT_DRAW_H_
