// The bound is sound for contracts that nobody named: fields drawn from a seed, kernels drawn to
// match.
#include <gtest/gtest.h>

#include "tests/exact/random_contract.h"
#include "tests/exact/soundness.h"

namespace bitanchor {
namespace {

using testing::OwnedProblem;
using testing::Tally;

TEST(RandomContracts, ConformingKernelsAreInside) {
  Tally tally;
  double shares = 0;
  int64_t near = 0;
  for (uint64_t seed = 0; seed < 12000; ++seed) {
    const Contract contract = testing::RandomContract(seed);
    OwnedProblem owned = testing::SmallProblem(contract.dtype, seed, 24);
    if (seed % 6 == 2) owned.problem.softmax_scale *= 20;  // scores far apart: stale maxima
    Tally one;
    testing::Judge(owned.problem, contract, seed, contract.dtype, one);
    tally.kernels += one.kernels;
    tally.elements += one.elements;
    tally.outside += one.outside;
    tally.undetermined += one.undetermined;
    shares += one.worst_share;
    near += one.worst_share > 0.25;
    if (tally.outside > 20) break;
  }
  EXPECT_EQ(tally.outside, 0);
  EXPECT_LT(tally.undetermined, tally.elements / 20);
  EXPECT_GT(near, tally.kernels / 10) << "the intervals are far too wide";
  RecordProperty("mean_worst_share", std::to_string(shares / static_cast<double>(tally.kernels)));
  RecordProperty("near", std::to_string(near));
  RecordProperty("undetermined", std::to_string(static_cast<double>(tally.undetermined) /
                                                static_cast<double>(tally.elements)));
}

// Scores next to 0 and many keys: what is left is how deep sums are, and how P is rounded.
TEST(RandomContracts, DeepSumsOfEqualWeights) {
  Tally tally;
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    const Contract contract = testing::RandomContract(seed);
    MaskSpec mask;
    mask.corner = Corner::kBottomRight;
    OwnedProblem owned = testing::MakeProblem({1, 2, 160, 1, 1, 3}, contract.dtype, mask,
                                              testing::Values::kPositive, seed);
    owned.problem.softmax_scale *= 1e-4f;
    testing::Judge(owned.problem, contract, seed, DType::kF32, tally);
  }
  EXPECT_EQ(tally.outside, 0);
  EXPECT_GT(tally.worst_share, 0.5);
  EXPECT_GT(tally.worst_lse_share, 0.5);
}

}  // namespace
}  // namespace bitanchor
