// Values for the digest's cases. Integer arithmetic on Philox words only, so that every machine
// draws the same bits; the cases draw/... of the digest file check that on its own.
#ifndef BITANCHOR_TESTS_DIGEST_DRAW_H_
#define BITANCHOR_TESTS_DIGEST_DRAW_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "lib/tensor/tensor_view.h"

namespace bitanchor::digest {

// Every value is one of the dtype it is drawn for.
enum class Values {
  kNormal,       // about N(0, 1), every bit of the significand random
  kWide,         // exponents from 2^-60 to 2^20 (f16: 2^-20 to 2^3)
  kSubnormal,    // subnormals, zeros of both signs, the least normal numbers, some around 1
  kHuge,         // half of them within a factor 8 of the largest finite number
  kInteger,      // -3..3, zeros of both signs: ties and cancellations
  kSpecial,      // normal, but one in 64 is an infinity or a NaN of any sign and payload
  kRareSpecial,  // the same, one in 2048
};

std::string_view Name(Values values);

// Element `index` of the stream `seed` as the bits of `dtype`, in the low bits.
uint32_t DrawBits(Values values, DType dtype, uint64_t seed, uint64_t index);

// A dense tensor [B, S, H, D] of the stream `seed`, in the host's byte order.
std::vector<std::byte> DrawTensor(Values values, DType dtype, const Shape4& shape, uint64_t seed);

}  // namespace bitanchor::digest

#endif  // BITANCHOR_TESTS_DIGEST_DRAW_H_
