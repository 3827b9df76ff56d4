// Models of GPU matrix units as data: which arithmetic a unit uses for which input, and its
// constants. lib/matrix_unit/dot_add.h says what the arithmetics mean.
//
// Sources: MMA-Sim (arXiv 2511.10909), and Khattak and Mikaitis, "Accurate Models of NVIDIA Tensor
// Cores" (arXiv 2512.07004), each against hardware. A model is one public source's claim where the
// other is silent; where both speak and differ, `readings` holds both.
#ifndef BITANCHOR_LIB_MATRIX_UNIT_MODEL_H_
#define BITANCHOR_LIB_MATRIX_UNIT_MODEL_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>

#include "lib/number/format.h"
#include "lib/tensor/dtype.h"

namespace bitanchor::matrix_unit {

// How a unit forms c + sum over a group of L products a b.
enum class Arithmetic {
  kTruncatedSum,       // every term, c among them, truncated below the largest one; NVIDIA
  kTruncatedHalves,    // of 32 products, two such sums one after the other from zero, then + c
  kExactSum,           // rounded once; CDNA1
  kFlushedPairs,       // pairwise, every operation rounded and flushed; CDNA2
  kTruncatedThenC,     // products truncated below the largest one, then + c; CDNA3
  kTruncatedParities,  // even and odd products apart, then as kTruncatedThenC; CDNA3
  kFMA,                // one product at a time, rounded once each
};

// No floor under an exponent.
inline constexpr int kNoFloor = std::numeric_limits<int>::min();

// What a public model says about corners that no published evidence decides.
struct Reading {
  int least_exponent = kNoFloor;         // E is at least this
  int zero_product_exponent = kNoFloor;  // a zero product counts as a term of this exponent
  bool products_overflow = false;        // a product of 2^128 or more is an infinity
};

// What a group's result is rounded to, and what c is read from.
struct Result {
  Format format;   // that of the rounding: E8M13 for some
  Format storage;  // that of c and d: f32 or f16
  Rounding rounding;
  uint32_t nan;                       // in storage
  std::span<const Reading> readings;  // at least one; a result on which they differ is undetermined
};

struct Model {
  std::string_view unit;   // "hopper"
  std::string_view input;  // "bf16"; unique within the unit
  DType dtype;             // of a tensor that holds it
  Format format;           // of the tensor's elements
  Format operand;          // what the unit takes them as: exactly, or cut off (tf32)
  Arithmetic arithmetic;
  int products;           // L, the products of a group
  int fraction_bits;      // F: terms are truncated to multiples of 2^(E - F)
  int sum_fraction_bits;  // CDNA3: of the products' sum, where c is added to it
  Result f32;
  std::optional<Result> f16;  // where the unit can write f16
};

// All of them, the models of a unit in a row.
std::span<const Model> Models();
// The names of the units, each once.
std::span<const std::string_view> Units();
// The first model of the unit for tensors of this type, or that named `input` where that is not
// empty; nullptr: none.
const Model* FindModel(std::string_view unit, DType dtype, std::string_view input = {});

}  // namespace bitanchor::matrix_unit

#endif  // BITANCHOR_LIB_MATRIX_UNIT_MODEL_H_
