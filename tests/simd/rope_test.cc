// The engine's RoPE against the definition, and both inside the contract's set.
#include "simd/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "lib/exact/rope_interval.h"
#include "lib/scalar/rope.h"
#include "simd/targets.h"
#include "tests/support/random_problem.h"

namespace bitanchor {
namespace {

using testing::Values;

struct Input {
  std::vector<std::byte> bytes;
  TensorView view;
  std::vector<int64_t> positions;
};

Input MakeInput(DType dtype, const Shape4& shape, Values values, uint64_t seed) {
  Input input;
  std::mt19937_64 random(seed);
  testing::Fill(input.bytes, input.view, dtype, shape, values, random);
  for (int64_t n = 0; n < shape[0] * shape[1]; ++n) {
    const int64_t known[] = {0, 1, 8188, 8191, 15962, 65536, 131071, (1 << 24) + 1, INT32_MAX};
    input.positions.push_back(n % 3 == 0 ? known[n / 3 % 9]
                                         : static_cast<int64_t>(random() % 200000));
  }
  return input;
}

RopeConfig Config(const RopeRecipe& recipe, RopeType type, RopePairing pairing, int64_t R) {
  RopeConfig config;
  config.recipe = recipe.name;
  config.type = type;
  config.pairing = pairing;
  config.rotary_dim = R;
  config.rope_theta = type == RopeType::kLlama3 ? 500000 : 10000;
  config.factor = 8;
  return config;
}

TEST(Rope, EngineEqualsDefinitionAndBothAreInTheSet) {
  int64_t pinned = 0, elements = 0;
  for (const RopeRecipe& recipe : RopeRecipes()) {
    for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
      for (const RopeType type : {RopeType::kDefault, RopeType::kLinear, RopeType::kLlama3}) {
        for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
          const Values values =
              pairing == RopePairing::kHalf ? Values::kNormal : Values::kSubnormal;
          const Shape4 shape = {2, 13, 2, 40};
          const Input input = MakeInput(dtype, shape, values, 17);
          const RopeConfig config =
              Config(recipe, type, pairing, type == RopeType::kLinear ? 34 : 40);
          std::vector<std::byte> want(input.bytes.size());
          scalar::ApplyRope(config, recipe, input.view, input.positions,
                            DenseView<std::byte>(dtype, want.data(), shape));
          for (const simd::Target& target : simd::Targets()) {
            simd::EngineOptions options;
            options.target = target.bit;
            std::vector<std::byte> got(want.size());
            simd::ApplyRope(config, recipe, input.view, input.positions, options,
                            DenseView<std::byte>(dtype, got.data(), shape));
            EXPECT_TRUE(got == want)
                << recipe.name << " " << DTypeName(dtype) << " " << target.name;
          }
          const exact::RopeIntervals intervals(config, recipe, dtype, 2);
          const TensorView answer = DenseView<const std::byte>(dtype, want.data(), shape);
          std::vector<Interval> token;
          for (int64_t s = 0; s < shape[1]; ++s) {
            intervals.Token(input.view, 1, s, input.positions[shape[1] + s], token);
            for (int64_t e = 0; e < shape[2] * shape[3]; ++e) {
              const float got = answer.At(1, s, e / shape[3], e % shape[3]);
              if (std::isnan(got)) {  // positions beyond f16: an infinite angle
                EXPECT_TRUE(dtype == DType::kF16 && recipe.angle == StageFormat::kModel);
                EXPECT_TRUE(std::isnan(token[e].low));
                continue;
              }
              EXPECT_EQ(got, static_cast<float>(token[e].want));
              EXPECT_TRUE(token[e].low <= got && got <= token[e].high);
              pinned += dtype == DType::kBF16 && token[e].low == token[e].high;
              elements += dtype == DType::kBF16;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(pinned,
            elements * 95 / 100);  // in bf16 nearly every element has one admissible pattern
}

// Hugging Face issue 29285: with the angle in bf16, positions 8188..8191 all become 8192.
TEST(Rope, LegacyCollapsesPositionsThatTheCurrentRecipeKeepsApart) {
  const Shape4 shape = {1, 4, 1, 64};
  Input input = MakeInput(DType::kBF16, shape, Values::kNormal, 1);
  for (size_t n = 64 * 2; n < input.bytes.size(); ++n)
    input.bytes[n] = input.bytes[n % (64 * 2)];  // one token, repeated
  input.positions = {8188, 8189, 8190, 8191};
  for (const char* name : {"hf-llama-legacy", "hf-llama"}) {
    const RopeRecipe& recipe = *FindRopeRecipe(name);
    const RopeConfig config = Config(recipe, RopeType::kDefault, RopePairing::kHalf, 64);
    std::vector<std::byte> out(input.bytes.size());
    scalar::ApplyRope(config, recipe, input.view, input.positions,
                      DenseView<std::byte>(DType::kBF16, out.data(), shape));
    const bool same = std::equal(out.begin(), out.begin() + 128, out.begin() + 3 * 128);
    EXPECT_EQ(same, recipe.angle == StageFormat::kModel) << name;
  }
}

// A libm an ulp or two off stays inside; the other pairing and a bf16 angle do not.
TEST(Rope, TheSetHoldsOtherLibmsAndRefusesFaults) {
  const RopeRecipe& recipe = *FindRopeRecipe("meta-llama");
  const Shape4 shape = {1, 30, 1, 64};
  const Input input = MakeInput(DType::kBF16, shape, Values::kNormal, 3);
  RopeConfig config = Config(recipe, RopeType::kDefault, RopePairing::kInterleaved, 64);
  const exact::RopeIntervals intervals(config, recipe, DType::kBF16, 2);
  const std::vector<float> inv_freq = InverseFrequencies(config, recipe);
  int64_t outside_other_pairing = 0;
  std::vector<Interval> token;
  for (int64_t s = 0; s < 30; ++s) {
    const int64_t position = input.positions[s];
    intervals.Token(input.view, 0, s, position, token);
    for (int64_t i = 0; i < 32; ++i) {
      const float angle = static_cast<float>(position) * inv_freq[i];
      float c = static_cast<float>(std::cos(static_cast<double>(angle)));
      float n = static_cast<float>(std::sin(static_cast<double>(angle)));
      for (int step = 0; step < (s + i) % 3; ++step) {
        c = std::nextafter(c, i % 2 == 0 ? 2.0f : -2.0f);
        n = std::nextafter(n, i % 4 < 2 ? 2.0f : -2.0f);
      }
      const float x1 = input.view.At(0, s, 0, 2 * i), x2 = input.view.At(0, s, 0, 2 * i + 1);
      const float y1 =
          ToF32(ToBF16(s % 2 == 0 ? std::fma(x1, c, -(x2 * n)) : std::fma(-x2, n, x1 * c)));
      const float y2 = ToF32(ToBF16(s % 2 == 0 ? std::fma(x2, c, x1 * n) : x2 * c + x1 * n));
      EXPECT_TRUE(token[2 * i].low <= y1 && y1 <= token[2 * i].high);
      EXPECT_TRUE(token[2 * i + 1].low <= y2 && y2 <= token[2 * i + 1].high);
    }
    config.pairing = RopePairing::kHalf;
    std::vector<Interval> other;
    exact::RopeIntervals(config, recipe, DType::kBF16, 2).Token(input.view, 0, s, position, other);
    config.pairing = RopePairing::kInterleaved;
    for (int64_t d = 0; d < 64; ++d) {
      outside_other_pairing += other[d].want < token[d].low || other[d].want > token[d].high;
    }
  }
  EXPECT_GT(outside_other_pairing, 1000);
}

}  // namespace
}  // namespace bitanchor
