// Kernels whose libm gives other inverse frequencies: what the search says of them.
#include "lib/exact/inverse_frequency_choice.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "lib/number/elementary.h"
#include "lib/number/ulp.h"
#include "lib/scalar/rope.h"
#include "tests/support/random_problem.h"
#include "tests/support/rope_config.h"

namespace bitanchor {
namespace {

using exact::InverseFrequencySearch;
using exact::RopeIntervals;
using exact::RotatedTensor;

constexpr int64_t kTokens = 160, kDim = 64, kPairs = kDim / 2;
constexpr double kLibmUlp = 2;

RopeConfig ConfigOf(const RopeRecipe& recipe) { return testing::MakeRopeConfig(recipe, kDim); }

// A tensor and its rotation by a kernel that this test chooses.
struct Rotation {
  std::vector<std::byte> in_bytes, answer_bytes;
  TensorView in, answer;
  std::vector<int64_t> positions;

  Rotation(DType F, int64_t last_position, uint64_t seed) {
    std::mt19937_64 random(seed);
    testing::Fill(in_bytes, in, F, {1, kTokens, 2, kDim}, testing::Values::kNormal, random);
    answer_bytes.resize(in_bytes.size());
    answer = DenseView<const std::byte>(F, answer_bytes.data(), in.shape);
    for (int64_t s = 0; s < kTokens; ++s) {
      positions.push_back(s * s * last_position / ((kTokens - 1) * (kTokens - 1)));
    }
  }

  MutableTensorView Out() { return DenseView<std::byte>(in.dtype, answer_bytes.data(), in.shape); }
  RotatedTensor Tensor() const { return {in, answer, &positions}; }
};

// A kernel whose inverse frequencies are so many ulp from the recipe's.
void RotateWith(const RopeConfig& config, const RopeRecipe& recipe, const std::vector<int>& ulps,
                Rotation& rotation) {
  RopeConfig shifted = config;
  shifted.inv_freq = InverseFrequencies(config, recipe);
  for (size_t i = 0; i < ulps.size(); ++i) {
    for (int n = 0; n < std::abs(ulps[i]); ++n) {
      float& f = shifted.inv_freq[i];
      f = ulps[i] > 0 ? NextUp(f) : NextDown(f);
    }
  }
  scalar::ApplyRope(shifted, recipe, rotation.in, rotation.positions, rotation.Out());
}

std::vector<int> Shift(int64_t pair, int ulp) {
  std::vector<int> ulps(kPairs);
  ulps[pair] = ulp;
  return ulps;
}

// Whether every element is admissible with these choices.
bool Explained(const RopeIntervals& intervals, const Rotation& r) {
  std::vector<Interval> token;
  for (int64_t s = 0; s < kTokens; ++s) {
    intervals.Token(r.in, 0, s, r.positions[s], token);
    for (int64_t n = 0; n < 2 * kDim; ++n) {
      if (!Admits(token[n], r.answer.At(0, s, n / kDim, n % kDim))) return false;
    }
  }
  return true;
}

// The least position at which the intervals of a token differ.
int64_t WhereTheyDiffer(const RopeIntervals& one, const RopeIntervals& other, const Rotation& r) {
  std::vector<Interval> mine, its;
  for (int64_t s = 0; s < kTokens; ++s) {  // positions ascend
    one.Token(r.in, 0, s, r.positions[s], mine);
    other.Token(r.in, 0, s, r.positions[s], its);
    for (int64_t n = 0; n < 2 * kDim; ++n) {
      if (mine[n].low != its[n].low || mine[n].high != its[n].high) return r.positions[s];
    }
  }
  return -1;
}

TEST(InverseFrequencyChoice, NamesTheFrequencyTheChoiceAndThePosition) {
  for (const char* name : {"hf-llama", "meta-llama", "hf-olmo2"}) {
    const RopeRecipe& recipe = *FindRopeRecipe(name);
    const RopeConfig config = ConfigOf(recipe);
    for (const DType F : {DType::kBF16, DType::kF16, DType::kF32}) {
      for (const int64_t pair : {1, 5, 9}) {
        for (const int ulp : {1, -1, 2, -2}) {
          Rotation q(F, 1 << 17, 3);
          RotateWith(config, recipe, Shift(pair, ulp), q);
          const RopeIntervals own(config, recipe, F, kLibmUlp);
          ASSERT_FALSE(Explained(own, q)) << name << " " << DTypeName(F) << " " << pair;
          const InverseFrequencySearch search(config, recipe, kLibmUlp, {q.Tensor()});
          ASSERT_EQ(search.Groups(), kPairs);
          std::vector<FrequencyChoice> choices;
          for (int64_t group = 0; group < kPairs; ++group) {
            const auto choice = search.Choose(group);
            ASSERT_EQ(choice.has_value(), group == pair) << group;
            if (choice) choices.push_back(*choice);
          }
          EXPECT_EQ(choices[0].pair, pair);
          EXPECT_EQ(choices[0].ulp, ulp) << name << " " << DTypeName(F) << " " << pair;
          const RopeIntervals chosen(config, recipe, F, kLibmUlp,
                                     {exact::FrequencyUlps(config, choices)});
          EXPECT_TRUE(Explained(chosen, q));
          EXPECT_EQ(choices[0].from_position, WhereTheyDiffer(own, chosen, q));
          EXPECT_GE(choices[0].from_position, 1);
        }
      }
    }
  }
}

TEST(InverseFrequencyChoice, TheRecipesOwnIsNoChoice) {
  for (const RopeRecipe& recipe : RopeRecipes()) {
    const RopeConfig config = ConfigOf(recipe);
    Rotation q(DType::kBF16, 1 << 17, 4);
    scalar::ApplyRope(config, recipe, q.in, q.positions, q.Out());
    const InverseFrequencySearch search(config, recipe, kLibmUlp, {q.Tensor()});
    for (int64_t group = 0; group < search.Groups(); ++group) {
      EXPECT_FALSE(search.Choose(group)) << recipe.name;
    }
  }
}

TEST(InverseFrequencyChoice, ThreeUlpAreNoChoice) {
  const RopeRecipe& recipe = *FindRopeRecipe("hf-llama");
  const RopeConfig config = ConfigOf(recipe);
  for (const int ulp : {3, -3}) {
    Rotation q(DType::kF32, 1 << 17, 5);
    RotateWith(config, recipe, Shift(4, ulp), q);
    const InverseFrequencySearch search(config, recipe, kLibmUlp, {q.Tensor()});
    EXPECT_FALSE(search.Choose(4)) << ulp;
    EXPECT_FALSE(Explained(RopeIntervals(config, recipe, DType::kF32, kLibmUlp), q));
  }
}

TEST(InverseFrequencyChoice, OneChoiceHoldsAtEveryPosition) {
  const RopeRecipe& recipe = *FindRopeRecipe("hf-llama");
  const RopeConfig config = ConfigOf(recipe);
  Rotation early(DType::kBF16, 1 << 17, 6), late = early;
  late.answer = DenseView<const std::byte>(DType::kBF16, late.answer_bytes.data(), late.in.shape);
  RotateWith(config, recipe, Shift(3, 1), early);
  RotateWith(config, recipe, Shift(3, -1), late);
  const size_t half = early.answer_bytes.size() * 3 / 4;
  std::copy(late.answer_bytes.begin() + half, late.answer_bytes.end(),
            early.answer_bytes.begin() + half);
  EXPECT_FALSE(InverseFrequencySearch(config, recipe, kLibmUlp, {early.Tensor()}).Choose(3));
}

TEST(InverseFrequencyChoice, ExplainsBothElementsOfAPairOrNothing) {
  const RopeRecipe& recipe = *FindRopeRecipe("hf-llama");
  const RopeConfig config = ConfigOf(recipe);
  Rotation q(DType::kBF16, 1 << 17, 11);
  RotateWith(config, recipe, Shift(3, 1), q);
  const InverseFrequencySearch search(config, recipe, kLibmUlp, {q.Tensor()});
  ASSERT_TRUE(search.Choose(3));
  const auto [d1, d2] = PairDimensions(config, 3);
  for (const int64_t d : {d1, d2}) {
    for (const int64_t head : {0, 1}) {
      std::byte* const element = q.Out().Row(0, kTokens / 2, head) + 2 * d;
      element[0] ^= std::byte{1};
      EXPECT_FALSE(search.Choose(3)) << d << " " << head;
      element[0] ^= std::byte{1};
    }
  }
  EXPECT_TRUE(search.Choose(3));
}

TEST(InverseFrequencyChoice, QueriesAndKeysShareIt) {
  const RopeRecipe& recipe = *FindRopeRecipe("hf-llama");
  const RopeConfig config = ConfigOf(recipe);
  Rotation q(DType::kBF16, 1 << 17, 7), k(DType::kBF16, 1 << 17, 8);
  RotateWith(config, recipe, Shift(3, 1), q);
  const auto choose = [&](std::vector<RotatedTensor> tensors) {
    return InverseFrequencySearch(config, recipe, kLibmUlp, std::move(tensors)).Choose(3);
  };
  RotateWith(config, recipe, Shift(3, -1), k);
  ASSERT_TRUE(choose({q.Tensor()}) && choose({k.Tensor()}));
  EXPECT_FALSE(choose({q.Tensor(), k.Tensor()}));
  RotateWith(config, recipe, {}, k);
  EXPECT_FALSE(choose({q.Tensor(), k.Tensor()}));
  RotateWith(config, recipe, Shift(3, 1), k);
  ASSERT_TRUE(choose({q.Tensor(), k.Tensor()}));
  EXPECT_EQ(choose({q.Tensor(), k.Tensor()})->ulp, 1);
}

// What is shifted is what the rule takes: a timescale, or ggml's one ratio for all pairs.
TEST(InverseFrequencyChoice, TimescalesAndRatios) {
  for (const char* name : {"gemma-jax", "ggml-cpu"}) {
    const RopeRecipe& recipe = *FindRopeRecipe(name);
    const bool iterated = recipe.rule == AngleRule::kIterated;
    const RopeConfig config = ConfigOf(recipe);
    Rotation q(DType::kF32, 20000, 9);
    RopeConfig tables = config;
    const std::vector<float> operands = AngleOperands(config, recipe, DType::kF32);
    for (int64_t p = 0; p <= 20000; ++p) {
      float angle = static_cast<float>(p);
      for (int64_t i = 0; i < kPairs; ++i) {
        const float other = NextDown(operands[i]);
        if (!iterated) angle = static_cast<float>(p) / (i == 2 ? other : operands[i]);
        tables.cos.push_back(number::Cos(angle));
        tables.sin.push_back(number::Sin(angle));
        if (iterated) angle *= other;
      }
    }
    scalar::ApplyRope(tables, recipe, q.in, q.positions, q.Out());
    const InverseFrequencySearch search(config, recipe, kLibmUlp, {q.Tensor()});
    const auto choice = search.Choose(iterated ? 0 : 2);
    ASSERT_TRUE(choice) << name;
    EXPECT_EQ(choice->ulp, -1) << name;
    EXPECT_EQ(choice->pair, iterated ? -1 : 2);
    EXPECT_TRUE(Explained(RopeIntervals(config, recipe, DType::kF32, kLibmUlp,
                                        {exact::FrequencyUlps(config, {*choice})}),
                          q));
  }
}

// Where the kernel's rotation is not seen: the hull holds every choice, a single set does not.
TEST(InverseFrequencyChoice, TheHullHoldsEveryChoice) {
  const RopeRecipe& recipe = *FindRopeRecipe("hf-olmo2");
  const RopeConfig config = ConfigOf(recipe);
  const RopeIntervals own(config, recipe, DType::kF32, kLibmUlp);
  const RopeIntervals any(config, recipe, DType::kF32, kLibmUlp, exact::FrequencyFreedom(config));
  for (const int ulp : kFrequencyUlps) {
    Rotation q(DType::kF32, 1 << 17, 10);
    RotateWith(config, recipe, std::vector<int>(kPairs, ulp), q);
    EXPECT_TRUE(Explained(any, q)) << ulp;
    EXPECT_EQ(Explained(own, q), ulp == 0);
  }
  RopeConfig given = config;
  given.inv_freq = InverseFrequencies(config, recipe);
  EXPECT_EQ(exact::FrequencyFreedom(given).size(), 1u);
}

}  // namespace
}  // namespace bitanchor
