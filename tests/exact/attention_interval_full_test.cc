// Sound: no conforming kernel is ever outside. Sharp enough to bite: the same kernels come near the
// bound, and small faults leave it.
#include <gtest/gtest.h>

#include "lib/exact/attention_interval.h"
#include "lib/scalar/attention.h"
#include "tests/exact/conforming_kernel.h"
#include "tests/support/random_problem.h"

namespace bitanchor {
namespace {

using testing::ConformingKernel;
using testing::MakeProblem;
using testing::OwnedProblem;
using testing::Values;

IntervalBlock Intervals(const AttentionProblem& p, int64_t h) {
  IntervalBlock block;
  const IntervalProblem problem{p, {}, {}, p.dtype};
  exact::AttentionIntervals(problem, DefaultContract(p.dtype), 0, h, 0, p.shape.Sq, block);
  return block;
}

bool Inside(float got, const Interval& interval) {
  return interval.low > interval.high || (interval.low <= got && got <= interval.high);
}

struct Tally {
  int64_t kernels = 0, elements = 0, outside = 0, undetermined = 0;
  double worst_share = 0;
};

void Judge(const AttentionProblem& p, uint64_t seed, Tally& tally) {
  const IntervalBlock want = Intervals(p, p.shape.Hq - 1);
  ConformingKernel kernel(seed);
  std::vector<float> o;
  float lse = 0;
  ++tally.kernels;
  for (int64_t i = 0; i < p.shape.Sq; ++i) {
    kernel.Row(p, 0, p.shape.Hq - 1, i, o, lse);
    for (int64_t d = 0; d < p.shape.D; ++d) {
      const Interval& interval = want.o[i * p.shape.D + d];
      ++tally.elements;
      tally.undetermined += interval.low > interval.high;
      const double side =
          o[d] > interval.want ? interval.high - interval.want : interval.want - interval.low;
      if (side > 0)
        tally.worst_share = std::max(tally.worst_share, std::fabs(o[d] - interval.want) / side);
      if (!Inside(o[d], interval) && ++tally.outside < 5) {
        ADD_FAILURE() << "seed " << seed << " row " << i << " d " << d << ": " << o[d]
                      << " outside [" << interval.low << ", " << interval.high << "], want "
                      << interval.want;
      }
    }
    ++tally.elements;
    if (!Inside(lse, want.lse[i]) && ++tally.outside < 5) {
      ADD_FAILURE() << "seed " << seed << " row " << i << " lse: " << lse << " outside ["
                    << want.lse[i].low << ", " << want.lse[i].high << "]";
    }
  }
}

class Soundness : public ::testing::TestWithParam<DType> {};

TEST_P(Soundness, ConformingKernelsAreInside) {
  const Values styles[] = {Values::kNormal, Values::kPositive, Values::kInteger, Values::kNormal,
                           Values::kSubnormal};
  Tally tally;
  for (uint64_t seed = 0; seed < 1200; ++seed) {
    MaskSpec mask{seed % 3 == 0 ? MaskRule::kAnchor : MaskRule::kFull, seed % 5 != 0, std::nullopt,
                  Corner::kTopLeft};
    if (seed % 7 == 0) mask.window_keys = 9;
    const int64_t S = 3 + static_cast<int64_t>(seed * 7 % 45),
                  D = 1 + static_cast<int64_t>(seed * 13 % 40);
    OwnedProblem owned = MakeProblem({1, S, S, 2, 1, D}, GetParam(), mask, styles[seed % 5], seed);
    if (seed % 4 == 1) owned.problem.softmax_scale *= 8;  // sharp softmax, scores in the tens
    Judge(owned.problem, seed, tally);
  }
  EXPECT_EQ(tally.outside, 0);
  EXPECT_GE(tally.kernels, 1000);
  EXPECT_LT(tally.undetermined, tally.elements / 20);
  EXPECT_GT(tally.worst_share, GetParam() == DType::kF32 ? 0.02 : 0.4)
      << "the intervals are far too wide";
}

// Many keys: deep sums, many rescalings.
TEST_P(Soundness, LongRows) {
  Tally tally;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    MaskSpec mask;
    mask.corner = Corner::kBottomRight;
    const OwnedProblem owned =
        MakeProblem({1, 2, 1500, 1, 1, 16}, GetParam(), mask,
                    seed % 2 == 0 ? Values::kPositive : Values::kNormal, seed);
    Judge(owned.problem, seed, tally);
  }
  EXPECT_EQ(tally.outside, 0);
}

INSTANTIATE_TEST_SUITE_P(Contracts, Soundness,
                         ::testing::Values(DType::kBF16, DType::kF16, DType::kF32));

// One wrong key in the first rows moves the answer by far more than the interval.
TEST(Sharpness, SmallFaultsAreOutside) {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    OwnedProblem owned = MakeProblem({1, 96, 96, 1, 1, 64}, dtype, {}, Values::kNormal, 5);
    const IntervalBlock want = Intervals(owned.problem, 0);
    OwnedProblem wrong = MakeProblem({1, 96, 96, 1, 1, 64}, dtype, {}, Values::kNormal, 5);
    wrong.problem.mask.spec.window_keys = 95;  // the last row alone loses its first key
    std::vector<float> o(96 * 64), lse(96);
    std::vector<std::byte> bytes(96 * 64 * 4);
    scalar::AttentionForward(wrong.problem, AttentionRecipes()[0],
                             DenseView<std::byte>(dtype, bytes.data(), {1, 96, 1, 64}), lse.data());
    int64_t outside = 0;
    for (int64_t d = 0; d < 64; ++d) {
      const float got = LoadF32(dtype, bytes.data() + (95 * 64 + d) * DTypeBytes(dtype));
      outside += !Inside(got, want.o[95 * 64 + d]);
    }
    EXPECT_GT(outside, 10) << DTypeName(dtype);
    EXPECT_FALSE(Inside(lse[95], want.lse[95]));
    EXPECT_TRUE(Inside(lse[94], want.lse[94]));
  }
}

TEST(AttentionInterval, SpecialRows) {
  const float inf = std::numeric_limits<float>::infinity();
  OwnedProblem owned = MakeProblem({1, 4, 4, 1, 1, 2}, DType::kF32, {}, Values::kNormal, 6);
  StoreRounded(DType::kF32, owned.Element(owned.v, owned.problem.v, 0, 1, 0, 0), inf);
  StoreRounded(DType::kF32, owned.Element(owned.v, owned.problem.v, 0, 2, 0, 0), -inf);
  StoreRounded(DType::kF32, owned.Element(owned.k, owned.problem.k, 0, 3, 0, 1), std::nanf(""));
  const IntervalBlock block = Intervals(owned.problem, 0);
  EXPECT_TRUE(std::isfinite(block.o[0].low));  // row 0 sees key 0 only
  EXPECT_EQ(block.o[2].low, inf);              // row 1: Inf, and finite beside it
  EXPECT_TRUE(std::isfinite(block.o[3].low));
  EXPECT_TRUE(std::isnan(block.o[4].low));                                  // row 2: Inf - Inf
  EXPECT_TRUE(std::isnan(block.o[7].low) && std::isnan(block.lse[3].low));  // row 3: a NaN score
}

TEST(AttentionInterval, HugeScoresAreUndeterminedNotPassed) {
  OwnedProblem owned = MakeProblem({1, 2, 2, 1, 1, 2}, DType::kF32, {}, Values::kNormal, 8);
  StoreRounded(DType::kF32, owned.Element(owned.q, owned.problem.q, 0, 1, 0, 0), 3e38f);
  StoreRounded(DType::kF32, owned.Element(owned.k, owned.problem.k, 0, 1, 0, 0), 3e38f);
  const IntervalBlock block = Intervals(owned.problem, 0);
  EXPECT_GT(block.o[2].low, block.o[2].high);
  EXPECT_GT(block.lse[1].low, block.lse[1].high);
}

TEST(AttentionInterval, RowsWithoutKeys) {
  MaskSpec mask;
  mask.corner = Corner::kBottomRight;
  const OwnedProblem owned =
      MakeProblem({1, 5, 2, 1, 1, 3}, DType::kBF16, mask, Values::kNormal, 9);
  const IntervalBlock block = Intervals(owned.problem, 0);
  EXPECT_EQ(block.o[0].low, 0);
  EXPECT_EQ(block.o[0].high, 0);
  EXPECT_EQ(block.lse[0].high, -std::numeric_limits<float>::infinity());
}

}  // namespace
}  // namespace bitanchor
