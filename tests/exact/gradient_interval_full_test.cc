// Sound: the gradients of no conforming kernel are ever outside. Sharp enough to bite: they come
// near the bound, and each fault of the list leaves it.
#include <gtest/gtest.h>

#include "lib/exact/gradient_interval.h"
#include "lib/scalar/attention.h"
#include "tests/exact/conforming_backward.h"
#include "tests/exact/random_contract.h"
#include "tests/support/random_problem.h"

namespace bitanchor {
namespace {

using testing::ConformingBackward;
using testing::MakeProblem;
using testing::OwnedProblem;
using testing::Values;

struct Case {
  OwnedProblem owned;
  std::vector<std::byte> dout_bytes;
  TensorView dout;
};

Case MakeCase(const AttentionShape& shape, DType dtype, const MaskSpec& mask, Values style,
              uint64_t seed) {
  Case made{MakeProblem(shape, dtype, mask, style, seed), {}, {}};
  std::mt19937_64 random(seed + 77);
  Fill(made.dout_bytes, made.dout, dtype, {shape.B, shape.Sq, shape.Hq, shape.D}, style, random);
  return made;
}

struct Intervals {
  std::vector<Interval> dq, dk, dv;  // [Sq, group, D], [Skv, D], [Skv, D]
  std::vector<Interval> delta;       // [group, Sq]
};

// Of the last key head. `own`: the kernel's, or null.
Intervals IntervalsOf(const Case& c, const ConformingBackward* own, const Contract& contract) {
  const AttentionProblem& p = c.owned.problem;
  const auto [B, Sq, Skv, Hq, Hkv, D] = p.shape;
  (void)B;
  const int64_t group = Hq / Hkv;
  exact::GradientProblem problem{{p, {}, {}, p.dtype}, c.dout, p.dtype, p.dtype, p.dtype, {}, {}};
  if (own != nullptr) {
    problem.lse.assign(Hq * Sq, 0.0f);
    problem.delta.assign(Hq * Sq, 0.0f);
    std::copy(own->lse.begin(), own->lse.end(), problem.lse.end() - group * Sq);
    std::copy(own->delta.begin(), own->delta.end(), problem.delta.end() - group * Sq);
  }
  exact::GradientIntervals intervals(problem, contract);
  Intervals out;
  out.dq.resize(Sq * group * D);
  out.dk.resize(Skv * D);
  out.dv.resize(Skv * D);
  out.delta.resize(group * Sq);
  for (int64_t g = 0; g < group; ++g) {
    for (int64_t i = 0; i < Sq; ++i) {
      intervals.QueryRow(0, Hq - group + g, i, &out.dq[(i * group + g) * D], out.delta[g * Sq + i]);
    }
  }
  for (int64_t j = 0; j < Skv; ++j) {
    intervals.KeyRow(0, Hkv - 1, j, &out.dk[j * D], &out.dv[j * D]);
  }
  return out;
}

Intervals IntervalsOf(const Case& c, const ConformingBackward* own) {
  return IntervalsOf(c, own, DefaultContract(c.owned.problem.dtype));
}

struct Tally {
  int64_t elements = 0, outside = 0, undetermined = 0;
  double worst_share = 0;

  void Add(const char* name, uint64_t seed, const std::vector<float>& got,
           const std::vector<Interval>& want) {
    ASSERT_EQ(got.size(), want.size());
    for (size_t n = 0; n < got.size(); ++n) {
      const Interval& interval = want[n];
      ++elements;
      if (interval.low > interval.high) {
        ++undetermined;
        continue;
      }
      const double side =
          got[n] > interval.want ? interval.high - interval.want : interval.want - interval.low;
      if (side > 0) worst_share = std::max(worst_share, std::fabs(got[n] - interval.want) / side);
      if ((got[n] < interval.low || got[n] > interval.high) && ++outside < 5) {
        ADD_FAILURE() << name << ", seed " << seed << ", element " << n << ": " << got[n]
                      << " outside [" << interval.low << ", " << interval.high << "], want "
                      << interval.want;
      }
    }
  }
};

// One simulated backward pass.
void Judge(const Case& c, const Contract& contract, uint64_t seed, std::array<Tally, 4>& tallies) {
  ConformingBackward kernel(contract, seed);
  kernel.Run(c.owned.problem, c.dout, c.owned.problem.shape.Hkv - 1);
  const Intervals want = IntervalsOf(c, seed % 2 == 0 ? &kernel : nullptr, contract);
  tallies[0].Add("dq", seed, kernel.dq, want.dq);
  tallies[1].Add("dk", seed, kernel.dk, want.dk);
  tallies[2].Add("dv", seed, kernel.dv, want.dv);
  tallies[3].Add("delta", seed, kernel.delta, want.delta);
}

class GradientSoundness : public ::testing::TestWithParam<DType> {
 protected:
  void Judge(const Case& c, uint64_t seed) {
    bitanchor::Judge(c, DefaultContract(GetParam()), seed, tallies_);
  }

  std::array<Tally, 4> tallies_;
};

TEST_P(GradientSoundness, ConformingKernelsAreInside) {
  const Values styles[] = {Values::kNormal, Values::kPositive, Values::kInteger, Values::kNormal,
                           Values::kSubnormal};
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    MaskSpec mask{seed % 3 == 0 ? MaskRule::kAnchor : MaskRule::kFull, seed % 5 != 0, std::nullopt,
                  Corner::kTopLeft};
    if (seed % 7 == 0) mask.window_keys = 9;
    const int64_t S = 3 + static_cast<int64_t>(seed * 7 % 45),
                  D = 1 + static_cast<int64_t>(seed * 13 % 40);
    Case c = MakeCase({1, S, S, 4, 2, D}, GetParam(), mask, styles[seed % 5], seed);
    if (seed % 4 == 1) c.owned.problem.softmax_scale *= 8;  // sharp softmax, scores in the tens
    Judge(c, seed);
  }
  for (const Tally& tally : tallies_) {
    EXPECT_EQ(tally.outside, 0);
    EXPECT_EQ(tally.undetermined, 0);
    EXPECT_GT(tally.worst_share, GetParam() == DType::kF32 ? 0.01 : 0.4)
        << "the intervals are far too wide";
  }
}

// Deep sums; several tiles of keys, and of queries.
TEST_P(GradientSoundness, LongRowsAndColumns) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    MaskSpec mask;
    mask.corner = Corner::kBottomRight;
    const AttentionShape shape =
        seed % 2 == 0 ? AttentionShape{1, 3, 1600, 2, 1, 8} : AttentionShape{1, 900, 5, 2, 1, 8};
    mask.causal = seed % 2 == 0;
    Judge(MakeCase(shape, GetParam(), mask, seed % 3 == 0 ? Values::kPositive : Values::kNormal,
                   seed),
          seed);
  }
  for (const Tally& tally : tallies_) EXPECT_EQ(tally.outside, 0);
}

// The definition conforms, whatever the numbers: huge ones, NaN and infinities among them.
TEST_P(GradientSoundness, TheDefinitionIsInsideOnAnyValues) {
  const float special[] = {std::nanf(""), INFINITY, -INFINITY, 3e38f, -3e38f, 1e-45f, -0.0f, 6e4f};
  int64_t judged = 0, all = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    MaskSpec mask{seed % 3 == 0 ? MaskRule::kAnchor : MaskRule::kFull, seed % 5 != 0, std::nullopt,
                  Corner::kTopLeft};
    const AttentionShape shape = {1, 9, 9, 2, 1, 3 + static_cast<int64_t>(seed % 3)};
    Case c = MakeCase(shape, GetParam(), mask, Values::kWide, seed);
    std::mt19937_64 random(seed);
    const size_t size = DTypeBytes(GetParam());
    for (std::vector<std::byte>* tensor : {&c.owned.q, &c.owned.k, &c.owned.v, &c.dout_bytes}) {
      for (size_t at = 0; at < tensor->size() && seed % 4 != 0; at += size) {
        if (random() % 60 == 0) StoreRounded(GetParam(), &(*tensor)[at], special[random() % 8]);
      }
    }
    const Intervals want = IntervalsOf(c, nullptr);
    const auto [B, Sq, Skv, Hq, Hkv, D] = shape;
    std::vector<std::byte> dq(Sq * Hq * D * size), dk(Skv * D * size), dv(Skv * D * size);
    const AttentionGradients out = {DenseView<std::byte>(GetParam(), dq.data(), {B, Sq, Hq, D}),
                                    DenseView<std::byte>(GetParam(), dk.data(), {B, Skv, Hkv, D}),
                                    DenseView<std::byte>(GetParam(), dv.data(), {B, Skv, Hkv, D})};
    scalar::AttentionBackward(c.owned.problem, AttentionRecipes()[0], c.dout, out);
    const auto expect_inside = [&](const std::vector<std::byte>& bytes,
                                   const std::vector<Interval>& intervals, const char* name) {
      for (size_t n = 0; n < intervals.size(); ++n) {
        const float got = LoadF32(GetParam(), &bytes[n * size]);
        const Interval& interval = intervals[n];
        ++all;
        if (interval.low > interval.high) continue;
        ++judged;
        const bool inside = std::isnan(interval.low) ? std::isnan(got)
                                                     : interval.low <= got && got <= interval.high;
        EXPECT_TRUE(inside) << name << " seed " << seed << " element " << n << ": " << got
                            << " outside [" << interval.low << ", " << interval.high << "]";
      }
    };
    expect_inside(dq, want.dq, "dq");
    expect_inside(dk, want.dk, "dk");
    expect_inside(dv, want.dv, "dv");
  }
  EXPECT_GT(judged, all / 3);
}

// Equal terms, so that the roundings of a stored sum err to one side: of one sign, where a sum
// through all heads costs most, or of one sign in each head, where sums of their own do.
TEST_P(GradientSoundness, GroupsOfManyHeads) {
  for (uint64_t seed = 0; seed < 48; ++seed) {
    MaskSpec mask;
    mask.causal = false;
    const AttentionShape shape = {1, 760, 3 + static_cast<int64_t>(seed % 5), 8, 1, 1};
    Case c = MakeCase(shape, GetParam(), mask, Values::kPositive, seed);
    std::fill(c.owned.q.begin(), c.owned.q.end(), std::byte{0});
    for (int64_t i = 0; i < shape.Sq; ++i) {
      for (int64_t h = 0; h < shape.Hq; ++h) {
        std::byte* const gradient = c.dout_bytes.data() + (c.dout.Row(0, i, h) - c.dout.data);
        StoreRounded(GetParam(), gradient, seed % 2 == 1 && h % 2 == 1 ? -1.0f : 1.0f);
      }
    }
    Judge(c, seed);
  }
  for (const Tally& tally : tallies_) EXPECT_EQ(tally.outside, 0);
}

INSTANTIATE_TEST_SUITE_P(Contracts, GradientSoundness,
                         ::testing::Values(DType::kBF16, DType::kF16, DType::kF32));

Case SmallCase(DType dtype, uint64_t seed) {
  const Values styles[] = {Values::kNormal, Values::kPositive, Values::kInteger, Values::kNormal,
                           Values::kSubnormal};
  MaskSpec mask{seed % 3 == 0 ? MaskRule::kAnchor : MaskRule::kFull, seed % 5 != 0, std::nullopt,
                Corner::kTopLeft};
  if (seed % 7 == 0) mask.window_keys = 5;
  const int64_t S = 3 + static_cast<int64_t>(seed * 7 % 18),
                D = 1 + static_cast<int64_t>(seed * 13 % 20);
  Case c = MakeCase({1, S, S, 4, 2, D}, dtype, mask, styles[seed % 5], seed);
  if (seed % 4 == 1) c.owned.problem.softmax_scale *= 8;
  return c;
}

// The contracts that are nobody's default.
class OtherGradientContracts : public ::testing::TestWithParam<std::string> {};

TEST_P(OtherGradientContracts, ConformingKernelsAreInside) {
  const Contract& contract = *FindContract(GetParam());
  std::array<Tally, 4> tallies;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    Judge(SmallCase(contract.dtype, seed), contract, seed, tallies);
  }
  for (const Tally& tally : tallies) {
    EXPECT_EQ(tally.outside, 0);
    EXPECT_LT(tally.undetermined, tally.elements / 20);
    EXPECT_GT(tally.worst_share, 0.3) << "the intervals are far too wide";
  }
}

INSTANTIATE_TEST_SUITE_P(Contracts, OtherGradientContracts,
                         ::testing::Values("flash-gpu-bf16", "flash-gpu-f16", "tensor-core-bf16",
                                           "tensor-core-f16", "eager-bf16", "eager-f16",
                                           "skip-rescale-bf16", "skip-rescale-f16"));

TEST(RandomGradientContracts, ConformingKernelsAreInside) {
  std::array<Tally, 4> tallies;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const Contract contract = testing::RandomContract(seed);
    Judge(SmallCase(contract.dtype, seed), contract, seed, tallies);
  }
  for (const Tally& tally : tallies) {
    EXPECT_EQ(tally.outside, 0);
    EXPECT_LT(tally.undetermined, tally.elements / 10);
  }
}

int64_t Outside(const std::vector<float>& got, const std::vector<Interval>& want) {
  int64_t outside = 0;
  for (size_t n = 0; n < got.size(); ++n) {
    outside += got[n] < want[n].low || got[n] > want[n].high;
  }
  return outside;
}

// One key that one row does not see moves what depends on it by far more than the interval.
TEST(GradientSharpness, OneKeyMissingInOneRowIsOutside) {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    const Case c = MakeCase({1, 64, 64, 2, 1, 32}, dtype, {}, Values::kNormal, 5);
    const Intervals want = IntervalsOf(c, nullptr);
    Case wrong = MakeCase({1, 64, 64, 2, 1, 32}, dtype, {}, Values::kNormal, 5);
    wrong.owned.problem.mask.spec.window_keys = 63;  // the last row loses its first key
    ConformingBackward kernel(DefaultContract(dtype), 0);
    kernel.Run(wrong.owned.problem, wrong.dout, 0);
    EXPECT_GT(Outside(kernel.dq, want.dq), 10) << DTypeName(dtype);
    EXPECT_GT(Outside(kernel.dk, want.dk), 10) << DTypeName(dtype);
    EXPECT_GT(Outside(kernel.dv, want.dv), 10) << DTypeName(dtype);
  }
}

TEST(GradientInterval, SpecialRows) {
  const float inf = std::numeric_limits<float>::infinity();
  Case c = MakeCase({1, 5, 5, 1, 1, 2}, DType::kF32, {}, Values::kNormal, 6);
  OwnedProblem& owned = c.owned;
  StoreRounded(DType::kF32, owned.Element(owned.v, owned.problem.v, 0, 3, 0, 0), inf);
  StoreRounded(DType::kF32, owned.Element(owned.k, owned.problem.k, 0, 4, 0, 1), std::nanf(""));
  const Intervals want = IntervalsOf(c, nullptr);
  for (int64_t d = 0; d < 2; ++d) {
    EXPECT_LE(want.dq[2 * 2 + d].low, want.dq[2 * 2 + d].high);  // rows 0 to 2: ordinary
    EXPECT_GT(want.dq[3 * 2 + d].low, want.dq[3 * 2 + d].high);  // row 3 sees the Inf
    EXPECT_TRUE(std::isnan(want.dq[4 * 2 + d].low));             // row 4: a NaN score
    EXPECT_TRUE(std::isnan(want.dk[d].low));                     // row 4 sees every key
    EXPECT_TRUE(std::isnan(want.dv[4 * 2 + d].low));
  }
}

TEST(GradientInterval, WhatNothingReachesIsZero) {
  MaskSpec mask;
  mask.corner = Corner::kBottomRight;
  const Case rows = MakeCase({1, 5, 2, 1, 1, 3}, DType::kBF16, mask, Values::kNormal, 9);
  EXPECT_EQ(IntervalsOf(rows, nullptr).dq[0].low, 0);
  EXPECT_EQ(IntervalsOf(rows, nullptr).dq[0].high, 0);
  mask.corner = Corner::kTopLeft;
  const Case keys = MakeCase({1, 2, 5, 1, 1, 3}, DType::kBF16, mask, Values::kNormal, 9);
  EXPECT_EQ(IntervalsOf(keys, nullptr).dk[4 * 3].high, 0);
  EXPECT_EQ(IntervalsOf(keys, nullptr).dv[4 * 3].low, 0);
}

}  // namespace
}  // namespace bitanchor
