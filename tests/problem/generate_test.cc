#include "lib/problem/generate.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <vector>

namespace bitanchor {
namespace {

std::vector<uint16_t> Draw(uint64_t seed, Gen1Tensor t, uint64_t first, size_t count) {
  std::vector<uint16_t> bits;
  for (size_t n = 0; n < count; ++n) bits.push_back(Gen1Element(seed, t, first + n).bits);
  return bits;
}

// FNV-1a over the little-endian bytes of the elements.
uint64_t Hash(const std::vector<uint16_t>& values) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const uint16_t value : values) {
    for (const uint32_t byte : {value & 0xffu, uint32_t{value} >> 8}) {
      hash = (hash ^ byte) * 0x100000001b3u;
    }
  }
  return hash;
}

using Bits = std::vector<uint16_t>;

// These bits and hashes come from a program in Python written from the statement in the header with
// rational arithmetic, not from this code. They may never change: that would be a gen-2.
TEST(Gen1, FirstValuesAreGolden) {
  EXPECT_EQ(Draw(7, Gen1Tensor::kQ, 0, 8),
            (Bits{0x3f6e, 0x3ff4, 0xbf3a, 0xc00f, 0x3fd4, 0x3fbe, 0xbfae, 0x3f3f}));
  EXPECT_EQ(Draw(0xfedcba9876543210, Gen1Tensor::kDo, 0, 8),
            (Bits{0xbf9d, 0xbe76, 0xbf27, 0x3f92, 0x3dda, 0x3f82, 0x3f7f, 0xbf6b}));
}

TEST(Gen1, IndicesPast32BitsAreGolden) {
  EXPECT_EQ(Draw(7, Gen1Tensor::kV, uint64_t{1} << 32, 4), (Bits{0x3f71, 0x3fa3, 0x3f30, 0xbe93}));
  EXPECT_EQ(Draw(7, Gen1Tensor::kK, UINT64_MAX, 1), (Bits{0xbf06}));
}

TEST(Gen1, HashesAreGolden) {
  EXPECT_EQ(Hash(Draw(7, Gen1Tensor::kQ, 0, 6144)), 0x8835a02934e0ed16u);
  EXPECT_EQ(Hash(Draw(7, Gen1Tensor::kK, 0, 6144)), 0x53d7523c9fa6d9d6u);
  EXPECT_EQ(Hash(Draw(7, Gen1Tensor::kV, 0, 6144)), 0x90463b2a35052401u);
  EXPECT_EQ(Hash(Draw(7, Gen1Tensor::kDo, 0, 6144)), 0x8140883c612c1a73u);
  EXPECT_EQ(Hash(Draw(0, Gen1Tensor::kQ, 0, 6144)), 0x01bec9175cb908e3u);
  EXPECT_EQ(Hash(Draw(0xfedcba9876543210, Gen1Tensor::kQ, 0, 6144)), 0x8517a974af92c5a8u);
}

constexpr Shape4 kShape = {2, 5, 3, 7};
constexpr int64_t kElements = 2 * 5 * 3 * 7;

// Every dtype and layout holds, at each logical place, the very value of Gen1Element.
TEST(Gen1, TensorsOfEveryDTypeAndLayoutHoldTheSameValues) {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    for (const Layout layout : {Layout::kBSHD, Layout::kBHSD}) {
      std::vector<std::byte> memory(kElements * DTypeBytes(dtype), std::byte{0xff});
      const MutableTensorView out = DenseView(dtype, memory.data(), kShape, layout);
      FillGen1(7, Gen1Tensor::kK, out);
      uint64_t e = 0;
      for (int64_t b = 0; b < kShape[0]; ++b) {
        for (int64_t s = 0; s < kShape[1]; ++s) {
          for (int64_t h = 0; h < kShape[2]; ++h) {
            for (int64_t d = 0; d < kShape[3]; ++d, ++e) {
              const float want = ToF32(Gen1Element(7, Gen1Tensor::kK, e));
              ASSERT_EQ(std::bit_cast<uint32_t>(out.At(b, s, h, d)), std::bit_cast<uint32_t>(want))
                  << DTypeName(dtype) << " " << b << " " << s << " " << h << " " << d;
            }
          }
        }
      }
    }
  }
}

TEST(Gen1, WritesNothingBetweenStridedRows) {
  std::vector<uint16_t> memory(kElements * 2, 0xabcd);
  MutableTensorView out =
      DenseView(DType::kBF16, reinterpret_cast<std::byte*>(memory.data()), kShape);
  for (int n = 0; n < 3; ++n) out.stride[n] *= 2;  // 7 elements of padding after each row
  FillGen1(7, Gen1Tensor::kQ, out);
  for (size_t n = 0; n < memory.size(); ++n) {
    const size_t row = n / 14;
    const size_t d = n % 14;
    const uint16_t want = d < 7 ? Gen1Element(7, Gen1Tensor::kQ, row * 7 + d).bits : 0xabcd;
    ASSERT_EQ(memory[n], want) << n;
  }
}

// Bounds from the statement: normal numbers from 2^-16 to 4.9 or +0, and f16 gives them back
// unchanged.
TEST(Gen1, ValuesAreNormalOrZeroAndExactInF16) {
  for (uint64_t e = 0; e < 1 << 20; ++e) {
    const uint16_t bits = Gen1Element(11, Gen1Tensor::kV, e).bits;
    const float value = ToF32(BF16{bits});
    if (bits != 0) {
      ASSERT_GE(std::fabs(value), 0x1p-16f) << e;
      ASSERT_LE(std::fabs(value), 4.90625f) << e;  // 4.89891... in bf16
    }
    ASSERT_EQ(ToBF16(ToF32(ToF16(value))).bits, bits) << e;
  }
}

// Sample moments of N draws against those of the statement. Each bound is six standard deviations
// of the sample moment (a fixed seed, so it either holds for ever or never did) plus what bf16
// rounding, at most 2^-9 relative and of no bias in sign, can move it.
TEST(Gen1, MomentsAreThoseOfTheStatement) {
  constexpr double kN = 1 << 20;
  constexpr double kRoot = 1 << 10;
  constexpr double kRounding = 0x1p-9;
  std::array<double, 5> moment = {};
  double lagged = 0;
  double across = 0;
  double previous = 0;
  for (uint64_t e = 0; e < 1 << 20; ++e) {
    const double x = ToF32(Gen1Element(3, Gen1Tensor::kQ, e));
    const double y = ToF32(Gen1Element(3, Gen1Tensor::kK, e));
    for (int n = 1; n <= 4; ++n) moment[n] += std::pow(x, n) / kN;
    lagged += x * previous / kN;
    across += x * y / kN;
    previous = x;
  }
  // Var x = 1, Var x^2 = 2.85 - 1; Var x^3 <= E x^6 <= 15 and Var x^4 <= E x^8 <= 105, a normal's.
  EXPECT_NEAR(moment[1], 0, 6 / kRoot + kRounding);
  EXPECT_NEAR(moment[2], 1.000003, 6 * std::sqrt(1.85) / kRoot + 2.01 * kRounding);
  EXPECT_NEAR(moment[3], 0, 6 * std::sqrt(15.0) / kRoot + 3.02 * kRounding * 2);
  EXPECT_NEAR(moment[4], 2.85, 6 * std::sqrt(105.0) / kRoot + 4.03 * kRounding * 2.85);
  // Neighbours, and the same place of two tensors, are uncorrelated: variance 1 a product.
  EXPECT_NEAR(lagged, 0, 6 / kRoot);
  EXPECT_NEAR(across, 0, 6 / kRoot);
}

}  // namespace
}  // namespace bitanchor
