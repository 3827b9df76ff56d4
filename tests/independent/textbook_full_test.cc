// Both engines against tests/independent/textbook.c, bit for bit, over the shapes, masks and values
// that could tell them apart.
#include <gtest/gtest.h>

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
using independent::Visible;
using testing::MakeProblem;
using testing::OwnedProblem;
using testing::Values;

struct Answer {
  std::vector<float> o, lse;  // o [B, Sq, Hq, D] rounded to the problem's dtype
};

Answer Independent(const AttentionProblem& p, bool bf16p) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = p.shape;
  Answer answer{std::vector<float>(B * Sq * Hq * D), std::vector<float>(B * Hq * Sq)};
  std::vector<float> o(Sq * D), lse(Sq);
  for (int64_t b = 0; b < B; ++b) {
    const std::vector<unsigned char> visible = Visible(p.mask, b);
    for (int64_t h = 0; h < Hq; ++h) {
      const int64_t kh = h / (Hq / Hkv);
      textbook(static_cast<int>(Sq), static_cast<int>(Skv), static_cast<int>(D), p.softmax_scale,
               bf16p, Head(p.q, b, h).data(), Head(p.k, b, kh).data(), Head(p.v, b, kh).data(),
               visible.data(), o.data(), lse.data());
      for (int64_t i = 0; i < Sq; ++i) {
        answer.lse[(b * Hq + h) * Sq + i] = Canonical(lse[i]);
        for (int64_t d = 0; d < D; ++d) {
          answer.o[((b * Sq + i) * Hq + h) * D + d] = Rounded(p.dtype, o[i * D + d]);
        }
      }
    }
  }
  return answer;
}

template <typename Forward>
Answer Ours(const AttentionProblem& p, const Forward& forward) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = p.shape;
  (void)Skv, (void)Hkv;
  std::vector<std::byte> bytes(B * Sq * Hq * D * DTypeBytes(p.dtype), std::byte{0x5A});
  const MutableTensorView o = DenseView<std::byte>(p.dtype, bytes.data(), {B, Sq, Hq, D});
  Answer answer{{}, std::vector<float>(B * Hq * Sq, 12345.0f)};
  forward(o, answer.lse.data());
  for (int64_t n = 0; n < B * Sq * Hq * D; ++n) {
    answer.o.push_back(LoadF32(p.dtype, bytes.data() + n * DTypeBytes(p.dtype)));
  }
  return answer;
}

class Textbook : public ::testing::TestWithParam<std::tuple<int, int>> {};  // S, D

TEST_P(Textbook, BothEnginesGiveTheBitsOfThePlainCProgram) {
  const auto [S, D] = GetParam();
  const std::pair<int, int> heads[] = {{1, 1}, {4, 2}, {8, 1}};
  const Values styles[] = {Values::kNormal, Values::kWide, Values::kSubnormal, Values::kInteger};
  const DType dtypes[] = {DType::kBF16, DType::kF16, DType::kF32};
  const auto targets = simd::Targets();
  ASSERT_FALSE(targets.empty());
  uint64_t seed = 1000 * S + D;
  for (const auto& [Hq, Hkv] : heads) {
    for (const Case& mask : Masks()) {
      ++seed;
      const Values style = styles[seed % 4];
      const DType dtype = dtypes[seed % 3];
      OwnedProblem owned = MakeProblem({1, S, S, Hq, Hkv, D}, dtype, mask.mask, style, seed);
      if (seed % 2 == 0) PoisonMaskedKeys(owned);
      const AttentionProblem& p = owned.problem;
      for (const AttentionRecipe& recipe : AttentionRecipes()) {
        const std::string what =
            std::string(recipe.name) + " " + mask.mask_name + " seed " + std::to_string(seed);
        const Answer want = Independent(p, recipe.weights == WeightRounding::kBF16);
        const Answer scalar = Ours(p, [&](const MutableTensorView& o, float* lse) {
          scalar::AttentionForward(p, recipe, o, lse);
        });
        ExpectSameBits(scalar.o, want.o, what + " scalar o");
        ExpectSameBits(scalar.lse, want.lse, what + " scalar lse");
        simd::EngineOptions options;
        options.threads = static_cast<int>(1 + seed % 3);
        options.key_block = 16 << seed % 4;
        options.target = targets[seed % targets.size()].bit;
        const Answer engine = Ours(p, [&](const MutableTensorView& o, float* lse) {
          simd::AttentionForward(p, recipe, options, o, lse);
        });
        ExpectSameBits(engine.o, want.o,
                       what + " simd o on " + simd::RunningTarget(options.target));
        ExpectSameBits(engine.lse, want.lse, what + " simd lse");
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Textbook,
                         ::testing::Combine(::testing::Values(1, 15, 16, 17, 64, 100, 257),
                                            ::testing::Values(8, 64, 80, 128)));

}  // namespace
}  // namespace bitanchor
