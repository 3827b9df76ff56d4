// The turn back through RoPE: what any conforming kernel gives is inside, whichever values inside
// the intervals of the rotated gradient it starts from, rounded to F or not.
#include <gtest/gtest.h>

#include <random>

#include "lib/exact/rope_interval.h"
#include "lib/scalar/rope.h"
#include "tests/support/rope_config.h"

namespace bitanchor {
namespace {

using exact::RopeIntervals;

constexpr int64_t kD = 20;

RopeConfig Config(const RopeRecipe& recipe, RopePairing pairing) {
  return testing::MakeRopeConfig(recipe, RopeType::kDefault, pairing, 16);
}

// The definition's turn back of `row`, which a kernel may have rounded to F before.
std::vector<float> Turn(const RopeConfig& config, DType F, std::vector<float> row,
                        int64_t position) {
  std::vector<std::byte> bytes(kD * DTypeBytes(F));
  for (int64_t d = 0; d < kD; ++d) StoreRounded(F, &bytes[d * DTypeBytes(F)], row[d]);
  const MutableTensorView view = DenseView<std::byte>(F, bytes.data(), {1, 1, 1, kD});
  scalar::ApplyRope(config, *FindRopeRecipe(config.recipe), view, {position}, view,
                    RopeDirection::kBackward);
  for (int64_t d = 0; d < kD; ++d) row[d] = view.At(0, 0, 0, d);
  return row;
}

TEST(RopeGradient, WhateverIsInsideTurnsIntoSomethingInside) {
  std::mt19937_64 random(3);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> share(0, 1);
  for (const RopeRecipe& recipe : RopeRecipes()) {
    for (const DType F : {DType::kBF16, DType::kF16, DType::kF32}) {
      for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
        const RopeConfig config = Config(recipe, pairing);
        const RopeIntervals intervals(config, recipe, F, 2);
        for (int round = 0; round < 20; ++round) {
          const int64_t position = static_cast<int64_t>(random() % 5000);
          const float width = round % 2 == 0 ? 0.0f : 0.01f;
          std::vector<Interval> rotated(kD), turned(kD);
          std::vector<float> inside(kD);
          for (int64_t d = 0; d < kD; ++d) {
            const float x = normal(random);
            rotated[d] = {x, x - width, x + width};
            inside[d] = std::clamp(x + width * (2 * share(random) - 1), x - width, x + width);
          }
          intervals.Gradient(rotated.data(), kD, position, turned.data());
          const std::vector<float> got = Turn(config, F, inside, position);
          for (int64_t d = 0; d < kD; ++d) {
            EXPECT_LE(turned[d].low, got[d]) << recipe.name << " " << DTypeName(F) << " " << d;
            EXPECT_GE(turned[d].high, got[d]) << recipe.name << " " << DTypeName(F) << " " << d;
            // Not far wider than what goes in: |c| + |s| <= sqrt 2, and at most four roundings.
            const double room = F == DType::kBF16 ? 0x1p-5 : F == DType::kF16 ? 0x1p-8 : 1e-5;
            EXPECT_LE(turned[d].high - turned[d].low, 3 * width + 4 * room);
          }
        }
      }
    }
  }
}

TEST(RopeGradient, WhatCannotBeSaidOfOneOfAPairCanOfNeither) {
  const RopeRecipe& recipe = RopeRecipes()[0];
  const RopeConfig config = Config(recipe, RopePairing::kHalf);
  const RopeIntervals intervals(config, recipe, DType::kF32, 2);
  std::vector<Interval> rotated(kD, Interval{1, 1, 1});
  rotated[0] = kUndeterminedInterval;
  rotated[9] = kNaNInterval;
  intervals.Gradient(rotated.data(), kD, 7, rotated.data());
  for (const int64_t d : {0, 8}) EXPECT_GT(rotated[d].low, rotated[d].high);
  for (const int64_t d : {1, 9}) EXPECT_TRUE(std::isnan(rotated[d].low));
  for (const int64_t d : {2, 10, 16}) EXPECT_LE(rotated[d].low, rotated[d].high);
}

}  // namespace
}  // namespace bitanchor
