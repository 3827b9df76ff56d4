// The engine against the definition: every target this CPU has, thread counts, block sizes,
// layouts, corners.
#include "simd/attention.h"

#include <gtest/gtest.h>

#include <cfenv>
#include <cstring>

#include "lib/scalar/attention.h"
#include "tests/support/every_engine.h"
#include "tests/support/random_problem.h"
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace bitanchor {
namespace {

using testing::ForEveryEngine;
using testing::MakeProblem;
using testing::OwnedProblem;
using testing::Values;

struct Bits {
  std::vector<std::byte> o;
  std::vector<float> lse;
  bool operator==(const Bits& other) const {
    return o == other.o &&
           std::memcmp(lse.data(), other.lse.data(), lse.size() * sizeof(float)) == 0;
  }
};

Bits Compute(const AttentionProblem& p, const AttentionRecipe& recipe,
             const simd::EngineOptions* options, Layout layout = Layout::kBSHD) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = p.shape;
  (void)Skv, (void)Hkv;
  Bits bits{std::vector<std::byte>(B * Sq * Hq * D * DTypeBytes(p.dtype)),
            std::vector<float>(B * Hq * Sq)};
  const MutableTensorView o = DenseView<std::byte>(p.dtype, bits.o.data(), {B, Sq, Hq, D}, layout);
  if (options == nullptr) {
    scalar::AttentionForward(p, recipe, o, bits.lse.data());
  } else {
    simd::AttentionForward(p, recipe, *options, o, bits.lse.data());
  }
  return bits;
}

void ExpectEngineEqualsDefinition(const OwnedProblem& owned, const std::string& what) {
  for (const AttentionRecipe& recipe : AttentionRecipes()) {
    const Bits want = Compute(owned.problem, recipe, nullptr);
    ForEveryEngine([&](const simd::EngineOptions& options, const std::string& which) {
      EXPECT_TRUE(Compute(owned.problem, recipe, &options) == want)
          << what << " " << recipe.name << " " << which;
    });
  }
}

TEST(AttentionEngine, EveryTargetAndThreadCount) {
  const MaskSpec anchor{MaskRule::kAnchor, true, std::nullopt, Corner::kTopLeft};
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    for (const Values values : {Values::kNormal, Values::kWide, Values::kSubnormal}) {
      ExpectEngineEqualsDefinition(MakeProblem({2, 67, 67, 4, 2, 24}, dtype, anchor, values, 7),
                                   "anchor");
    }
  }
}

TEST(AttentionEngine, CornersAndOddShapes) {
  for (const Corner corner : {Corner::kTopLeft, Corner::kBottomRight}) {
    for (const auto& [Sq, Skv] : {std::pair{5, 130}, {130, 5}, {48, 49}, {1, 300}}) {
      for (const MaskRule rule : {MaskRule::kFull, MaskRule::kDocument, MaskRule::kAnchor}) {
        const MaskSpec mask{rule, true, Sq % 2 == 0 ? std::optional<int64_t>(9) : std::nullopt,
                            corner};
        ExpectEngineEqualsDefinition(
            MakeProblem({1, Sq, Skv, 2, 1, 256}, DType::kBF16, mask, Values::kNormal, Sq),
            "corner");
        ExpectEngineEqualsDefinition(
            MakeProblem({1, Sq, Skv, 3, 3, 1}, DType::kF32, mask, Values::kWide, Sq),
            "corner, D 1");
      }
    }
  }
}

// Few queries take their own way through memory, in pieces of dimensions and of keys.
TEST(AttentionEngine, FewQueriesOfEveryHeadDim) {
  for (const int64_t D : {2, 7, 12, 33, 36, 44, 60, 64, 72, 100, 128, 144, 200}) {
    const int64_t Sq = 1 + D % 5;
    const MaskSpec mask{MaskRule::kFull, true, std::nullopt, Corner::kBottomRight};
    for (const DType dtype : {DType::kBF16, DType::kF32}) {
      ExpectEngineEqualsDefinition(
          MakeProblem({2, Sq, 101, 6, 3, D}, dtype, mask, Values::kNormal, D),
          "few queries, D " + std::to_string(D));
    }
  }
}

// Scores of hundreds: weights that underflow, -0 accumulators, overflowing sums of v.
TEST(AttentionEngine, LargeScoresAndHugeValues) {
  OwnedProblem owned = MakeProblem({1, 70, 70, 2, 2, 16}, DType::kF32, {}, Values::kNormal, 3);
  owned.problem.softmax_scale = 300.0f;
  for (int64_t j = 0; j < 70; ++j) {
    StoreRounded(DType::kF32, owned.Element(owned.v, owned.problem.v, 0, j, 0, 0),
                 j % 2 == 0 ? 3e38f : -3e38f);
    StoreRounded(DType::kF32, owned.Element(owned.v, owned.problem.v, 0, j, 1, 3), -1e-45f);
    StoreRounded(DType::kF32, owned.Element(owned.v, owned.problem.v, 0, j, 1, 4), -0.0f);
  }
  ExpectEngineEqualsDefinition(owned, "large");
}

TEST(AttentionEngine, OutputLayoutDoesNotMatter) {
  const OwnedProblem owned =
      MakeProblem({2, 33, 33, 4, 2, 8}, DType::kBF16, {}, Values::kNormal, 5);
  const AttentionRecipe& recipe = AttentionRecipes()[0];
  const simd::EngineOptions options;
  EXPECT_TRUE(Compute(owned.problem, recipe, &options, Layout::kBHSD) ==
              Compute(owned.problem, recipe, nullptr, Layout::kBHSD));
}

// Keys that no query sees may hold anything.
TEST(AttentionEngine, InvisibleKeysAreNotRead) {
  MaskSpec mask;
  mask.window_keys = 4;
  mask.corner = Corner::kBottomRight;
  OwnedProblem clean = MakeProblem({1, 8, 40, 1, 1, 16}, DType::kBF16, mask, Values::kNormal, 9);
  OwnedProblem poisoned = MakeProblem({1, 8, 40, 1, 1, 16}, DType::kBF16, mask, Values::kNormal, 9);
  for (int64_t j = 0; j < 29; ++j) {  // the first query stands at 32 and sees 29..32
    for (int64_t d = 0; d < 16; ++d) {
      const float bad = d % 2 == 0 ? std::numeric_limits<float>::infinity() : std::nanf("");
      StoreRounded(DType::kBF16, poisoned.Element(poisoned.k, poisoned.problem.k, 0, j, 0, d), bad);
      StoreRounded(DType::kBF16, poisoned.Element(poisoned.v, poisoned.problem.v, 0, j, 0, d), bad);
    }
  }
  for (const AttentionRecipe& recipe : AttentionRecipes()) {
    const simd::EngineOptions options;
    const Bits want = Compute(clean.problem, recipe, nullptr);
    EXPECT_TRUE(Compute(poisoned.problem, recipe, nullptr) == want);
    EXPECT_TRUE(Compute(poisoned.problem, recipe, &options) == want);
  }
}

#if defined(__x86_64__)
// FTZ, DAZ and directed rounding of the caller change nothing and are there again afterwards.
TEST(AttentionEngine, CallersFloatingPointEnvironment) {
  const OwnedProblem owned =
      MakeProblem({1, 60, 60, 1, 1, 16}, DType::kF32, {}, Values::kSubnormal, 11);
  for (const AttentionRecipe& recipe : AttentionRecipes()) {
    simd::EngineOptions options;
    options.threads = 1;
    const Bits want = Compute(owned.problem, recipe, nullptr);
    const unsigned saved = _mm_getcsr();
    _mm_setcsr(saved | 0x8040 | 0x6000);
    const unsigned set = _mm_getcsr();
    const Bits scalar = Compute(owned.problem, recipe, nullptr),
               engine = Compute(owned.problem, recipe, &options);
    const unsigned after = _mm_getcsr();
    _mm_setcsr(saved);
    EXPECT_EQ(after & ~0x3Fu, set & ~0x3Fu);
    EXPECT_TRUE(scalar == want);
    EXPECT_TRUE(engine == want);
  }
}
#endif

}  // namespace
}  // namespace bitanchor
