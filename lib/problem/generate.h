// Problems drawn from a seed, so that a golden can be kept as a seed and a digest instead of
// tensors.
#ifndef BITANCHOR_LIB_PROBLEM_GENERATE_H_
#define BITANCHOR_LIB_PROBLEM_GENERATE_H_

#include <cstdint>
#include <string_view>

#include "lib/number/format.h"
#include "lib/tensor/tensor_view.h"

namespace bitanchor {

// The draw named gen-1. It uses integer operations only, and each element can be drawn alone.
//
//   Let e be the element's index in the contiguous tensor [B, S, H, D], ((b S + s) H + h) D + d,
//   and t the tensor's number: q 0, k 1, v 2, do 3. Let w be the four words of Philox4x32-10 with
//     key     = (seed mod 2^32, floor(seed / 2^32))
//     counter = (e mod 2^32, floor(e / 2^32), t, 0).
//   Let u be the sum of the eight 16-bit halves of those words, 0 <= u <= 524280, and
//     n = (u - 262140) * 80265.
//   The element is n * 2^-32 rounded once to the nearest bf16; n = 0 gives +0. A tie cannot occur,
//   since the odd factor 80265 alone has 17 bits.
//
// Before rounding, the mean is exactly 0 and the variance exactly 80265^2 (2^32 - 1) 2^-63 / 3
// = 1.0000029... (a sum of eight uniform integers below 2^16 has variance 8 (2^32 - 1) / 12);
// kurtosis is 2.85 where a normal's is 3, and no element is beyond +-4.9. Nonzero elements are at
// least 2^-16 in magnitude, so they are normal numbers in bf16 and f32, and multiples of 2^-23, so
// f16 holds them exactly too: bf16, f16 and f32 problems of one seed hold the same values.
inline constexpr std::string_view kGen1Name = "gen-1";

// The tensor numbers of gen-1.
enum class Gen1Tensor : uint32_t { kQ = 0, kK = 1, kV = 2, kDo = 3 };

// Element e of tensor t, as bf16.
BF16 Gen1Element(uint64_t seed, Gen1Tensor t, uint64_t e);

// Draws the whole tensor. `out` is BF16, F16 or F32 and may have any strides: an element's value
// depends on its logical place alone. Writes the Elements() elements, about 10 ns each on one core,
// and nothing between them.
void FillGen1(uint64_t seed, Gen1Tensor t, MutableTensorView out);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_PROBLEM_GENERATE_H_
