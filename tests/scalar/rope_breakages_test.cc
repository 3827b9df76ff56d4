// Ways in which real implementations broke RoPE, each reproduced by the recipe or the tables that
// broke it. A number here was measured by this test; where a report says another one, so is said
// why.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "lib/number/elementary.h"
#include "lib/recipe/rope_recipe.h"
#include "lib/scalar/rope.h"
#include "tests/support/random_problem.h"
#include "tests/support/rope_config.h"

namespace bitanchor {
namespace {

constexpr DType kBF16 = DType::kBF16, kF16 = DType::kF16, kF32 = DType::kF32;

const RopeRecipe& Recipe(const char* name) { return *FindRopeRecipe(name); }

RopeConfig ConfigOf(const char* recipe, double theta, int64_t R) {
  return testing::MakeRopeConfig(Recipe(recipe), R, theta);
}

float AngleOf(const RopeConfig& config, DType F, int64_t position, int64_t i) {
  const RopeRecipe& recipe = Recipe(config.recipe.c_str());
  return Angle(recipe, F, position, AngleOperands(config, recipe, F)[i], i);
}

// [1, S, 1, D] of `in` rotated.
std::vector<float> Rotated(const RopeConfig& config, const TensorView& in,
                           const std::vector<int64_t>& positions) {
  const auto [B, S, H, D] = in.shape;
  std::vector<std::byte> bytes(static_cast<size_t>(S * D) * DTypeBytes(in.dtype));
  const MutableTensorView out = DenseView<std::byte>(in.dtype, bytes.data(), in.shape);
  scalar::ApplyRope(config, Recipe(config.recipe.c_str()), in, positions, out);
  std::vector<float> values;
  for (int64_t n = 0; n < S * D; ++n) {
    values.push_back(
        LoadF32(in.dtype, bytes.data() + n * static_cast<int64_t>(DTypeBytes(in.dtype))));
  }
  return values;
}

// transformers pull request 29285 (Llama before 4.38): a bf16 buffer makes position 8188 8192.
TEST(RopeBreakages, Transformers29285PositionsOfBF16Collapse) {
  const RopeConfig config = ConfigOf("hf-llama-legacy", 10000, 128);
  for (const int64_t position : {8188, 8189, 8190, 8191}) {
    EXPECT_EQ(AngleOf(config, kBF16, position, 0), 8192);
    EXPECT_EQ(AngleOf(ConfigOf("hf-llama", 10000, 128), kBF16, position, 0),
              static_cast<float>(position));
  }
}

// The same through the whole rotation: one token at these positions is rotated alike.
TEST(RopeBreakages, Transformers29285TokensAreRotatedAlike) {
  std::vector<std::byte> bytes;
  TensorView in;
  std::mt19937_64 random(1);
  testing::Fill(bytes, in, kBF16, {1, 4, 1, 64}, testing::Values::kNormal, random);
  for (size_t n = 64 * 2; n < bytes.size(); ++n) bytes[n] = bytes[n % (64 * 2)];
  for (const char* name : {"hf-llama-legacy", "hf-llama"}) {
    const std::vector<float> out = Rotated(ConfigOf(name, 10000, 64), in, {8188, 8189, 8190, 8191});
    const bool same = std::equal(out.begin(), out.begin() + 64, out.begin() + 3 * 64);
    EXPECT_EQ(same, Recipe(name).operands == StageFormat::kModel) << name;
  }
}

// GPT-NeoX issue 1003, its reproducer (dim 32, base 10000): f16 angles.
TEST(RopeBreakages, NeoX1003AngleOfF16) {
  EXPECT_NEAR(AngleOf(ConfigOf("gpt-neox", 10000, 32), kF16, 1857, 1), 1044.2678, 0.0001);
  EXPECT_EQ(AngleOf(ConfigOf("hf-llama-legacy", 10000, 32), kF16, 1857, 1), 1045);
}

// candle pull request 3520 (Qwen2). It says that 15962 becomes 15936 or 15968 at a granularity of
// 16; bf16 has steps of 64 there, so that the neighbours are 15936 and 16000, and no bf16 is 15968.
TEST(RopeBreakages, Candle3520Position15962) {
  EXPECT_EQ(AngleOf(ConfigOf("candle-qwen2", 1000000, 128), kBF16, 15962, 0), 15936);
  EXPECT_EQ(AngleOf(ConfigOf("candle-qwen2", 1000000, 128), kBF16, 15969, 0), 16000);
  EXPECT_NE(RoundTo(kBF16, 15968), 15968);
  EXPECT_EQ(AngleOf(ConfigOf("candle-qwen3", 1000000, 128), kBF16, 15962, 0), 15962);
  // The angle of pair 0 is the position. (The report's own cosines are others.)
  EXPECT_NEAR(number::Cos(15962), -0.9080, 0.0001);
  EXPECT_NEAR(number::Cos(15936), -0.2680, 0.0001);
}

// diffusers pull request 13922: under autocast the matrix product of positions and frequencies is
// one of bf16, and 65536 up to 65536 + 256 are one position; from 65536 on steps are 512.
TEST(RopeBreakages, Diffusers13922PositionsCollapseBy512) {
  const RopeConfig config = ConfigOf("hf-llama-legacy", 10000, 128);
  std::vector<float> angles;
  for (int64_t position = 65536; position < 131072; ++position) {
    const float angle = Angle(Recipe("hf-llama-legacy"), kBF16, position, 1.0f, 0);
    if (angles.empty() || angle != angles.back()) angles.push_back(angle);
  }
  EXPECT_EQ(angles.size(), 65536u / 512 + 1);
  for (size_t n = 0; n < angles.size(); ++n) EXPECT_EQ(angles[n], 65536 + 512 * n);
  EXPECT_EQ(AngleOf(config, kBF16, 65536 + 256, 0), 65536);
}

// sglang-jax issue 1472, pull request 1473: frequencies cast to bf16, positions f32. At position
// 4095 72 of 128 outputs differ from the f32-phase reference, the largest by 0.828125 (in bf16;
// 0.826171875 before that difference is rounded). Its input is not in the report; with x_d = d/128
// and base 1e6 both numbers come out.
TEST(RopeBreakages, SglangJax1473FrequenciesOfBF16) {
  const RopeConfig right = ConfigOf("hf-llama", 1000000, 128);
  RopeConfig wrong = right;
  wrong.inv_freq = InverseFrequencies(right, Recipe("hf-llama"));
  for (float& f : wrong.inv_freq) f = RoundTo(kBF16, f);
  std::vector<std::byte> bytes(256);
  for (int d = 0; d < 128; ++d) {
    StoreRounded(kBF16, &bytes[2 * d], static_cast<float>(d) / 128);
  }
  const TensorView in = DenseView<const std::byte>(kBF16, bytes.data(), {1, 1, 1, 128});
  const std::vector<float> want = Rotated(right, in, {4095}), got = Rotated(wrong, in, {4095});
  int mismatched = 0;
  float largest = 0;
  for (int d = 0; d < 128; ++d) {
    mismatched += got[d] != want[d];
    largest = std::max(largest, std::fabs(got[d] - want[d]));
  }
  EXPECT_EQ(mismatched, 72);
  EXPECT_EQ(largest, 0.826171875f);
  EXPECT_EQ(RoundTo(kBF16, largest), 0.828125f);
}

// flash-attention issue 823: bf16 tables give "as much as 24% relative error", f32 ones the very
// bits of f32 arithmetic cast at the end. The report's data is not public; where x1 c and x2 s
// cancel there is no bound, and of these 65,536 elements of normal q some 80 are off by more than
// 24%.
TEST(RopeBreakages, FlashAttention823TablesOfBF16) {
  const Shape4 shape = {1, 512, 1, 128};
  std::mt19937_64 random(1);
  std::vector<std::byte> bytes;
  TensorView in;
  testing::Fill(bytes, in, kBF16, shape, testing::Values::kNormal, random);
  std::vector<std::byte> wide(shape[1] * shape[3] * 4);
  for (int64_t n = 0; n < shape[1] * shape[3]; ++n) {
    StoreRounded(kF32, &wide[4 * n], LoadF32(kBF16, &bytes[2 * n]));
  }
  std::vector<int64_t> positions(shape[1]);
  for (int64_t s = 0; s < shape[1]; ++s) positions[s] = s;
  const std::vector<float> exact =
      Rotated(ConfigOf("hf-olmo2", 10000, 128),
              DenseView<const std::byte>(kF32, wide.data(), shape), positions);
  const std::vector<float> narrow = Rotated(ConfigOf("flash-attn", 10000, 128), in, positions);
  const std::vector<float> f32 = Rotated(ConfigOf("hf-olmo2", 10000, 128), in, positions);
  int64_t far = 0;
  for (size_t n = 0; n < exact.size(); ++n) {
    ASSERT_EQ(f32[n], RoundTo(kBF16, exact[n]));
    far += std::fabs(static_cast<double>(narrow[n]) / exact[n] - 1) > 0.24;
  }
  EXPECT_GT(far, 50);
}

// Unsloth's Gemma: a division by a timescale is not a product with its inverse.
TEST(RopeBreakages, UnslothDivisionIsNoProduct) {
  const RopeConfig division = ConfigOf("unsloth-gemma", 10000, 256),
                   product = ConfigOf("hf-olmo2", 10000, 256);
  const std::vector<float> timescales = AngleOperands(division, Recipe("unsloth-gemma"), kF32),
                           frequencies = AngleOperands(product, Recipe("hf-olmo2"), kF32);
  int64_t differ = 0, angles = 0;
  for (int64_t position = 0; position < 8192; ++position) {
    for (int64_t i = 0; i < 128; ++i, ++angles) {
      differ += Angle(Recipe("unsloth-gemma"), kF32, position, timescales[i], i) !=
                Angle(Recipe("hf-olmo2"), kF32, position, frequencies[i], i);
    }
  }
  EXPECT_GT(differ, angles / 4);
  EXPECT_LT(differ, angles / 2);
}

// bf16 tables (base 10000, 128 dimensions, positions below 4096) turn and stretch: the largest
// |c^2 + s^2 - 1| is 0.00551, at position 237 of pair 32. (0.0054 as it is quoted.)
TEST(RopeBreakages, TablesOfBF16AreNoRotation) {
  const RopeConfig config = ConfigOf("hf-llama", 10000, 128);
  const std::vector<float> frequencies = AngleOperands(config, Recipe("hf-llama"), kBF16);
  double worst = 0;
  int64_t at = 0, pair = 0;
  for (int64_t position = 0; position < 4096; ++position) {
    for (int64_t i = 0; i < 64; ++i) {
      const float angle = Angle(Recipe("hf-llama"), kBF16, position, frequencies[i], i);
      const double c = RoundTo(kBF16, number::Cos(angle)), s = RoundTo(kBF16, number::Sin(angle));
      const double off = std::fabs(c * c + s * s - 1);
      if (off <= worst) continue;
      worst = off;
      at = position;
      pair = i;
    }
  }
  EXPECT_EQ(worst, 0.0055084228515625);
  EXPECT_EQ(at, 237);
  EXPECT_EQ(pair, 32);
}

// Positions beyond f32's integers: 2^24 + 1 is 2^24 in f32, and every recipe that takes it there
// gives the angle of 2^24.
TEST(RopeBreakages, PositionsBeyondF32Integers) {
  constexpr int64_t k = 1 << 24;
  const RopeConfig config = ConfigOf("hf-llama", 1000000, 128);
  for (const DType F : {kBF16, kF32}) {
    for (const int64_t i : {0, 1, 63}) {
      EXPECT_EQ(AngleOf(config, F, k + 1, i), AngleOf(config, F, k, i));
      EXPECT_EQ(AngleOf(config, F, k + 3, i), AngleOf(config, F, k + 4, i));
      EXPECT_NE(AngleOf(config, F, k + 2, i), AngleOf(config, F, k, i));
    }
    EXPECT_EQ(AngleOf(config, F, k - 1, 0), k - 1);
    EXPECT_EQ(AngleOf(config, F, INT32_MAX, 0), 2147483648.0f);
  }
}

// Position, frequency and angle as TF32 matrix products have them (transformers issue 48428: 2049
// becomes 2048).
TEST(RopeBreakages, TF32PositionsAreExactOnlyTo2048) {
  const RopeRecipe& recipe = *FindRopeRecipe("hf-llama-tf32");
  for (int64_t p = 0; p <= 2048; ++p) {
    EXPECT_EQ(Angle(recipe, DType::kBF16, p, 1.0f, 0), static_cast<float>(p));
  }
  EXPECT_EQ(Angle(recipe, DType::kBF16, 2049, 1.0f, 0), 2048);
  EXPECT_EQ(Angle(recipe, DType::kBF16, 2051, 1.0f, 0), 2052);
  const RopeConfig config = testing::MakeRopeConfig(recipe, RopeType::kDefault, recipe.pairing, 64);
  for (const float frequency : AngleOperands(config, recipe, DType::kBF16)) {
    EXPECT_EQ(std::bit_cast<uint32_t>(frequency) & 0x1FFF, 0u);
  }
}

// ggml's rule, in C as ggml has it: theta *= theta_scale from one pair to the next.
TEST(RopeBreakages, GgmlIteratesItsAngles) {
  const RopeRecipe& recipe = *FindRopeRecipe("ggml-cpu");
  const RopeConfig config =
      testing::MakeRopeConfig(recipe, RopeType::kDefault, recipe.pairing, 128);
  const std::vector<float> operands = AngleOperands(config, recipe, DType::kF32);
  const float theta_scale = static_cast<float>(std::pow(10000.0, static_cast<double>(-2.0f / 128)));
  int64_t differ = 0;
  for (const int64_t position : {1, 4095, 131071, (1 << 24) + 1}) {
    float theta = static_cast<float>(position);
    for (int64_t i = 0; i < 64; ++i, theta *= theta_scale) {
      EXPECT_EQ(Angle(recipe, DType::kF32, position, operands[i], i), theta);
      differ +=
          theta != static_cast<float>(position) * std::pow(theta_scale, static_cast<float>(i));
    }
  }
  EXPECT_GT(differ, 100);  // roundings pile up: it is not a product with a power
}

}  // namespace
}  // namespace bitanchor
