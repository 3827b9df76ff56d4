// What the loops of simd/matrix_unit-inl.h take: operands unpacked for one panel of results.
#ifndef BITANCHOR_SIMD_MATRIX_UNIT_PLAN_H_
#define BITANCHOR_SIMD_MATRIX_UNIT_PLAN_H_

#include <cstddef>
#include <cstdint>

#include "lib/tensor/dtype.h"

namespace bitanchor::simd {

// A panel of results; its products are unpacked so many at a time, a multiple of every group.
constexpr int64_t kPanelRows = 256, kPanelColumns = 128, kPanelProducts = 256;
constexpr int64_t kColumnStep = 64;  // columns that are computed: a multiple of it

// Exponents of operands, in int16. Those of zeros are so low, and those of infinities and NaNs so
// high, that a sum of two says which of them it has.
constexpr int kZeroExponent = -8000, kSpecialExponent = 12000;
constexpr int kNoProduct = -5000;   // all below: one of the factors is zero, and none is special
constexpr int kExponentBias = 127;  // of f32; b's exponents, and so products', are stored with it

// The same below the largest of a panel's a and of its b, in int8, which halves the vectors for
// their maxima: saturated sums of two are exact, and kNarrowZero of a zero.
constexpr int kNarrowZero = -128, kLeastNarrow = -62;

// A chunk of a panel's operands, as UnitGroup has them.
struct UnitChunk {
  int64_t rows, products;  // <= kPanelRows; <= kPanelProducts, a multiple of 16
  int least_exponent;
  const int32_t* a_twice;
  const int16_t* b_exponents;
};

// A group of `products` products a row and column of a panel.
struct UnitGroup {
  int products;            // 4, 8 or 16
  int fraction_bits;       // F
  int least_exponent;      // E is at least this (biased), or the definition is asked
  int64_t rows, columns;   // <= kPanelRows; <= kPanelColumns, a multiple of kColumnStep
  const float* a;          // [rows, kPanelProducts]
  const int32_t* a_twice;  // [rows, kPanelProducts]: their exponents, in both halves of an int32
  const float* b;          // [products, kPanelColumns], aligned
  const int16_t* b_exponents;  // [products, kPanelColumns], aligned
  // The narrow ones, which are used where b_narrow is there.
  const int32_t* a_narrow;  // [rows, kPanelProducts]: four copies
  const int8_t* b_narrow;   // [products, kPanelColumns], aligned
  int base;                 // to be added to a sum
};

// Results of a group that the loops leave to the definition: bit i is column + i.
struct LeftLanes {
  int32_t row, column;
  uint32_t lanes;
};
// At most one for every result of a panel, where a vector has one lane.
constexpr int64_t kMostLeft = kPanelRows * kPanelColumns;

// One target's loops.
struct UnitKernels {
  // Elements of BF16, F16, or F32 as tf32: their values and exponents. count: a multiple of 16.
  void (*unpack_a)(DType dtype, const std::byte* from, int64_t count, float* values,
                   int32_t* exponents_twice);
  void (*unpack_b)(DType dtype, const std::byte* from, int64_t count, float* values,
                   int16_t* exponents);
  // Fills a_narrow and b_narrow. False: some do not fit, or a zero would count for more than
  // least_exponent.
  bool (*narrow)(const UnitChunk& chunk, int32_t* a, int8_t* b, int& base);
  // c [rows, kPanelColumns], aligned, f32, becomes d, but for what is left: that stays. Gives the
  // number of entries in `left`, which has room for kMostLeft. c_high, nullptr or the like, becomes
  // the same products' sum from there; what is left is so in both, and is where they differ in sign
  // or exponent, too: elsewhere a sum from any number between them lies between the two.
  int64_t (*group)(const UnitGroup& group, float* c, float* c_high, LeftLanes* left);
};

// The loops that run on `target` (0: the best).
UnitKernels UnitKernelsOf(int64_t target);

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_MATRIX_UNIT_PLAN_H_
