// StagedRope at both its ends, the recipe and the exact rotation, and that each stage is its own.
#include "lib/drift/staged_rope.h"

#include <gtest/gtest.h>
#include <mpfr.h>

#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "lib/drift/exact_frequency.h"
#include "lib/drift/stage_costs.h"
#include "lib/number/format.h"
#include "lib/scalar/rope.h"
#include "tests/support/rope_config.h"

namespace bitanchor::drift {
namespace {

using number::CosSin;

constexpr int64_t kD = 40, kR = 32;

// Values of F: ordinary, tiny, huge, zero of either sign.
float Draw(DType F, std::mt19937_64& random) {
  static constexpr float kSpecial[] = {0.0f, -0.0f, 1.0f, 0x1p-133f, 0x1p-24f, 1e-30f, 3e38f};
  std::normal_distribution<float> normal;
  const uint64_t kind = random() % 16;
  const float x = kind < std::size(kSpecial) ? kSpecial[kind] : normal(random);
  return RoundTo(FormatOf(StageFormat::kModel, F), x);
}

// The bits of one head at one position, by the definition.
std::vector<float> Defined(const RopeConfig& config, const RopeRecipe& recipe, DType F,
                           const std::vector<float>& x, int64_t position) {
  const Shape4 shape = {1, 1, 1, kD};
  std::vector<std::byte> in(4 * kD), out(4 * kD);
  const int64_t size = static_cast<int64_t>(DTypeBytes(F));
  for (int64_t d = 0; d < kD; ++d) StoreRounded(F, in.data() + d * size, x[d]);
  const MutableTensorView to = DenseView<std::byte>(F, out.data(), shape);
  scalar::ApplyRope(config, recipe, DenseView<const std::byte>(F, in.data(), shape), {position},
                    to);
  std::vector<float> y;
  for (int64_t d = 0; d < kD; ++d) y.push_back(to.At(0, 0, 0, d));
  return y;
}

std::vector<double> Staged(const StagedRope& rope, const std::vector<float>& x, int64_t position) {
  std::vector<CosSin> table;
  for (int64_t i = 0; i < rope.Pairs(); ++i) table.push_back(rope.Table(position, i));
  std::vector<double> from(x.begin(), x.end()), y(x.size());
  rope.RotateHead(from.data(), kD, table.data(), y.data());
  return y;
}

TEST(StagedRope, WithoutExactStagesIsTheRecipeToTheBit) {
  std::mt19937_64 random(1);
  int64_t compared = 0;
  for (const RopeRecipe& recipe : RopeRecipes()) {
    for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
      RopeConfig config = testing::MakeRopeConfig(recipe, kR, 10000);
      config.pairing = pairing;
      for (const DType F : {DType::kBF16, DType::kF16, DType::kF32}) {
        const StagedRope rope(config, recipe, F, StageSet::None());
        for (const int64_t position : {0, 1, 2, 257, 2049, 8191, 70001, 131071, 2147483647}) {
          std::vector<float> x;
          for (int64_t d = 0; d < kD; ++d) x.push_back(Draw(F, random));
          const std::vector<float> want = Defined(config, recipe, F, x, position);
          const std::vector<double> got = Staged(rope, x, position);
          for (int64_t d = 0; d < kD; ++d, ++compared) {
            const float single = static_cast<float>(got[d]);
            EXPECT_TRUE(std::isnan(got[d]) || static_cast<double>(single) == got[d]);
            ASSERT_EQ(std::bit_cast<uint32_t>(Canonical(single)), std::bit_cast<uint32_t>(want[d]))
                << recipe.name << " " << DTypeName(F) << " position " << position << " d " << d;
          }
        }
      }
    }
  }
  EXPECT_GT(compared, 50000);
}

// cos and sin of position theta^(-2i/R) by MPFR.
CosSin TrueTable(double theta, int64_t position, int64_t i, int64_t R) {
  mpfr_t x, y;
  mpfr_inits2(300, x, y, nullptr);
  mpfr_set_si(y, -2 * i, MPFR_RNDN);
  mpfr_div_si(y, y, R, MPFR_RNDN);
  mpfr_set_d(x, theta, MPFR_RNDN);
  mpfr_pow(x, x, y, MPFR_RNDN);
  mpfr_mul_si(x, x, position, MPFR_RNDN);
  CosSin t;
  mpfr_cos(y, x, MPFR_RNDN);
  t.c = mpfr_get_d(y, MPFR_RNDN);
  mpfr_sin(y, x, MPFR_RNDN);
  t.s = mpfr_get_d(y, MPFR_RNDN);
  mpfr_clears(x, y, nullptr);
  return t;
}

// The frequency is a f64 number: position 2^-53 of its own.
TEST(StagedRope, AllExactIsTheTrueRotation) {
  for (const char* name : {"hf-llama", "unsloth-gemma", "ggml-cpu"}) {
    const RopeRecipe& recipe = *FindRopeRecipe(name);
    const RopeConfig config = testing::MakeRopeConfig(recipe, 128, 500000);
    const StagedRope rope(config, recipe, DType::kBF16, StageSet::All());
    for (const int64_t position : {0, 1, 4095, 131071, 1048577}) {
      for (int64_t i = 0; i < 64; i += 7) {
        const CosSin got = rope.Table(position, i), want = TrueTable(500000, position, i, 128);
        // An iterated ratio is off i times as much.
        const double bound = 0x1p-50 + static_cast<double>(position * (i + 2)) * 0x1p-52;
        EXPECT_NEAR(got.c, want.c, bound) << name << " " << position << " " << i;
        EXPECT_NEAR(got.s, want.s, bound) << name << " " << position << " " << i;
      }
    }
    double y1, y2;
    rope.Rotate(3, 5, {0.6, 0.8}, y1, y2);
    EXPECT_DOUBLE_EQ(y1, 3 * 0.6 - 5 * 0.8);
    EXPECT_DOUBLE_EQ(y2, 5 * 0.6 + 3 * 0.8);
  }
}

// What recipes round is near what is exact, for every rope type.
TEST(ExactFrequency, IsWhatTheF32FormulasApproximate) {
  const RopeRecipe& recipe = *FindRopeRecipe("hf-llama");
  for (const RopeType type : {RopeType::kDefault, RopeType::kLinear, RopeType::kDynamic,
                              RopeType::kYarn, RopeType::kLongrope, RopeType::kLlama3}) {
    RopeConfig config = testing::MakeRopeConfig(recipe, 64, 500000);
    config.type = type;
    config.factor = 8;
    config.original_max_position_embeddings = 4096;
    config.max_position_embeddings = 4096;
    config.sequence_length = 16384;
    for (int i = 0; i < 32; ++i) {
      config.short_factor.push_back(1 + i / 40.0);
      config.long_factor.push_back(1 + i / 5.0);
    }
    const std::vector<float> f32 = InverseFrequencies(config, recipe);
    const std::vector<double> exact = ExactInverseFrequencies(config);
    ASSERT_EQ(exact.size(), 32u);
    double worst = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      worst = std::fmax(worst, std::fabs(f32[i] / exact[i] - 1));
    }
    EXPECT_LT(worst, 2e-6) << Name(type);  // some ulps of f32, more where llama3 and yarn cancel
    EXPECT_GT(worst, 0) << Name(type);
  }
}

// A stage that rounds nothing more than the others changes nothing, and each changes something
// where it rounds.
TEST(StagedRope, StagesAreApart) {
  const RopeRecipe& legacy = *FindRopeRecipe("hf-llama-legacy");
  const RopeConfig config = testing::MakeRopeConfig(legacy, kR, 10000);
  const StagedRope exact(config, legacy, DType::kBF16, StageSet::All());
  for (const RopeStage stage : kRopeStages) {
    const StagedRope alone(config, legacy, DType::kBF16, StageSet::Of(stage).Complement());
    bool table_differs = false;
    for (int64_t p = 0; p < 1000; ++p) {
      const CosSin one = alone.Table(p, 5), other = exact.Table(p, 5);
      table_differs |= one.c != other.c || one.s != other.s;
    }
    EXPECT_EQ(table_differs, stage != RopeStage::kApply) << Name(stage);
  }
  // Positions are rounded to bf16: the first that is not one is 257.
  const StagedRope position(config, legacy, DType::kBF16,
                            StageSet::Of(RopeStage::kPosition).Complement());
  for (int64_t p = 0; p <= 256; ++p) EXPECT_EQ(position.Table(p, 3).c, exact.Table(p, 3).c);
  EXPECT_EQ(position.Table(257, 3).c, exact.Table(256, 3).c);
}

TEST(StageCosts, PositionsOfBF16CostAnUlpFrom257On) {
  const RopeRecipe& legacy = *FindRopeRecipe("hf-llama-legacy");
  const RopeConfig config = testing::MakeRopeConfig(legacy, kR, 10000);
  const StageCosts first = FindStageCosts(config, legacy, DType::kBF16, 0, 4096);
  EXPECT_EQ(first.inverse_frequency, 1);
  EXPECT_EQ(first.first_position[0], -1);   // frequency 1 is a bf16 number
  EXPECT_EQ(first.first_position[1], 257);  // off by one turn of 1
  EXPECT_EQ(first.first_position[2], 257);  // the angle is the position here
  // A frequency f costs p |f - RN_bf16(f)| of turn, to first order.
  const StageCosts later = FindStageCosts(config, legacy, DType::kBF16, 4, 65536);
  const double f = later.inverse_frequency;
  const double off = std::fabs(RoundTo(StageFormat::kBF16, f) - f);
  EXPECT_NEAR(static_cast<double>(later.first_position[0]), kLogitUlp / off, 1.5);
  const RopeRecipe& hf = *FindRopeRecipe("hf-llama");
  EXPECT_EQ(FindStageCosts(config, hf, DType::kBF16, 0, 4096).first_position[1], -1);
}

TEST(StagedRope, SameAsKnowsWhichRecipesRoundAlike) {
  const auto rope = [](const char* name, DType F) {
    const RopeRecipe& recipe = *FindRopeRecipe(name);
    RopeConfig config = testing::MakeRopeConfig(recipe, kR, 10000);
    config.pairing = RopePairing::kHalf;
    return StagedRope(config, recipe, F, StageSet::None());
  };
  EXPECT_TRUE(rope("hf-llama", DType::kBF16).SameAs(rope("apex", DType::kBF16)));
  EXPECT_FALSE(rope("hf-llama", DType::kBF16).SameAs(rope("hf-olmo2", DType::kBF16)));
  EXPECT_TRUE(rope("hf-llama", DType::kF32).SameAs(rope("hf-olmo2", DType::kF32)));
  EXPECT_FALSE(rope("hf-llama", DType::kF32).SameAs(rope("hf-llama", DType::kBF16)));
  EXPECT_FALSE(rope("flashinfer", DType::kF32).SameAs(rope("hf-llama", DType::kF32)));
  EXPECT_FALSE(rope("gemma-cpp", DType::kF32).SameAs(rope("hf-llama", DType::kF32)));
}

}  // namespace
}  // namespace bitanchor::drift
