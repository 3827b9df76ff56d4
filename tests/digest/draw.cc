#include "tests/digest/draw.h"

#include <cassert>

#include "lib/number/philox.h"

namespace bitanchor::digest {
namespace {

// An IEEE format by its bits.
struct Bits {
  int fraction;  // stored bits of the significand
  int bias;
  uint32_t infinity;

  uint32_t Sign() const { return infinity == 0x7f800000u ? 0x80000000u : 0x8000u; }
  uint32_t FractionMask() const { return (1u << fraction) - 1; }
};

Bits BitsOf(DType dtype) {
  assert(IsFloat(dtype));
  if (dtype == DType::kBF16) return {7, 127, 0x7f80u};
  if (dtype == DType::kF16) return {10, 15, 0x7c00u};
  return {23, 127, 0x7f800000u};
}

// (1 + fraction / 2^bits) 2^exponent, truncated to a subnormal where it must be.
uint32_t Compose(const Bits& bits, int exponent, uint32_t fraction) {
  const int field = exponent + bits.bias;
  fraction &= bits.FractionMask();
  if (field >= 1) return (static_cast<uint32_t>(field) << bits.fraction) | fraction;
  const int shift = 1 - field;
  return shift > bits.fraction ? 0 : (fraction | (1u << bits.fraction)) >> shift;
}

// The sum of eight uniform 16-bit integers, centred, times 80265 2^-32: variance 1, as gen-1's.
uint32_t Normal(DType dtype, const PhiloxCounter& words) {
  int64_t sum = -4 * 0xffff;
  for (const uint32_t word : words) sum += (word & 0xffffu) + (word >> 16);
  const double value = static_cast<double>(sum * 80265) * 0x1p-32;  // both exact
  if (dtype == DType::kBF16) return ToBF16(value).bits;
  if (dtype == DType::kF16) return ToF16(value).bits;
  return std::bit_cast<uint32_t>(RoundToF32(value));
}

int Between(uint32_t word, int low, int high) {
  return low + static_cast<int>(word % static_cast<uint32_t>(high - low + 1));
}

uint32_t Subnormal(const Bits& bits, const PhiloxCounter& words) {
  switch (words[1] % 8) {
    case 0:
    case 1:
      return 0;
    case 2:
    case 3:
      return words[2] & bits.FractionMask();
    case 4:
      return Compose(bits, 1 - bits.bias + Between(words[3], 0, 7), words[2]);
    case 5:
      return Compose(bits, bits.bias == 15 ? Between(words[3], -14, -1) : Between(words[3], -70, 0),
                     words[2]);
    default:
      return Compose(bits, Between(words[3], -1, 1), words[2]);
  }
}

uint32_t Special(const Bits& bits, const PhiloxCounter& words) {
  const uint32_t payload = words[2] & bits.FractionMask();
  return words[3] % 2 == 0 ? bits.infinity : bits.infinity | (payload == 0 ? 1 : payload);
}

}  // namespace

std::string_view Name(Values values) {
  switch (values) {
    case Values::kNormal:
      return "normal";
    case Values::kWide:
      return "wide";
    case Values::kSubnormal:
      return "subnormal";
    case Values::kHuge:
      return "huge";
    case Values::kInteger:
      return "integer";
    case Values::kSpecial:
      return "special";
    case Values::kRareSpecial:
      return "rare-special";
  }
  return "";
}

uint32_t DrawBits(Values values, DType dtype, uint64_t seed, uint64_t index) {
  constexpr uint32_t kStream = 0x64677374;  // "dgst": apart from gen-1's streams
  const auto words =
      Philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), kStream, 0},
                 {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  const Bits bits = BitsOf(dtype);
  const uint32_t sign = words[0] % 2 == 0 ? 0 : bits.Sign();
  const bool half = dtype == DType::kF16;
  switch (values) {
    case Values::kNormal:
      break;
    case Values::kWide:
      return sign |
             Compose(bits, half ? Between(words[1], -20, 3) : Between(words[1], -60, 20), words[2]);
    case Values::kSubnormal:
      return sign | Subnormal(bits, words);
    case Values::kHuge:
      if (words[1] % 2 == 0) break;
      return sign | Compose(bits, Between(words[3], bits.bias - 2, bits.bias), words[2]);
    case Values::kInteger: {
      const uint32_t magnitude = words[1] % 4;
      if (magnitude == 0) return sign;
      return sign |
             Compose(bits, magnitude == 1 ? 0 : 1, magnitude == 3 ? 1u << (bits.fraction - 1) : 0);
    }
    case Values::kSpecial:
      if (words[1] % 64 == 0) return sign | Special(bits, words);
      break;
    case Values::kRareSpecial:
      if (words[1] % 2048 == 0) return sign | Special(bits, words);
      break;
  }
  return Normal(dtype, words);
}

std::vector<std::byte> DrawTensor(Values values, DType dtype, const Shape4& shape, uint64_t seed) {
  const size_t size = DTypeBytes(dtype);
  std::vector<std::byte> bytes(size *
                               static_cast<size_t>(shape[0] * shape[1] * shape[2] * shape[3]));
  for (size_t n = 0; n < bytes.size() / size; ++n) {
    const uint32_t wide = DrawBits(values, dtype, seed, n);
    const uint16_t narrow = static_cast<uint16_t>(wide);
    std::memcpy(&bytes[n * size], size == 4 ? static_cast<const void*>(&wide) : &narrow, size);
  }
  return bytes;
}

}  // namespace bitanchor::digest
