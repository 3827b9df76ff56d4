// The engine's backward pass against the definition: every target this CPU has, thread counts,
// block sizes, masks, corners.
#include <gtest/gtest.h>

#include <vector>

#include "lib/scalar/attention.h"
#include "simd/attention.h"
#include "tests/support/every_engine.h"
#include "tests/support/random_problem.h"

namespace bitanchor {
namespace {

using testing::ForEveryEngine;
using testing::MakeProblem;
using testing::OwnedProblem;
using testing::Values;

struct Gradients {
  std::vector<std::byte> dq, dk, dv;
  bool operator==(const Gradients&) const = default;
};

// The bytes are painted first, so that one that is not written shows.
Gradients Compute(const AttentionProblem& p, const TensorView& dout, const AttentionRecipe& recipe,
                  const simd::EngineOptions* options) {
  const auto bytes = [](const TensorView& like) {
    return std::vector<std::byte>(like.Elements() * DTypeBytes(like.dtype), std::byte{0x5A});
  };
  Gradients g{bytes(p.q), bytes(p.k), bytes(p.v)};
  const AttentionGradients out{DenseView(p.dtype, g.dq.data(), p.q.shape),
                               DenseView(p.dtype, g.dk.data(), p.k.shape),
                               DenseView(p.dtype, g.dv.data(), p.v.shape)};
  if (options == nullptr) {
    scalar::AttentionBackward(p, recipe, dout, out);
  } else {
    const simd::AttentionRows rows = simd::AttentionForwardRows(p, recipe, *options);
    simd::AttentionBackward(p, recipe, *options, rows, dout, out);
  }
  return g;
}

void ExpectEngineEqualsDefinition(const OwnedProblem& owned, Values values,
                                  const std::string& what) {
  const AttentionProblem& p = owned.problem;
  std::mt19937_64 random(99);
  std::vector<std::byte> bytes;
  TensorView dout;
  testing::Fill(bytes, dout, p.dtype, p.q.shape, values, random);
  for (const AttentionRecipe& recipe : AttentionRecipes()) {
    const Gradients want = Compute(p, dout, recipe, nullptr);
    ForEveryEngine([&](const simd::EngineOptions& options, const std::string& engine) {
      const Gradients got = Compute(p, dout, recipe, &options);
      const std::string which = what + " " + std::string(recipe.name) + " " + engine;
      EXPECT_TRUE(got.dq == want.dq) << "dq " << which;
      EXPECT_TRUE(got.dk == want.dk) << "dk " << which;
      EXPECT_TRUE(got.dv == want.dv) << "dv " << which;
    });
  }
}

TEST(BackwardEngine, EveryTargetAndThreadCount) {
  const MaskSpec anchor{MaskRule::kAnchor, true, std::nullopt, Corner::kTopLeft};
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    for (const Values values : {Values::kNormal, Values::kWide, Values::kSubnormal}) {
      ExpectEngineEqualsDefinition(MakeProblem({2, 67, 67, 4, 2, 24}, dtype, anchor, values, 7),
                                   values, "anchor");
    }
  }
}

TEST(BackwardEngine, CornersAndOddShapes) {
  for (const Corner corner : {Corner::kTopLeft, Corner::kBottomRight}) {
    for (const auto& [Sq, Skv] : {std::pair{5, 130}, {130, 5}, {48, 49}, {1, 300}}) {
      for (const MaskRule rule : {MaskRule::kFull, MaskRule::kDocument, MaskRule::kAnchor}) {
        const MaskSpec mask{rule, true, Sq % 2 == 0 ? std::optional<int64_t>(9) : std::nullopt,
                            corner};
        ExpectEngineEqualsDefinition(
            MakeProblem({1, Sq, Skv, 2, 1, 256}, DType::kBF16, mask, Values::kNormal, Sq),
            Values::kNormal, "corner");
        ExpectEngineEqualsDefinition(
            MakeProblem({1, Sq, Skv, 3, 3, 1}, DType::kF32, mask, Values::kWide, Sq), Values::kWide,
            "corner, D 1");
      }
    }
  }
}

TEST(BackwardEngine, HeadDimsAndManyBlocks) {
  for (const int64_t D : {7, 33, 48, 64, 100, 128, 144}) {
    const MaskSpec causal;
    ExpectEngineEqualsDefinition(
        MakeProblem({1, 211, 211, 3, 1, D}, DType::kBF16, causal, Values::kNormal, D),
        Values::kInteger, "head dim " + std::to_string(D));
  }
}

}  // namespace
}  // namespace bitanchor
