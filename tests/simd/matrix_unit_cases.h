// Products of matrices for the engine of matrix units, drawn in the ways that matter to it, and the
// comparison with the definition.
#ifndef BITANCHOR_TESTS_SIMD_MATRIX_UNIT_CASES_H_
#define BITANCHOR_TESTS_SIMD_MATRIX_UNIT_CASES_H_

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "lib/matrix_unit/matmul.h"
#include "simd/matrix_unit.h"
#include "simd/targets.h"
#include "tests/matrix_unit/draw.h"

namespace bitanchor::testing {

using matrix_unit::MatMul;

struct Sizes {
  int64_t G, M, K, N;
  int64_t slices = 1;
};

// How the operands of a product are drawn.
enum class Kind {
  kNormal,    // what networks have
  kAnything,  // every row and column in one of Draw's ways: subnormals, large, tiny products
  kSpecials,  // the same with NaNs and infinities here and there, c's too
  kCancel,    // products that cancel each other, and c
  kSameSign,  // factors just below 2, products of one sign: the largest sums
  kZeros,     // most are zeros of both signs, whole rows and columns among them
  kWide,      // exponents far apart
  kTwoSizes,  // one large number a row and column, times 0; the others about 2^-62 of it
  kLowEdge,   // products about 2^-101, where results begin to be subnormal in the loops' way
  kKinds
};

class Product {
 public:
  Product(const Model& model, Kind kind, const Sizes& sizes, uint64_t seed)
      : model_(model),
        kind_(kind),
        sizes_(sizes),
        draw_(model.format, seed),
        random_(seed + 1),
        small_(-61 - static_cast<int>(seed % 6)) {
    const auto [G, M, K, N, slices] = sizes;
    width_ = DTypeBytes(model.dtype);
    a_.resize(static_cast<size_t>(G * M * K) * width_);
    b_.resize(static_cast<size_t>(G * K * N) * width_);
    for (int64_t row = 0; row < G * M; ++row) {
      Line(a_, row * K, 1, K, 0);
    }
    for (int64_t column = 0; column < G * N; ++column) {
      Line(b_, column / N * K * N + column % N, N, K, 1);
    }
    Draw draw_c(kFormatF32, seed + 2);
    const bool from_zero = draw_c.Below(3) == 0;
    const bool specials = kind == Kind::kSpecials || kind == Kind::kZeros;
    for (int64_t n = 0; n < G * M * N; ++n) {
      const uint32_t way = draw_c.Below(Draw::kWays);
      uint32_t c = draw_c.Bits(static_cast<int>(way));
      if (kind == Kind::kNormal || kind == Kind::kCancel || kind == Kind::kSameSign) {
        c = std::bit_cast<uint32_t>(static_cast<float>(normal_(random_)));
      }
      if (from_zero) c = draw_c.Below(4) == 0 ? 0x80000000u : 0;
      if (kind == Kind::kLowEdge) c = c % 0x40000000 / 2 | (c & 0x80000000u);
      if (specials && draw_c.Below(40) == 0) c |= 0x7f800000u;
      c_.push_back(c);
    }
  }

  // Of the f32 result, with c or without.
  MatMul View(bool with_c) const {
    return {.model = &model_,
            .result = &model_.f32,
            .G = sizes_.G,
            .M = sizes_.M,
            .K = sizes_.K,
            .N = sizes_.N,
            .a = a_.data(),
            .b = b_.data(),
            .c = with_c ? reinterpret_cast<const std::byte*>(c_.data()) : nullptr,
            .slices = sizes_.slices};
  }

 private:
  uint32_t FromF64(double x) const {
    return RoundBits(model_.format, x, Rounding::kNearestEven, 0);
  }
  // A row of a (large: 0) or a column of b (1).
  void Line(std::vector<std::byte>& to, int64_t first, int64_t step, int64_t count, int64_t large) {
    const int way = static_cast<int>(draw_.Below(Draw::kWays));
    const bool zeros = kind_ == Kind::kZeros && draw_.Below(4) == 0;
    const bool negate = draw_.Below(2) == 0;
    uint32_t last = 0;
    for (int64_t k = 0; k < count; ++k) {
      uint32_t bits = Element(way);
      if (kind_ == Kind::kTwoSizes && k < 2) bits = FromF64(k == large ? 1 : 0);
      if (negate) bits ^= static_cast<uint32_t>(model_.format.SignBit());
      if (zeros) bits &= static_cast<uint32_t>(model_.format.SignBit());
      if (kind_ == Kind::kCancel && large == 1 && k % 2 == 1)
        bits = last ^ static_cast<uint32_t>(model_.format.SignBit());
      last = bits;
      std::memcpy(to.data() + static_cast<size_t>(first + k * step) * width_, &bits, width_);
    }
  }
  uint32_t Element(int way) {
    const uint32_t sign = static_cast<uint32_t>(model_.format.SignBit());
    const uint32_t infinity = static_cast<uint32_t>(model_.format.InfinityBits());
    const double x = normal_(random_);
    switch (kind_) {
      case Kind::kCancel:  // a's neighbours are alike too
        return FromF64(draw_.Below(8) == 0 ? x : 1.5);
      case Kind::kSameSign:
        return FromF64(2 - std::ldexp(draw_.Below(200) == 0 ? 2 : 1, -model_.operand.StoredBits()));
      case Kind::kZeros:
        return draw_.Below(3) == 0 ? FromF64(x) : draw_.Below(2) * sign;
      case Kind::kWide:
        return FromF64(std::ldexp(x, way % 2 == 0 ? static_cast<int>(draw_.Below(40)) - 24
                                                  : static_cast<int>(draw_.Below(134)) - 126));
      case Kind::kTwoSizes:
        return FromF64(std::ldexp(1 + 0.25 * draw_.Below(4), small_));
      case Kind::kLowEdge:
        return FromF64(std::ldexp(x, -50 - static_cast<int>(draw_.Below(3))));
      case Kind::kSpecials:
        if (draw_.Below(60) == 0) return infinity | draw_.Below(2) * sign | draw_.Below(3);
        return draw_.Bits(way);
      case Kind::kAnything:
        return draw_.Bits(way);
      default:
        return FromF64(x);
    }
  }

  const Model& model_;
  Kind kind_;
  Sizes sizes_;
  Draw draw_;
  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
  int small_;  // kTwoSizes' exponent
  size_t width_ = 0;
  std::vector<std::byte> a_, b_;
  std::vector<uint32_t> c_;
};

struct Answers {
  std::vector<uint32_t> d;
  std::vector<std::byte> undetermined;
  int64_t count = 0;
};

inline Answers Room(const MatMul& product) {
  const size_t size = static_cast<size_t>(product.G * product.M * product.N);
  return {std::vector<uint32_t>(size, 0x12345678), std::vector<std::byte>(size, std::byte{9})};
}

inline Answers ByDefinition(const MatMul& product) {
  Answers answers = Room(product);
  for (int64_t g = 0; g < product.G; ++g) {
    answers.count +=
        PredictBlock(product, {g, 0, 0, product.M, product.N},
                     reinterpret_cast<std::byte*>(answers.d.data()), answers.undetermined.data());
  }
  return answers;
}

inline Answers ByEngine(const MatMul& product, const simd::EngineOptions& options) {
  Answers answers = Room(product);
  answers.count = simd::MatMul(product, options, reinterpret_cast<std::byte*>(answers.d.data()),
                               answers.undetermined.data());
  return answers;
}

inline void ExpectSame(const Answers& got, const Answers& want, const std::string& what) {
  for (size_t n = 0; n < want.d.size(); ++n) {
    ASSERT_EQ(got.d[n], want.d[n])
        << what << " at " << n << std::hex << ": got " << got.d[n] << ", want " << want.d[n];
    ASSERT_EQ(got.undetermined[n], want.undetermined[n]) << what << " at " << n;
  }
  ASSERT_EQ(got.count, want.count) << what;
}

// On one thread of each target; `what` stands behind the target's name.
inline void ExpectOfEveryTarget(const MatMul& product, const Answers& want,
                                const std::string& what) {
  for (const simd::Target& target : simd::Targets()) {
    simd::EngineOptions options;
    options.target = target.bit;
    options.threads = 1;
    ExpectSame(ByEngine(product, options), want, target.name + what);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

inline std::vector<Model> ModelsOnLanes() {
  std::vector<Model> models;
  for (const Model& model : matrix_unit::Models()) {
    if (simd::OnLanes(model, model.f32)) models.push_back(model);
  }
  return models;
}

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_SIMD_MATRIX_UNIT_CASES_H_
