#include "lib/problem/generate.h"

#include <array>
#include <bit>
#include <cassert>

#include "lib/number/philox.h"

namespace bitanchor {
namespace {

constexpr int32_t kMean = 4 * 0xffff;    // of eight halves, each 0..ffff
constexpr uint64_t kMultiplier = 80265;  // sqrt(3/2) 2^16, so that the variance is 1 at scale 2^-32
constexpr int kScaleBits = 32;           // one unit of the product is 2^-32
constexpr int kBf16Bits = 8, kBias = 127;  // significand with its leading one, and exponent bias

// magnitude * 2^-32 rounded to nearest in bf16; magnitude is a multiple of kMultiplier. That is odd
// and has 17 bits, so what is dropped is never exactly half and no tie needs breaking.
uint16_t RoundToBF16Bits(uint64_t magnitude) {
  if (magnitude == 0) return 0;
  const int exponent = std::bit_width(magnitude) - 1;  // of the leading one
  const int dropped = exponent - (kBf16Bits - 1);      // >= 9, as kMultiplier >= 2^16
  const uint64_t half = uint64_t{1} << (dropped - 1);
  const uint64_t significand = (magnitude + half) >> dropped;  // 2^7..2^8
  // Adding, not inserting, the significand lets a carry to 2^8 raise the exponent as it should.
  const uint64_t field = static_cast<uint64_t>(exponent - kScaleBits + kBias - 1)
                         << (kBf16Bits - 1);
  return static_cast<uint16_t>(field + significand);
}

}  // namespace

BF16 Gen1Element(uint64_t seed, Gen1Tensor t, uint64_t e) {
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed),
                                       static_cast<uint32_t>(seed >> 32)};
  const std::array<uint32_t, 4> counter = {static_cast<uint32_t>(e), static_cast<uint32_t>(e >> 32),
                                           static_cast<uint32_t>(t), 0};
  int32_t sum = -kMean;
  for (const uint32_t word : Philox4x32(counter, key)) {
    sum += static_cast<int32_t>((word & 0xffff) + (word >> 16));
  }
  const uint32_t sign = sum < 0 ? 0x8000 : 0;
  const uint64_t magnitude = static_cast<uint64_t>(sum < 0 ? -sum : sum) * kMultiplier;
  return BF16{static_cast<uint16_t>(sign | RoundToBF16Bits(magnitude))};
}

void FillGen1(uint64_t seed, Gen1Tensor t, MutableTensorView out) {
  assert(out && IsFloat(out.dtype) && out.stride[3] == 1);
  const auto [B, S, H, D] = out.shape;
  const int64_t bytes = static_cast<int64_t>(DTypeBytes(out.dtype));
  uint64_t e = 0;
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t s = 0; s < S; ++s) {
      for (int64_t h = 0; h < H; ++h) {
        std::byte* element = out.Row(b, s, h);
        for (int64_t d = 0; d < D; ++d, ++e, element += bytes) {
          StoreRounded(out.dtype, element, ToF32(Gen1Element(seed, t, e)));
        }
      }
    }
  }
}

}  // namespace bitanchor
