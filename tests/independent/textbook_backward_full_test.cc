// The backward pass against textbook_backward of tests/independent/textbook.c, bit for bit, over
// the shapes, masks and values that could tell the two apart.
#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "lib/scalar/attention.h"
#include "simd/attention.h"
#include "simd/targets.h"
#include "tests/independent/textbook.h"
#include "tests/support/random_problem.h"

namespace bitanchor {
namespace {

using independent::Case;
using independent::ExpectSameBits;
using independent::Head;
using independent::Masks;
using independent::PoisonMaskedKeys;
using independent::Rounded;
using testing::MakeProblem;
using testing::OwnedProblem;
using testing::Values;

// In the shapes of q, k and v, rounded to the problem's dtype.
struct Gradients {
  std::vector<float> dq, dk, dv;
};

void StoreHead(const AttentionProblem& p, const TensorView& like, int64_t b, int64_t h,
               const float* from, std::vector<float>& to) {
  const auto [B, S, H, D] = like.shape;
  (void)B;
  for (int64_t s = 0; s < S; ++s) {
    for (int64_t d = 0; d < D; ++d) {
      to[((b * S + s) * H + h) * D + d] = Rounded(p.dtype, from[s * D + d]);
    }
  }
}

Gradients Independent(const AttentionProblem& p, const TensorView& dout, bool bf16p) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = p.shape;
  const int64_t G = Hq / Hkv;
  Gradients all{std::vector<float>(p.q.Elements()), std::vector<float>(p.k.Elements()),
                std::vector<float>(p.v.Elements())};
  std::vector<float> dq(G * Sq * D), dk(Skv * D), dv(Skv * D);
  for (int64_t b = 0; b < B; ++b) {
    const std::vector<unsigned char> visible = independent::Visible(p.mask, b);
    for (int64_t kh = 0; kh < Hkv; ++kh) {
      std::vector<float> q, douts;
      for (int64_t h = kh * G; h < (kh + 1) * G; ++h) {
        const std::vector<float> q_head = Head(p.q, b, h), dout_head = Head(dout, b, h);
        q.insert(q.end(), q_head.begin(), q_head.end());
        douts.insert(douts.end(), dout_head.begin(), dout_head.end());
      }
      textbook_backward(static_cast<int>(G), static_cast<int>(Sq), static_cast<int>(Skv),
                        static_cast<int>(D), p.softmax_scale, bf16p, q.data(),
                        Head(p.k, b, kh).data(), Head(p.v, b, kh).data(), douts.data(),
                        visible.data(), dq.data(), dk.data(), dv.data());
      for (int64_t g = 0; g < G; ++g)
        StoreHead(p, p.q, b, kh * G + g, dq.data() + g * Sq * D, all.dq);
      StoreHead(p, p.k, b, kh, dk.data(), all.dk);
      StoreHead(p, p.v, b, kh, dv.data(), all.dv);
    }
  }
  return all;
}

// The bytes are painted first, so that one that is not written shows.
template <typename Backward>
Gradients Ours(const AttentionProblem& p, const Backward& backward) {
  const auto painted = [](const TensorView& like) {
    return std::vector<std::byte>(like.Elements() * DTypeBytes(like.dtype), std::byte{0x5A});
  };
  std::vector<std::byte> dq = painted(p.q), dk = painted(p.k), dv = painted(p.v);
  backward(AttentionGradients{DenseView(p.dtype, dq.data(), p.q.shape),
                              DenseView(p.dtype, dk.data(), p.k.shape),
                              DenseView(p.dtype, dv.data(), p.v.shape)});
  const auto loaded = [&](const std::vector<std::byte>& bytes) {
    std::vector<float> out;
    for (size_t n = 0; n < bytes.size(); n += DTypeBytes(p.dtype))
      out.push_back(LoadF32(p.dtype, &bytes[n]));
    return out;
  };
  return {loaded(dq), loaded(dk), loaded(dv)};
}

void ExpectSameGradients(const Gradients& got, const Gradients& want, const std::string& what) {
  ExpectSameBits(got.dq, want.dq, what + " dq");
  ExpectSameBits(got.dk, want.dk, what + " dk");
  ExpectSameBits(got.dv, want.dv, what + " dv");
}

// How many values are finite and not zero: what a comparison of bits says something about.
int64_t Telling(const Gradients& g) {
  const auto count = [](const std::vector<float>& values) {
    return std::count_if(values.begin(), values.end(),
                         [](float x) { return std::isfinite(x) && x != 0; });
  };
  return std::min({count(g.dq), count(g.dk), count(g.dv)});
}

// One NaN in the output's gradient of an early query and an infinity in the last key. What neither
// reaches stays finite, which PoisonMaskedKeys leaves little of.
void PoisonTwoRows(OwnedProblem& owned, std::vector<std::byte>& dout_bytes,
                   const TensorView& dout) {
  AttentionProblem& p = owned.problem;
  const auto [B, Sq, Skv, Hq, Hkv, D] = p.shape;
  const int64_t i = Sq / 4;
  StoreRounded(p.dtype, owned.Element(dout_bytes, dout, B - 1, i, Hq - 1, i % D),
               std::numeric_limits<float>::quiet_NaN());
  StoreRounded(p.dtype, owned.Element(owned.k, p.k, B - 1, Skv - 1, Hkv - 1, i % D),
               std::numeric_limits<float>::infinity());
}

// Compares every recipe; returns what Telling says of the last one.
int64_t ExpectTheBitsOfTheProgram(OwnedProblem& owned, Values style, uint64_t seed,
                                  const std::string& name) {
  const AttentionProblem& p = owned.problem;
  std::mt19937_64 random(seed + 1);
  std::vector<std::byte> dout_bytes;
  TensorView dout;
  testing::Fill(dout_bytes, dout, p.dtype, p.q.shape, style, random);
  // Not by the lowest bits, which choose style and dtype.
  if (seed / 4 % 3 == 1) PoisonMaskedKeys(owned);
  if (seed / 4 % 3 == 2) PoisonTwoRows(owned, dout_bytes, dout);
  int64_t telling = 0;
  for (const AttentionRecipe& recipe : AttentionRecipes()) {
    const std::string what =
        std::string(recipe.name) + " " + name + " seed " + std::to_string(seed);
    const Gradients want = Independent(p, dout, recipe.weights == WeightRounding::kBF16);
    const Gradients scalar = Ours(
        p, [&](const AttentionGradients& out) { scalar::AttentionBackward(p, recipe, dout, out); });
    ExpectSameGradients(scalar, want, what + " scalar");
    const auto targets = simd::Targets();
    simd::EngineOptions options;
    options.threads = static_cast<int>(1 + seed % 3);
    options.key_block = 16 << seed % 4;
    options.target = targets[seed % targets.size()].bit;
    const Gradients engine = Ours(p, [&](const AttentionGradients& out) {
      const simd::AttentionRows rows = simd::AttentionForwardRows(p, recipe, options);
      simd::AttentionBackward(p, recipe, options, rows, dout, out);
    });
    ExpectSameGradients(engine, want, what + " simd on " + simd::RunningTarget(options.target));
    telling = Telling(want);
  }
  return telling;
}

constexpr Values kStyles[] = {Values::kNormal, Values::kWide, Values::kSubnormal, Values::kInteger};
constexpr DType kDTypes[] = {DType::kBF16, DType::kF16, DType::kF32};

class TextbookBackward : public ::testing::TestWithParam<std::tuple<int, int>> {};  // S, D

TEST_P(TextbookBackward, GivesTheBitsOfThePlainCProgram) {
  const auto [S, D] = GetParam();
  const std::pair<int, int> heads[] = {{1, 1}, {4, 2}, {8, 1}};
  uint64_t seed = 1000 * S + D;
  int64_t telling = 0;
  for (const auto& [Hq, Hkv] : heads) {
    for (const Case& mask : Masks()) {
      ++seed;
      const Values style = kStyles[seed % 4];
      OwnedProblem owned =
          MakeProblem({1, S, S, Hq, Hkv, D}, kDTypes[seed % 3], mask.mask, style, seed);
      telling += ExpectTheBitsOfTheProgram(owned, style, seed, mask.mask_name);
    }
  }
  if (S > 1) {  // dS is 0 where one key is all there is
    EXPECT_GT(telling, S * D);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, TextbookBackward,
                         ::testing::Combine(::testing::Values(1, 15, 16, 17, 64, 100, 257),
                                            ::testing::Values(8, 64, 80, 128)));

TEST(TextbookBackwardCorners, BatchesAndUnequalLengths) {
  uint64_t seed = 77;
  int64_t telling = 0;
  for (const auto& [Sq, Skv] : {std::pair{5, 40}, {40, 5}, {1, 70}, {33, 34}}) {
    for (const Corner corner : {Corner::kTopLeft, Corner::kBottomRight}) {
      for (const Case& mask : Masks()) {
        ++seed;
        MaskSpec spec = mask.mask;
        spec.corner = corner;
        const Values style = kStyles[seed % 4];
        OwnedProblem owned =
            MakeProblem({2, Sq, Skv, 6, 2, 12}, kDTypes[seed % 3], spec, style, seed);
        telling += ExpectTheBitsOfTheProgram(owned, style, seed,
                                             std::string(mask.mask_name) + " " +
                                                 std::string(Name(corner)) + " " +
                                                 std::to_string(Sq) + "x" + std::to_string(Skv));
      }
    }
  }
  EXPECT_GT(telling, 1000);
}

}  // namespace
}  // namespace bitanchor
