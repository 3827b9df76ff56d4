// Sound: no conforming kernel is ever outside. Sharp enough to bite: the same kernels come near the
// bound, and small faults leave it.
#include <gtest/gtest.h>

#include "lib/exact/attention_interval.h"
#include "lib/scalar/attention.h"
#include "tests/exact/soundness.h"

namespace bitanchor {
namespace {

using testing::IntervalsOf;
using testing::Judge;
using testing::MakeProblem;
using testing::OwnedProblem;
using testing::Tally;
using testing::Values;

IntervalBlock Intervals(const AttentionProblem& p, int64_t h) {
  return IntervalsOf(p, h, DefaultContract(p.dtype), p.dtype);
}

bool Inside(float got, const Interval& interval) {
  return interval.low > interval.high || (interval.low <= got && got <= interval.high);
}

class Soundness : public ::testing::TestWithParam<std::string> {
 protected:
  const Contract& contract() const { return *FindContract(GetParam()); }
};

TEST_P(Soundness, ConformingKernelsAreInside) {
  Tally tally;
  for (uint64_t seed = 0; seed < 1200; ++seed) {
    const OwnedProblem owned = testing::SmallProblem(contract().dtype, seed);
    Judge(owned.problem, contract(), seed, contract().dtype, tally);
  }
  EXPECT_EQ(tally.outside, 0);
  EXPECT_GE(tally.kernels, 1000);
  EXPECT_LT(tally.undetermined, tally.elements / 20);
  EXPECT_GT(tally.worst_share, contract().dtype == DType::kF32 ? 0.02 : 0.4)
      << "the intervals are far too wide";
}

// o before it is rounded, where the last rounding hides nothing.
TEST_P(Soundness, UnroundedOutputs) {
  Tally tally;
  for (uint64_t seed = 5000; seed < 5600; ++seed) {
    const OwnedProblem owned = testing::SmallProblem(contract().dtype, seed);
    Judge(owned.problem, contract(), seed, DType::kF32, tally);
  }
  EXPECT_EQ(tally.outside, 0);
  RecordProperty("worst_share", std::to_string(tally.worst_share));
  RecordProperty("worst_lse_share", std::to_string(tally.worst_lse_share));
}

// Many keys: deep sums, many rescalings.
TEST_P(Soundness, LongRows) {
  Tally tally;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    MaskSpec mask;
    mask.corner = Corner::kBottomRight;
    const OwnedProblem owned =
        MakeProblem({1, 2, 1500, 1, 1, 16}, contract().dtype, mask,
                    seed % 2 == 0 ? Values::kPositive : Values::kNormal, seed);
    Judge(owned.problem, contract(), seed, contract().dtype, tally);
  }
  EXPECT_EQ(tally.outside, 0);
}

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (const Contract& contract : Contracts()) names.push_back(contract.name);
  return names;
}

std::string Identifier(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Contracts, Soundness, ::testing::ValuesIn(Names()), Identifier);

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
