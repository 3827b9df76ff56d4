// What each contract's own term is for, where it is all that matters; and what no contract admits:
// kernels of a looser contract, small faults.
#include <gtest/gtest.h>

#include "tests/exact/soundness.h"

namespace bitanchor {
namespace {

using testing::ConformingKernel;
using testing::IntervalsOf;
using testing::MakeProblem;
using testing::OwnedProblem;
using testing::Tally;
using testing::Values;

const Contract& Named(const std::string& name) { return *FindContract(name); }

void ScaleBy(OwnedProblem& owned, std::vector<std::byte>& bytes, float factor) {
  const DType dtype = owned.problem.dtype;
  for (size_t at = 0; at < bytes.size(); at += DTypeBytes(dtype)) {
    StoreRounded(dtype, &bytes[at], LoadF32(dtype, &bytes[at]) * factor);
  }
}

// How many of the kernel's answers, o in f32 and lse, are inadmissible.
int64_t Outside(const Contract& judge, const Contract& kernel_contract, const OwnedProblem& owned,
                uint64_t seed, DType o_dtype = DType::kF32) {
  const AttentionProblem& p = owned.problem;
  const IntervalBlock want = IntervalsOf(p, 0, judge, o_dtype);
  ConformingKernel kernel(kernel_contract, seed);
  kernel.StoreOutputAs(o_dtype);
  int64_t outside = 0;
  std::vector<float> o;
  float lse = 0;
  for (int64_t i = 0; i < p.shape.Sq; ++i) {
    kernel.Row(p, 0, 0, i, o, lse);
    for (size_t d = 0; d < o.size(); ++d) {
      outside += !Admits(want.o[i * p.shape.D + static_cast<int64_t>(d)], o[d]);
    }
    outside += !Admits(want.lse[i], lse);
  }
  return outside;
}

// A unit takes subnormal factors for as large as 2^-14: V, or Q and K, far below. Of one sign, so
// that truncations add up.
TEST(MatrixUnitTerm, SubnormalFactors) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const Values values = seed % 2 == 0 ? Values::kNormal : Values::kPositive;
    OwnedProblem owned = MakeProblem({1, 4, 40, 1, 1, 24}, DType::kF16, {}, values, seed);
    owned.problem.mask.spec.causal = false;
    if (seed % 2 == 0) {
      ScaleBy(owned, owned.v, 0x1p-19f);
    } else {
      ScaleBy(owned, owned.q, 0x1p-21f);
      ScaleBy(owned, owned.k, 0x1p12f);
      owned.problem.softmax_scale *= 0x1p8f;
    }
    Contract contract = Named("tensor-core-f16");
    if (seed % 4 >= 2) contract.unit.fraction_bits = 14;
    EXPECT_EQ(Outside(contract, contract, owned, seed), 0) << seed;
  }
}

// Every term of a group may be truncated, the accumulator as well: the bound of one group is
// reached to a few percent.
TEST(MatrixUnitTerm, AGroupThatLosesAllItMay) {
  Contract contract;
  contract.unit = {4, 12};
  // Some product of two bf16 numbers next to 1 ends in ones below 2^-12; the others lie there.
  double worst = 0;
  for (int a = 128; a < 256; ++a) {
    for (int b = 128; b < 256; ++b) {
      const float big_a = static_cast<float>(a) / 128, big_b = static_cast<float>(b) / 128;
      const float lost = std::ldexp(255.0f / 256, -12);
      const std::vector<testing::Factors> group = {{big_a, big_b}, {lost, 1}, {lost, 1}, {lost, 1}};
      const float got = testing::DotAdd(contract.unit, -126, lost, group);
      const double want = double{big_a} * big_b + 4 * double{lost};
      const double error = std::fabs(got - want) / want;
      EXPECT_LE(error, contract.UnitError(4, 1));
      worst = std::max(worst, error / contract.UnitError(4, 1));
    }
  }
  EXPECT_GT(worst, 0.9);
}

// One accumulator through all keys loses up to an ulp per step, always toward zero: beyond what
// sums of depth 128 + n / 64 may. (The row sum's depth is its own, and would admit as much here.)
TEST(MatrixUnitTerm, AChainedTruncatingAccumulatorIsNoFlashGpuKernel) {
  OwnedProblem owned = MakeProblem({1, 1, 100000, 1, 1, 1}, DType::kF16, {}, Values::kPositive, 3);
  owned.problem.mask.spec.corner = Corner::kBottomRight;
  ScaleBy(owned, owned.q, 0);
  const Contract& truncating = Named("tensor-core-f16");
  Contract flash = Named("flash-gpu-f16");
  flash.row_sum_keys = flash.depth_keys;
  int64_t outside = 0;
  for (uint64_t seed = 0; seed < 6; ++seed) {
    EXPECT_EQ(Outside(truncating, truncating, owned, seed), 0);
    outside += Outside(flash, truncating, owned, seed);
  }
  EXPECT_GT(outside, 0);
}

// Scores of 0, then of 40: a kernel that skips the rescaling has weights of 2^57, and a sum of
// them times V beyond f32.
TEST(SkippedRescaling, OverflowIsUndetermined) {
  Contract contract = Named("skip-rescale-bf16");
  contract.stale_log2 = 60;
  OwnedProblem owned = MakeProblem({1, 1, 128, 1, 1, 1}, DType::kBF16, {}, Values::kNormal, 1);
  owned.problem.mask.spec.corner = Corner::kBottomRight;
  owned.problem.softmax_scale = 1;
  for (int64_t j = 0; j < 128; ++j) {
    StoreRounded(DType::kBF16, owned.Element(owned.k, owned.problem.k, 0, j, 0, 0),
                 j < 64 ? 0.0f : 40.0f);
    StoreRounded(DType::kBF16, owned.Element(owned.v, owned.problem.v, 0, j, 0, 0), 0x1p80f);
  }
  StoreRounded(DType::kBF16, owned.Element(owned.q, owned.problem.q, 0, 0, 0, 0), 1.0f);
  const IntervalBlock want = IntervalsOf(owned.problem, 0, contract, DType::kF32);
  EXPECT_GT(want.o[0].low, want.o[0].high);
  contract.stale_log2 = 8;
  const IntervalBlock usual = IntervalsOf(owned.problem, 0, contract, DType::kF32);
  EXPECT_LE(usual.o[0].low, usual.o[0].high);
}

// The reference is far below the maximum, so log l is far above 0, and their errors do not shrink
// with their sum.
TEST(SkippedRescaling, LogSumExpFromAStaleReference) {
  Contract contract = Named("flash-f32");
  contract.stale_log2 = 60;
  contract.log_error = 0x1p-24;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    OwnedProblem owned = MakeProblem({1, 1, 128, 1, 1, 1}, DType::kF32, {}, Values::kNormal, seed);
    owned.problem.mask.spec.corner = Corner::kBottomRight;
    owned.problem.softmax_scale = 1.37f;
    for (int64_t j = 0; j < 128; ++j) {  // lse about 0
      StoreRounded(DType::kF32, owned.Element(owned.k, owned.problem.k, 0, j, 0, 0),
                   j < 64 ? -29.0f + static_cast<float>(seed % 7) : -3.4f);
    }
    StoreRounded(DType::kF32, owned.Element(owned.q, owned.problem.q, 0, 0, 0, 0), 1.0f);
    EXPECT_EQ(Outside(contract, contract, owned, seed), 0) << seed;
  }
}

TEST(RoundedScores, OverflowIsUndetermined) {
  OwnedProblem owned = MakeProblem({1, 1, 4, 1, 1, 4}, DType::kF16, {}, Values::kNormal, 1);
  owned.problem.mask.spec.corner = Corner::kBottomRight;
  owned.problem.softmax_scale = 0x1p-12f;
  ScaleBy(owned, owned.q, 4096);
  ScaleBy(owned, owned.k, 256);
  const IntervalBlock want = IntervalsOf(owned.problem, 0, Named("eager-f16"), DType::kF16);
  EXPECT_GT(want.o[0].low, want.o[0].high);
  EXPECT_LE(IntervalsOf(owned.problem, 0, Named("tensor-core-f16"), DType::kF16).o[0].low,
            INFINITY);
}

// Scores of 2^-22 times 2^18: what a rounding to a subnormal f16 loses is all there is.
TEST(RoundedScores, SubnormalScores) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    OwnedProblem owned = MakeProblem({1, 4, 40, 1, 1, 4}, DType::kF16, {}, Values::kNormal, seed);
    owned.problem.mask.spec.causal = false;
    ScaleBy(owned, owned.q, 0x1p-12f);
    ScaleBy(owned, owned.k, 0x1p-10f);
    owned.problem.softmax_scale = 0x1p18f;
    EXPECT_EQ(Outside(Named("eager-f16"), Named("eager-f16"), owned, seed), 0) << seed;
  }
}

// P = 1/n is subnormal in f16, and all weights are rounded alike.
TEST(NormalisedFirst, SubnormalProbabilities) {
  Contract contract = Named("eager-f16");
  contract.unit = {};
  contract.depth_keys = contract.row_sum_keys = 64;
  for (int64_t n = 60000; n < 120000; n += 9000) {
    OwnedProblem owned = MakeProblem({1, 1, n, 1, 1, 1}, DType::kF16, {}, Values::kPositive, 1);
    owned.problem.mask.spec.corner = Corner::kBottomRight;
    ScaleBy(owned, owned.q, 0);
    EXPECT_EQ(Outside(contract, contract, owned, static_cast<uint64_t>(n)), 0) << n;
  }
}

class Faults : public ::testing::TestWithParam<const char*> {
 protected:
  const Contract& contract() const { return Named(GetParam()); }
  OwnedProblem Problem() const {
    return MakeProblem({1, 96, 96, 1, 1, 64}, contract().dtype, {}, Values::kNormal, 5);
  }
  // Of the last row of o and its lse, in the outputs' own types.
  int64_t OutsideInLastRow(const OwnedProblem& wrong, const Contract& kernel_contract) const {
    const OwnedProblem right = Problem();
    const DType dtype = contract().dtype;
    const IntervalBlock want = IntervalsOf(right.problem, 0, contract(), dtype);
    ConformingKernel kernel(kernel_contract, 11);
    std::vector<float> o;
    float lse = 0;
    kernel.Row(wrong.problem, 0, 0, 95, o, lse);
    int64_t outside = !Admits(want.lse[95], lse);
    for (int64_t d = 0; d < 64; ++d) outside += !Admits(want.o[95 * 64 + d], o[d]);
    return outside;
  }
};

TEST_P(Faults, NothingWrong) { EXPECT_EQ(OutsideInLastRow(Problem(), contract()), 0); }

TEST_P(Faults, OneKeyOfNinetySixMissing) {
  OwnedProblem wrong = Problem();
  wrong.problem.mask.spec.window_keys = 95;
  EXPECT_GT(OutsideInLastRow(wrong, contract()), contract().score_rounding > 0 ? 2 : 10);
}

TEST_P(Faults, ScaleThreePercentOff) {
  OwnedProblem wrong = Problem();
  // Two roundings to bf16 are worth 0.8 percent of every score.
  wrong.problem.softmax_scale *= contract().score_rounding > 0x1p-8 ? 1.12f : 1.03f;
  EXPECT_GT(OutsideInLastRow(wrong, contract()), 5);
}

TEST_P(Faults, WeightsOfTwoPercentError) {
  Contract coarse = contract();
  coarse.exp_error = 0.02;
  int64_t outside = 0;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    outside += Outside(contract(), coarse, Problem(), seed, contract().dtype);
  }
  EXPECT_GT(outside, 40);
}

INSTANTIATE_TEST_SUITE_P(Contracts, Faults,
                         ::testing::Values("flash-bf16", "flash-f16", "flash-f32", "flash-gpu-bf16",
                                           "flash-gpu-f16", "tensor-core-bf16", "tensor-core-f16",
                                           "eager-bf16", "eager-f16", "skip-rescale-bf16",
                                           "skip-rescale-f16"));

// A kernel of the looser contract is outside the tighter one.
TEST(Tighter, RoundedScoresAreNoFlashKernel) {
  for (const char* type : {"-bf16", "-f16"}) {
    for (const char* judge : {"flash", "flash-gpu", "tensor-core", "skip-rescale"}) {
      const Contract& eager = Named(std::string("eager") + type);
      const OwnedProblem owned =
          MakeProblem({1, 96, 96, 1, 1, 64}, eager.dtype, {}, Values::kNormal, 5);
      EXPECT_GT(Outside(Named(judge + std::string(type)), eager, owned, 1, eager.dtype), 3)
          << judge << type;
    }
  }
}

TEST(Tighter, PolynomialExpIsNoFlashGpuKernelInF16) {
  const Contract& loose = Named("skip-rescale-f16");
  int64_t outside = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const OwnedProblem owned =
        MakeProblem({1, 96, 96, 1, 1, 64}, loose.dtype, {}, Values::kNormal, seed);
    outside += Outside(Named("tensor-core-f16"), loose, owned, seed);
    EXPECT_EQ(Outside(loose, loose, owned, seed), 0);
  }
  EXPECT_GT(outside, 0);
}

}  // namespace
}  // namespace bitanchor
