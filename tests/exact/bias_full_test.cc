// No kernel that conforms is called biased, however its roundings point; small systematic faults
// are.
#include <gtest/gtest.h>

#include <cmath>

#include "lib/exact/attention_interval.h"
#include "lib/verdict/bias.h"
#include "tests/exact/conforming_kernel.h"
#include "tests/support/random_problem.h"

namespace bitanchor {
namespace {

using testing::ConformingKernel;
using testing::MakeProblem;
using testing::OwnedProblem;
using testing::Values;

constexpr int64_t kS = 96, kHeads = 2;

std::vector<IntervalBlock> Wanted(const AttentionProblem& p, const Contract& contract) {
  std::vector<IntervalBlock> blocks(kHeads);
  const IntervalProblem problem{p, {}, {}, p.dtype};
  for (int64_t h = 0; h < kHeads; ++h)
    exact::AttentionIntervals(problem, contract, 0, h, 0, kS, blocks[h]);
  return blocks;
}

// answer(h, i, o) for every row.
template <typename Answer>
std::vector<BiasFinding> BiasOf(const AttentionProblem& p, const Contract& contract,
                                const std::vector<IntervalBlock>& want, const Answer& answer) {
  Bias bias(p.dtype);
  std::vector<float> o;
  for (int64_t h = 0; h < kHeads; ++h) {
    for (int64_t i = 0; i < kS; ++i) {
      answer(h, i, o);
      bias.AddRow(0, i, h, o.data(), &want[h].o[i * p.shape.D], p.shape.D);
    }
  }
  return FindBias(bias, {contract.BiasFloor(kS, UnitRoundoff(p.dtype)), 0x1p-12});
}

OwnedProblem Drawn(DType dtype, uint64_t seed) {
  const Values styles[] = {Values::kNormal, Values::kPositive, Values::kInteger};
  MaskSpec mask;
  mask.rule = seed % 3 == 0 ? MaskRule::kAnchor : MaskRule::kFull;
  mask.causal = seed % 4 != 1;
  const int64_t D = std::vector<int64_t>{8, 16, 33}[seed % 3];
  OwnedProblem owned =
      MakeProblem({1, kS, kS, kHeads, 1, D}, dtype, mask, styles[seed / 3 % 3], seed);
  const float scales[] = {1, 8, 0.01f};  // ordinary, sharp and nearly uniform weights
  owned.problem.softmax_scale *= scales[seed / 9 % 3];
  return owned;
}

class BiasSoundness : public ::testing::TestWithParam<std::string> {};

TEST_P(BiasSoundness, ConformingKernelsAreNotBiased) {
  const Contract& contract = *FindContract(GetParam());
  int64_t measured = 0;
  for (uint64_t seed = 0; seed < 27; ++seed) {
    const OwnedProblem owned = Drawn(contract.dtype, seed);
    const std::vector<IntervalBlock> want = Wanted(owned.problem, contract);
    for (uint64_t variant = 0; variant < 8; ++variant) {
      ConformingKernel kernel(contract, 1000 * seed + variant);
      float lse = 0;
      const auto findings = BiasOf(
          owned.problem, contract, want,
          [&](int64_t h, int64_t i, auto& o) { kernel.Row(owned.problem, 0, h, i, o, lse); });
      for (const BiasFinding& finding : findings) {
        ++measured;
        EXPECT_FALSE(finding.fails)
            << "seed " << seed << " variant " << variant << " " << Name(finding.witness) << " "
            << finding.estimate.bias << " u, " << finding.estimate.sigma << " sigma, floor "
            << finding.floor.bias;
      }
    }
  }
  EXPECT_GT(measured, 27 * 8 * 3 / 2);
}

// Problems whose rows have scores in common, so that the roundings of their weights are common too,
// or whose outputs fall on ties of the last rounding.
enum class Structure { kOneQuery, kLattice, kSigns, kFewTokens, kPairs, kFlushed, kLarge };

OwnedProblem Structured(DType dtype, Structure structure, uint64_t seed) {
  MaskSpec mask;
  mask.causal = structure != Structure::kPairs && structure != Structure::kLarge;
  OwnedProblem owned =
      MakeProblem({1, kS, kS, kHeads, 1, 16}, dtype, mask, Values::kPositive, seed);
  AttentionProblem& p = owned.problem;
  const auto put = [&](std::vector<std::byte>& tensor, const TensorView& view, const auto& value) {
    for (int64_t s = 0; s < kS; ++s) {
      for (int64_t h = 0; h < view.shape[2]; ++h) {
        for (int64_t d = 0; d < view.shape[3]; ++d) {
          StoreRounded(dtype, owned.Element(tensor, view, 0, s, h, d), value(s, h, d));
        }
      }
    }
  };
  std::mt19937_64 random(seed);
  const auto normal = [&] { return Draw(Values::kNormal, random); };
  const auto draw = [&](int64_t, int64_t, int64_t) { return normal(); };
  const auto bits = [&](float low) {
    return [&random, low](int64_t, int64_t, int64_t) { return random() % 2 == 0 ? low : 1.0f; };
  };
  // Row s as row at(s) of q; called in ascending order.
  const auto again = [&](const auto& at) {
    const OwnedProblem other = MakeProblem(p.shape, dtype, mask, Values::kNormal, seed + 1);
    std::vector<std::byte> bytes = other.q;
    TensorView view = other.problem.q;
    view.data = bytes.data();
    put(owned.q, p.q, [&](int64_t s, int64_t h, int64_t d) { return view.At(0, at(s), h, d); });
  };
  put(owned.k, p.k, draw);
  switch (structure) {
    case Structure::kOneQuery:
      again([](int64_t) { return 0; });
      break;
    case Structure::kLattice:
      put(owned.q, p.q, bits(0));
      put(owned.k, p.k, bits(0));
      break;
    case Structure::kSigns:
      put(owned.q, p.q, bits(-1));
      put(owned.k, p.k, bits(-1));
      break;
    case Structure::kFewTokens:
      again([](int64_t s) { return s * 7 % 3; });
      break;
    case Structure::kPairs:  // every key twice, weights so sharp that o is the mean of two v
      put(owned.q, p.q, [&](int64_t, int64_t, int64_t) { return 64 * normal(); });
      put(owned.k, p.k, [&](int64_t s, int64_t h, int64_t d) {
        return s < kS / 2 ? normal() : p.k.At(0, s - kS / 2, h, d);
      });
      break;
    case Structure::kFlushed:
      put(owned.q, p.q, draw);
      put(owned.v, p.v, [&](int64_t, int64_t, int64_t) { return 1e-38f * normal(); });
      break;
    case Structure::kLarge:  // scores in the hundreds, made of terms of one sign
      put(owned.q, p.q, [&](int64_t, int64_t, int64_t) { return 64 * std::fabs(normal()); });
      put(owned.k, p.k, [&](int64_t, int64_t, int64_t) { return 1 + 0.25f * std::fabs(normal()); });
      break;
  }
  return owned;
}

TEST_P(BiasSoundness, NorWhereRowsHaveScoresInCommon) {
  const Contract& contract = *FindContract(GetParam());
  for (uint64_t seed = 0; seed < 14; ++seed) {
    const OwnedProblem owned = Structured(contract.dtype, static_cast<Structure>(seed % 7), seed);
    const std::vector<IntervalBlock> want = Wanted(owned.problem, contract);
    for (uint64_t variant = 0; variant < 6; ++variant) {
      ConformingKernel kernel(contract, 1000 * seed + variant);
      Bias lse_bias(DType::kF32);
      float lse = 0;
      auto findings = BiasOf(owned.problem, contract, want, [&](int64_t h, int64_t i, auto& o) {
        kernel.Row(owned.problem, 0, h, i, o, lse);
        lse_bias.AddRow(0, i, h, &lse, &want[h].lse[i], 1);
      });
      constexpr Witness kOfLse[] = {Witness::kOffset, Witness::kScale};
      const double effect = contract.LseBiasFloor(kS) / UnitRoundoff(DType::kF32);
      const auto of_lse = FindBias(lse_bias, {0, effect}, kOfLse);
      findings.insert(findings.end(), of_lse.begin(), of_lse.end());
      for (const BiasFinding& finding : findings) {
        EXPECT_FALSE(finding.fails)
            << "seed " << seed << " variant " << variant << " " << Name(finding.witness) << " "
            << finding.estimate.bias << " u, " << finding.estimate.sigma << " sigma, floor "
            << finding.floor.bias;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Contracts, BiasSoundness,
                         ::testing::Values("flash-bf16", "flash-f16", "flash-f32", "flash-gpu-bf16",
                                           "flash-gpu-f16", "tensor-core-bf16", "tensor-core-f16",
                                           "eager-bf16", "eager-f16", "skip-rescale-bf16",
                                           "skip-rescale-f16"));

// The exact answer of a fault, rounded once.
enum class Fault { kNone, kTruncatedWeights, kScaleOff, kRowSumOff };

void FaultyRow(const AttentionProblem& p, Fault fault, int64_t h, int64_t i,
               std::vector<float>& o) {
  const double scale = p.softmax_scale * (fault == Fault::kScaleOff ? 1 + 1e-4 : 1.0);
  std::vector<double> t(kS, -INFINITY), sum(p.shape.D, 0.0);
  double m = -INFINITY, l = 0;
  for (int64_t j = 0; j < kS; ++j) {
    if (!p.mask.Visible(0, i, j)) continue;
    double x = 0;
    for (int64_t d = 0; d < p.shape.D; ++d) x += double{p.q.At(0, i, h, d)} * p.k.At(0, j, 0, d);
    t[j] = scale * x;
    m = std::max(m, t[j]);
  }
  for (int64_t j = 0; j < kS; ++j) {
    if (std::isinf(t[j])) continue;
    const double w = std::exp(t[j] - m);
    l += w;
    const Rounding mode = Rounding::kTowardZero;
    const double used = fault == Fault::kTruncatedWeights ? RoundTo(p.dtype, w, mode) : w;
    for (int64_t d = 0; d < p.shape.D; ++d) sum[d] += used * p.v.At(0, j, 0, d);
  }
  if (fault == Fault::kRowSumOff) l *= 1 + 1e-4;
  o.clear();
  for (const double x : sum) o.push_back(RoundTo(p.dtype, x / l));
}

TEST(BiasSharpness, SmallSystematicFaultsFail) {
  for (const Values values : {Values::kNormal, Values::kPositive}) {
    const OwnedProblem owned =
        MakeProblem({1, kS, kS, kHeads, 1, 128}, DType::kBF16, {}, values, 77);
    const Contract& contract = DefaultContract(DType::kBF16);
    const std::vector<IntervalBlock> want = Wanted(owned.problem, contract);
    const auto fails = [&](Fault fault) {
      const auto findings =
          BiasOf(owned.problem, contract, want,
                 [&](int64_t h, int64_t i, auto& o) { FaultyRow(owned.problem, fault, h, i, o); });
      for (const BiasFinding& finding : findings) {
        if (finding.fails) return true;
      }
      return false;
    };
    EXPECT_FALSE(fails(Fault::kNone));
    EXPECT_TRUE(fails(Fault::kTruncatedWeights));
    EXPECT_TRUE(fails(Fault::kRowSumOff));
    // With v of one sign outputs are large beside what the scale moves: that takes more rows than
    // these.
    EXPECT_TRUE(fails(Fault::kScaleOff) || values == Values::kPositive);
  }
}

}  // namespace
}  // namespace bitanchor
