#include "lib/problem/problem_spec.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

using Ids = std::vector<int64_t>;

ProblemSpec Spec(MaskRule rule, int64_t Sq, int64_t Skv, Ids documents) {
  ProblemSpec spec;
  spec.shape = {2, Sq, Skv, 4, 2, 8};
  spec.mask.rule = rule;
  spec.softmax_scale = 0.5f;
  spec.documents = std::move(documents);
  return spec;
}

RopeConfig Rope() {
  RopeConfig rope;
  rope.recipe = "hf-llama";
  rope.rotary_dim = 8;
  return rope;
}

TEST(ProblemSpec, DocumentsAreNumberedInOrderInEverySequence) {
  const AttentionProblem problem = WithoutTensors(Spec(MaskRule::kDocument, 6, 6, {1, 3, 2}));
  EXPECT_EQ(problem.mask.k_ids, (Ids{0, 1, 1, 1, 2, 2, 0, 1, 1, 1, 2, 2}));
  EXPECT_EQ(problem.mask.q_ids, problem.mask.k_ids);
  EXPECT_TRUE(problem.k_positions.empty()) << "without rope nothing reads positions";
}

TEST(ProblemSpec, TheAnchorIsTheFirstTokenOfTheFirstDocument) {
  EXPECT_EQ(WithoutTensors(Spec(MaskRule::kAnchor, 5, 5, {2, 3})).mask.k_ids,
            (Ids{0, 1, 2, 2, 2, 0, 1, 2, 2, 2}));
  EXPECT_EQ(WithoutTensors(Spec(MaskRule::kAnchor, 3, 3, {1, 2})).mask.k_ids,
            (Ids{0, 2, 2, 0, 2, 2}));
  EXPECT_EQ(WithoutTensors(Spec(MaskRule::kAnchor, 3, 3, {})).mask.k_ids, (Ids{0, 1, 1, 0, 1, 1}));
}

TEST(ProblemSpec, QueriesAreTheTokensOfTheirKeys) {
  ProblemSpec spec = Spec(MaskRule::kDocument, 2, 5, {4, 1});
  spec.rope = Rope();
  EXPECT_EQ(WithoutTensors(spec).mask.q_ids, (Ids{0, 0, 0, 0}));
  EXPECT_EQ(WithoutTensors(spec).q_positions, (Ids{0, 1, 0, 1}));
  spec.mask.corner = Corner::kBottomRight;
  EXPECT_EQ(WithoutTensors(spec).mask.q_ids, (Ids{0, 1, 0, 1}));
  EXPECT_EQ(WithoutTensors(spec).q_positions, (Ids{3, 4, 3, 4}));
  EXPECT_EQ(WithoutTensors(spec).rope->sequence_length, 5);
  spec.reset_positions = true;
  EXPECT_EQ(WithoutTensors(spec).k_positions, (Ids{0, 1, 2, 3, 0, 0, 1, 2, 3, 0}));
  EXPECT_EQ(WithoutTensors(spec).q_positions, (Ids{3, 0, 3, 0}));
}

TEST(ProblemSpec, RuleFullWithoutRopeNeedsNoTokens) {
  const AttentionProblem problem = WithoutTensors(Spec(MaskRule::kFull, 9, 5, {}));
  EXPECT_TRUE(problem.mask.k_ids.empty());
  EXPECT_EQ(problem.q.shape, (Shape4{2, 9, 4, 8}));
  EXPECT_EQ(problem.v.shape, (Shape4{2, 5, 2, 8}));
}

TEST(ProblemSpec, RefusesWhatDescribesNoProblem) {
  const auto refused = [](const ProblemSpec& wrong, const std::string& field) {
    try {
      WithoutTensors(wrong);
      ADD_FAILURE() << "accepted, want a complaint about " << field;
    } catch (const InputError& error) {
      EXPECT_EQ(error.field(), field) << error.what();
    }
  };
  for (const Ids& documents :
       {Ids{2, 3, 2}, Ids{2, 2}, Ids{6, -1}, Ids{0, 5}, Ids{7}, Ids{INT64_MAX, INT64_MAX}}) {
    refused(Spec(MaskRule::kDocument, 5, 5, documents), "documents");
    refused(Spec(MaskRule::kFull, 5, 5, documents), "documents");
  }
  refused(Spec(MaskRule::kDocument, 9, 5, {}), "shape");
  ProblemSpec spec = Spec(MaskRule::kDocument, 9, 5, {});
  spec.mask.corner = Corner::kBottomRight;
  refused(spec, "shape");
  for (int64_t AttentionShape::*size :
       {&AttentionShape::B, &AttentionShape::Sq, &AttentionShape::Skv, &AttentionShape::Hq,
        &AttentionShape::Hkv, &AttentionShape::D}) {
    for (const int64_t wrong : {int64_t{0}, int64_t{-1}, INT64_MIN, INT64_MAX}) {
      spec = Spec(MaskRule::kFull, 5, 5, {});
      spec.shape.*size = wrong;
      refused(spec, "shape");
    }
  }
  spec = Spec(MaskRule::kFull, 5, 5, {});
  spec.shape.Hkv = 3;
  refused(spec, "k");
  spec = Spec(MaskRule::kFull, 5, 5, {});
  spec.softmax_scale = 0;
  refused(spec, "softmax_scale");
}

}  // namespace
}  // namespace bitanchor
