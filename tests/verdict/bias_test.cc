// Right errors do not look systematic, small systematic ones do, and neither depends on the order
// of rows.
#include "lib/verdict/bias.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "lib/tensor/tensor_view.h"

namespace bitanchor {
namespace {

constexpr int64_t kHeads = 4, kRows = 256, kD = 64;

struct Row {
  int64_t b, s, h;
  std::vector<float> got;
  std::vector<Interval> want;
};

// Answers rounded to bf16, after `fault` has had its way with what is right.
template <typename Fault>
std::vector<Row> Answers(uint64_t seed, const Fault& fault) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::vector<Row> rows;
  for (int64_t h = 0; h < kHeads; ++h) {
    for (int64_t s = 0; s < kRows; ++s) {
      Row row{0, s, h, {}, {}};
      for (int64_t d = 0; d < kD; ++d) {
        Interval want = {0.1 * normal(random), 0, 0};
        want.size = static_cast<float>(0.8 + 0.1 * std::fabs(normal(random)));
        want.scale_slope = static_cast<float>(0.1 * normal(random));
        row.want.push_back(want);
        row.got.push_back(RoundTo(DType::kBF16, fault(h, want)));
      }
      rows.push_back(row);
    }
  }
  return rows;
}

double Right(int64_t, const Interval& want) { return want.want; }

Bias Sum(const std::vector<Row>& rows, DType dtype = DType::kBF16) {
  Bias bias(dtype);
  for (const Row& row : rows) bias.AddRow(row.b, row.s, row.h, row.got.data(), row.want.data(), kD);
  return bias;
}

const BiasFinding& Of(const std::vector<BiasFinding>& findings, Witness witness) {
  for (const BiasFinding& finding : findings) {
    if (finding.witness == witness && !finding.head) return finding;
  }
  ADD_FAILURE() << "no finding of " << Name(witness);
  return findings.front();
}

TEST(Bias, RightRoundingIsNone) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    for (const BiasFinding& finding : FindBias(Sum(Answers(seed, Right)), {0, 0})) {
      EXPECT_LT(std::fabs(finding.estimate.sigma), 5) << Name(finding.witness) << " seed " << seed;
      EXPECT_FALSE(finding.fails);
      EXPECT_EQ(finding.estimate.clusters, kHeads * kRows);
    }
  }
}

// Each witness sees its own fault, and says how large it is.
TEST(Bias, FaultsShow) {
  constexpr double kU = 0x1p-8, kSize = 0.1;
  const auto offset = FindBias(
      Sum(Answers(
          1, [](int64_t, const Interval& want) { return want.want - kSize * kU * want.size; })),
      {0.02, 0});
  EXPECT_TRUE(Of(offset, Witness::kOffset).fails);
  EXPECT_NEAR(Of(offset, Witness::kOffset).estimate.bias, -kSize, 0.005);

  const auto gain = FindBias(
      Sum(Answers(2, [](int64_t, const Interval& want) { return want.want * (1 - kSize * kU); })),
      {0.02, 0});
  EXPECT_TRUE(Of(gain, Witness::kGain).fails);
  EXPECT_NEAR(Of(gain, Witness::kGain).estimate.bias, -kSize, 0.02);
  EXPECT_FALSE(Of(gain, Witness::kOffset).fails);

  const auto scale = FindBias(Sum(Answers(3,
                                          [](int64_t, const Interval& want) {
                                            return want.want + kSize * kU * want.scale_slope;
                                          })),
                              {0.02, 0});
  EXPECT_TRUE(Of(scale, Witness::kScale).fails);
  EXPECT_NEAR(Of(scale, Witness::kScale).estimate.bias, kSize, 0.02);
}

TEST(Bias, FloorForgives) {
  const Bias bias = Sum(Answers(
      1, [](int64_t, const Interval& want) { return want.want - 0.1 * 0x1p-8 * want.size; }));
  EXPECT_TRUE(Of(FindBias(bias, {0.09, 0}), Witness::kOffset).fails);
  EXPECT_FALSE(Of(FindBias(bias, {0.11, 0}), Witness::kOffset).fails);
}

TEST(Bias, OneHeadIsNamed) {
  const auto findings = FindBias(Sum(Answers(4,
                                             [](int64_t h, const Interval& want) {
                                               return want.want * (h == 2 ? 1 - 0.3 * 0x1p-8 : 1.0);
                                             })),
                                 {0.02, 0});
  EXPECT_FALSE(Of(findings, Witness::kGain).fails) << "three of four heads are right";
  int64_t named = -1;
  for (const BiasFinding& finding : findings) {
    if (finding.fails) named = finding.head.value_or(-2);
  }
  EXPECT_EQ(named, 2);
}

// The same row again and again is one observation, whatever its rounding does.
TEST(Bias, RowsAlikeCountOnce) {
  std::vector<Row> rows = Answers(5, Right);
  for (Row& row : rows) {
    row.got = rows[0].got;
    row.want = rows[0].want;
  }
  for (const BiasFinding& finding : FindBias(Sum(rows), {0, 0})) {
    EXPECT_EQ(finding.estimate.clusters, 1);
    EXPECT_FALSE(finding.fails);
  }
}

// Rows that hardly differ: every dimension is rounded the same way in all of them, so there are as
// many observations as dimensions.
TEST(Bias, RowsNearlyAlikeAreNotIndependent) {
  int64_t failed = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<Row> rows = Answers(seed, Right);
    for (Row& row : rows) {
      for (int64_t d = 0; d < kD; ++d) {
        row.want[d] = rows[0].want[d];
        row.want[d].want *= 1 + 1e-9 * static_cast<double>(row.s + kRows * row.h);
        row.got[d] = RoundTo(DType::kBF16, row.want[d].want);
      }
    }
    for (const BiasFinding& finding : FindBias(Sum(rows), {0, 0})) failed += finding.fails;
  }
  EXPECT_EQ(failed, 0);
}

// Nor where the kernel errs by itself: by an amount of its own in every dimension, in all rows.
TEST(Bias, ErrorsOfDimensionsAreNotIndependentInRows) {
  int64_t failed = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<Row> rows = Answers(seed, Right);
    std::mt19937_64 random(seed);
    std::vector<double> of_dimension(kHeads * kD);
    for (double& x : of_dimension) x = 0x1p-8 * std::normal_distribution<double>()(random);
    for (Row& row : rows) {
      for (int64_t d = 0; d < kD; ++d) {
        const double off = of_dimension[row.h * kD + d] * row.want[d].size;
        row.got[d] = static_cast<float>(row.want[d].want + off);
      }
    }
    for (const BiasFinding& finding : FindBias(Sum(rows), {0, 0})) failed += finding.fails;
  }
  EXPECT_EQ(failed, 0);
}

TEST(Bias, FewRowsSayNothing) {
  std::vector<Row> rows =
      Answers(6, [](int64_t, const Interval& want) { return want.want * 0.99; });
  rows.resize(kLeastBiasRows - 1);
  for (const BiasFinding& finding : FindBias(Sum(rows), {0, 0})) EXPECT_FALSE(finding.fails);
}

TEST(Bias, OrderAndMergingDoNotMatter) {
  std::vector<Row> rows =
      Answers(7, [](int64_t, const Interval& want) { return want.want * 0.999; });
  const Bias ordered = Sum(rows);
  std::shuffle(rows.begin(), rows.end(), std::mt19937_64(1));
  Bias merged(DType::kBF16);
  for (size_t from = 0; from < rows.size(); from += 100) {
    merged.Merge(Sum({rows.begin() + static_cast<int64_t>(from),
                      rows.begin() + static_cast<int64_t>(std::min(rows.size(), from + 100))}));
  }
  for (const Witness witness : kWitnesses) {
    for (const std::optional<int64_t> head : {std::optional<int64_t>{}, {1}}) {
      EXPECT_EQ(ordered.Estimate(witness, head).bias, merged.Estimate(witness, head).bias);
      EXPECT_EQ(ordered.Estimate(witness, head).sigma, merged.Estimate(witness, head).sigma);
    }
  }
}

TEST(Bias, WhatIsNotFiniteOrNotMeasuredCountsForNothing) {
  std::vector<Row> rows = Answers(8, Right);
  Bias with = Sum(rows);
  Row strange = rows[0];
  for (int64_t d = 0; d < kD; ++d) {
    strange.got[d] = d % 2 == 0 ? std::nanf("") : std::numeric_limits<float>::infinity();
  }
  with.AddRow(0, 0, 0, strange.got.data(), strange.want.data(), kD);
  Row unmeasured = rows[0];
  for (Interval& want : unmeasured.want) {
    want.size = 0;
    want.want += 1;
  }
  with.AddRow(0, 0, 0, unmeasured.got.data(), unmeasured.want.data(), kD);
  const Bias without = Sum(rows);
  for (const Witness witness : kWitnesses)
    EXPECT_EQ(with.Estimate(witness).sigma, without.Estimate(witness).sigma);
  EXPECT_TRUE(FindBias(Bias(DType::kF32), {0, 0}).empty());
}

// An error that is everywhere the same has no scatter to measure it by, and is no less systematic.
TEST(Bias, ErrorsAllTheSame) {
  std::vector<Row> rows = Answers(9, Right);
  for (Row& row : rows) {
    for (int64_t d = 0; d < kD; ++d) {
      row.want[d].size = 1;
      row.want[d].want = 1 + static_cast<double>(row.s + kRows * row.h) * 0x1p-20;
      row.got[d] = static_cast<float>(row.want[d].want + 0x1p-10);
    }
  }
  EXPECT_TRUE(Of(FindBias(Sum(rows), {0.02, 0}), Witness::kOffset).fails);
}

}  // namespace
}  // namespace bitanchor
