// Problems that cannot tell right from wrong are known, and others are not suspected.
#include "lib/problem/indistinct.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/random_problem.h"

namespace bitanchor {
namespace {

using testing::MakeProblem;
using testing::OwnedProblem;
using testing::SetIds;
using testing::Values;

OwnedProblem Anchored(MaskRule rule = MaskRule::kAnchor) {
  MaskSpec mask;
  mask.rule = rule;
  return MakeProblem({2, 12, 12, 2, 1, 4}, DType::kBF16, mask, Values::kNormal, 3);
}

std::string FieldOf(const std::vector<std::string>& why) {
  return why.size() == 1 ? why[0].substr(0, why[0].find(':')) : std::to_string(why.size());
}

TEST(Indistinct, OrdinaryProblemsAreNot) {
  for (const MaskRule rule : {MaskRule::kFull, MaskRule::kDocument, MaskRule::kAnchor})
    EXPECT_TRUE(WhyIndistinct(Anchored(rule).problem).empty());
}

TEST(Indistinct, EqualValues) {
  OwnedProblem owned = Anchored();
  const TensorView& v = owned.problem.v;
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t j = 1; j < 12; ++j)
      std::memcpy(owned.Element(owned.v, v, b, j, 0, 0), v.Row(b, 0, 0), 8);
  }
  EXPECT_EQ(FieldOf(WhyIndistinct(owned.problem)), "v");
  StoreRounded(DType::kBF16, owned.Element(owned.v, v, 1, 11, 0, 3), 17.0f);
  EXPECT_TRUE(WhyIndistinct(owned.problem).empty()) << "one key of one batch differs";
}

TEST(Indistinct, ZeroInputs) {
  OwnedProblem owned = Anchored();
  std::fill(owned.q.begin(), owned.q.end(), std::byte{0});
  EXPECT_EQ(FieldOf(WhyIndistinct(owned.problem)), "q");
  owned = Anchored();
  std::fill(owned.k.begin(), owned.k.end(), std::byte{0});
  StoreRounded(DType::kBF16, owned.Element(owned.k, owned.problem.k, 1, 3, 0, 2), -0.0f);
  EXPECT_EQ(FieldOf(WhyIndistinct(owned.problem)), "k") << "-0 is zero";
  StoreRounded(DType::kBF16, owned.Element(owned.k, owned.problem.k, 1, 3, 0, 2), std::nanf(""));
  EXPECT_TRUE(WhyIndistinct(owned.problem).empty()) << "NaN is not";
}

TEST(Indistinct, OneDocument) {
  for (const MaskRule rule : {MaskRule::kDocument, MaskRule::kAnchor}) {
    OwnedProblem owned = Anchored(rule);
    SetIds(owned.problem.mask, 1000);
    EXPECT_EQ(FieldOf(WhyIndistinct(owned.problem)), "document_ids") << Name(rule);
    owned.problem.mask.k_ids.back() = 99;
    EXPECT_TRUE(WhyIndistinct(owned.problem).empty()) << "the second batch has two";
    owned.problem.mask.spec.rule = MaskRule::kFull;
    SetIds(owned.problem.mask, 1000);
    EXPECT_TRUE(WhyIndistinct(owned.problem).empty()) << "rule full has no documents";
  }
}

// Ids 0 and 1: under rule document two documents; under rule anchor an anchor and one document.
TEST(Indistinct, TheAnchorIsNoDocument) {
  OwnedProblem owned = Anchored();
  for (size_t n = 0; n < owned.problem.mask.k_ids.size(); ++n)
    owned.problem.mask.k_ids[n] = n % 12 == 0 ? 0 : 1;
  EXPECT_EQ(FieldOf(WhyIndistinct(owned.problem)), "document_ids");
  owned.problem.mask.spec.rule = MaskRule::kDocument;
  EXPECT_TRUE(WhyIndistinct(owned.problem).empty());
}

TEST(Indistinct, Rope) {
  OwnedProblem owned = Anchored();
  EXPECT_TRUE(WhyRopeIndistinct(owned.problem).empty()) << "no rope";
  owned.problem.rope = RopeConfig{};
  owned.problem.q_positions.assign(24, 0);
  owned.problem.k_positions.assign(24, 0);
  EXPECT_EQ(FieldOf(WhyRopeIndistinct(owned.problem)), "position_ids");
  owned.problem.k_positions[5] = 1;
  EXPECT_TRUE(WhyRopeIndistinct(owned.problem).empty());
  std::fill(owned.q.begin(), owned.q.end(), std::byte{0});
  EXPECT_TRUE(WhyRopeIndistinct(owned.problem).empty()) << "k is not zero";
  std::fill(owned.k.begin(), owned.k.end(), std::byte{0});
  EXPECT_EQ(FieldOf(WhyRopeIndistinct(owned.problem)), "q, k");
}

}  // namespace
}  // namespace bitanchor
