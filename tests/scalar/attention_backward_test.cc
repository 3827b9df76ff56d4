// The definition's backward pass from the mathematics: finite differences, GQA as one head with the
// queries of all, and rows and keys that meet nobody.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "lib/scalar/attention.h"
#include "tests/scalar/backward_bounds.h"

namespace bitanchor {
namespace {

using testing::Backward;
using testing::Element;
using testing::Exact;
using testing::ExpectSameRow;
using testing::Gradients;
using testing::kAnchor;
using testing::kCausal;
using testing::kInf;
using testing::kNaN;
using testing::Make;
using testing::Owned;

// Central differences at steps h and h/2, extrapolated. The truncation that is left is far below
// the difference of the two, and the loss rounds at 2^-52 times a few of its terms' sizes.
void ExpectGradientOfLoss(const Exact& exact, std::vector<double>& input, const TensorView& got,
                          const std::vector<double>& bound, const std::string& what) {
  constexpr double kStep = 0x1p-12, kLossNoise = 0x1p-52 * 4096;
  double largest = 0, largest_tolerance = 0;
  for (size_t n = 0; n < input.size(); ++n) {
    const double x = input[n];
    const auto slope = [&](double h) {
      input[n] = x + h;
      const double up = exact.Loss();
      input[n] = x - h;
      const double down = exact.Loss();
      input[n] = x;
      return (up - down) / (2 * h);
    };
    const double coarse = slope(kStep), fine = slope(kStep / 2);
    const double want = (4 * fine - coarse) / 3;
    const double tolerance = bound[n] + std::fabs(fine - coarse) + kLossNoise / kStep;
    EXPECT_NEAR(Element(got, n), want, tolerance) << what << " element " << n;
    largest = std::max(largest, std::fabs(want));
    largest_tolerance = std::max(largest_tolerance, tolerance);
  }
  EXPECT_LT(largest_tolerance, largest * 2e-3) << what << ": tells nothing";
}

TEST(ScalarBackward, IsTheGradientOfTheF64Forward) {
  struct Case {
    const char* name;
    AttentionShape shape;
    MaskSpec mask;
  };
  const Case cases[] = {
      {"full", {1, 5, 5, 1, 1, 4}, {MaskRule::kFull, false, std::nullopt, Corner::kTopLeft}},
      {"causal", {2, 6, 6, 2, 2, 5}, kCausal},
      {"causal GQA", {1, 6, 6, 6, 2, 3}, kCausal},
      {"anchor GQA", {1, 9, 9, 4, 2, 5}, kAnchor},
      {"document", {1, 9, 9, 2, 1, 4}, {MaskRule::kDocument, false, {}, Corner::kTopLeft}},
      {"window", {1, 8, 8, 2, 1, 4}, {MaskRule::kFull, true, 3, Corner::kTopLeft}},
      {"bottom-right", {1, 3, 8, 2, 1, 4}, {MaskRule::kFull, true, {}, Corner::kBottomRight}},
      {"rows that see nothing",
       {1, 7, 3, 2, 1, 4},
       {MaskRule::kFull, true, {}, Corner::kBottomRight}},
      {"keys that nobody sees", {1, 3, 7, 2, 1, 4}, kCausal},
  };
  uint64_t seed = 500;
  for (const Case& c : cases) {
    const Owned made = Make(c.shape, DType::kF32, c.mask, ++seed);
    const Gradients got = Backward(made);
    Exact exact(made.problem(), made.dout);
    const Exact::Bound bound = exact.Bounds();
    const std::string name = c.name;
    ExpectGradientOfLoss(exact, exact.q, got.dq, bound.dq, name + " dq");
    ExpectGradientOfLoss(exact, exact.k, got.dk, bound.dk, name + " dk");
    ExpectGradientOfLoss(exact, exact.v, got.dv, bound.dv, name + " dv");
  }
}

// Heads of a group in ascending order, and queries in each: the fold of one head that has the
// queries of all of them, which a mask without a diagonal allows.
TEST(ScalarBackward, AGroupIsOneHeadWithTheQueriesOfAll) {
  constexpr int64_t kS = 11, kHq = 6, kHkv = 2, kD = 9, kGroup = kHq / kHkv;
  const MaskSpec mask{MaskRule::kAnchor, false, std::nullopt, Corner::kTopLeft};
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Owned grouped = Make({1, kS, kS, kHq, kHkv, kD}, dtype, mask, 31);
    for (const AttentionRecipe& recipe : AttentionRecipes()) {
      const Gradients want = Backward(grouped.problem(), recipe, grouped.dout);
      for (int64_t kh = 0; kh < kHkv; ++kh) {
        Owned one = Make({1, kGroup * kS, kS, 1, 1, kD}, dtype, mask, 32);
        const AttentionProblem& from = grouped.problem();
        AttentionProblem& to = one.owned.problem;
        to.mask.k_ids = from.mask.k_ids;
        to.mask.q_ids.clear();
        for (int64_t g = 0; g < kGroup; ++g) {
          to.mask.q_ids.insert(to.mask.q_ids.end(), from.mask.q_ids.begin(), from.mask.q_ids.end());
          for (int64_t i = 0; i < kS; ++i) {
            for (int64_t d = 0; d < kD; ++d) {
              const int64_t h = kh * kGroup + g, at = g * kS + i;
              StoreRounded(dtype, one.owned.Element(one.owned.q, to.q, 0, at, 0, d),
                           from.q.At(0, i, h, d));
              one.SetDout(0, at, 0, d, grouped.dout.At(0, i, h, d));
            }
          }
        }
        for (int64_t j = 0; j < kS; ++j) {
          for (int64_t d = 0; d < kD; ++d) {
            StoreRounded(dtype, one.owned.Element(one.owned.k, to.k, 0, j, 0, d),
                         from.k.At(0, j, kh, d));
            StoreRounded(dtype, one.owned.Element(one.owned.v, to.v, 0, j, 0, d),
                         from.v.At(0, j, kh, d));
          }
        }
        const Gradients got = Backward(to, recipe, one.dout);
        const std::string name = std::string(recipe.name) + " key head " + std::to_string(kh);
        for (int64_t j = 0; j < kS; ++j) {
          ExpectSameRow(want.dk, j, kh, got.dk, j, 0, name + " dk");
          ExpectSameRow(want.dv, j, kh, got.dv, j, 0, name + " dv");
        }
        for (int64_t at = 0; at < kGroup * kS; ++at) {
          ExpectSameRow(want.dq, at % kS, kh * kGroup + at / kS, got.dq, at, 0, name + " dq");
        }
      }
    }
  }
}

void ExpectPlusZero(const TensorView& tensor, int64_t s, const std::string& what) {
  const size_t size = DTypeBytes(tensor.dtype);
  for (int64_t h = 0; h < tensor.shape[2]; ++h) {
    const std::byte* row = tensor.Row(0, s, h);
    EXPECT_TRUE(std::all_of(row, row + size * tensor.shape[3],
                            [](std::byte b) { return b == std::byte{0}; }))
        << what << " token " << s << " head " << h << ": " << tensor.At(0, s, h, 0);
  }
}

// A row without keys and a key without queries give +0 whatever they hold, and nobody else learns
// what that was.
TEST(ScalarBackward, WhatSeesNothingOrIsNeverSeenGivesPlusZeroAndReachesNobody) {
  constexpr int64_t kS = 8, kD = 5;
  const MaskSpec mask{MaskRule::kDocument, true, std::nullopt, Corner::kTopLeft};
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    Owned made = Make({1, kS, kS, 4, 2, kD}, dtype, mask, 41);
    AttentionProblem& p = made.owned.problem;
    p.mask.k_ids = {1, 1, 9, 2, 2, 2, 9, 3};
    p.mask.q_ids = {1, 1, 1, 2, 2, 8, 8, 2};  // queries 5 and 6 see nothing, nobody keys 2, 6 and 7
    const std::vector<int64_t> blind = {5, 6}, unseen = {2, 6, 7};
    for (const AttentionRecipe& recipe : AttentionRecipes()) {
      const Gradients before = Backward(p, recipe, made.dout);
      Owned poisoned = made;
      AttentionProblem& pp = poisoned.owned.problem;
      pp.q.data = poisoned.owned.q.data();
      pp.k.data = poisoned.owned.k.data();
      pp.v.data = poisoned.owned.v.data();
      poisoned.dout.data = poisoned.dout_bytes.data();
      for (int64_t d = 0; d < kD; ++d) {
        for (int64_t h = 0; h < 4; ++h) {
          for (const int64_t i : blind) {
            poisoned.SetDout(0, i, h, d, d % 2 == 0 ? kNaN : -kInf);
            StoreRounded(dtype, poisoned.owned.Element(poisoned.owned.q, pp.q, 0, i, h, d), kInf);
          }
        }
        for (int64_t h = 0; h < 2; ++h) {
          for (const int64_t j : unseen) {
            StoreRounded(dtype, poisoned.owned.Element(poisoned.owned.k, pp.k, 0, j, h, d), -kInf);
            StoreRounded(dtype, poisoned.owned.Element(poisoned.owned.v, pp.v, 0, j, h, d), kNaN);
          }
        }
      }
      const Gradients after = Backward(pp, recipe, poisoned.dout);
      for (int n = 0; n < 3; ++n) {
        EXPECT_TRUE(before.bytes[n] == after.bytes[n]) << recipe.name << " output " << n;
      }
      for (const int64_t i : blind) ExpectPlusZero(after.dq, i, "dq");
      for (const int64_t j : unseen) {
        ExpectPlusZero(after.dk, j, "dk");
        ExpectPlusZero(after.dv, j, "dv");
      }
      EXPECT_NE(after.dk.At(0, 0, 0, 0), 0);
      EXPECT_NE(after.dq.At(0, 7, 0, 0), 0);
    }
  }
}

// Every NaN stored is the canonical one, whatever the NaN that came in.
TEST(ScalarBackward, StoresCanonicalNaNs) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    Owned made = Make({1, 3, 3, 1, 1, 4}, dtype, kCausal, 51);
    const size_t size = DTypeBytes(dtype);
    // A negative NaN with a payload, in the dtype's own bits.
    const uint32_t odd = dtype == DType::kF32    ? 0xFFC12345
                         : dtype == DType::kBF16 ? 0xFFC5
                                                 : 0xFE21;
    std::memcpy(made.dout_bytes.data(), &odd, size);
    std::byte nan[4];
    StoreRounded(dtype, nan, kNaN);
    const Gradients got = Backward(made);
    int64_t nans = 0;
    for (const std::vector<std::byte>& bytes : got.bytes) {
      for (size_t n = 0; n < bytes.size(); n += size) {
        if (!std::isnan(LoadF32(dtype, &bytes[n]))) continue;
        ++nans;
        EXPECT_EQ(std::memcmp(&bytes[n], nan, size), 0);
      }
    }
    EXPECT_EQ(nans, 4 + 4 + 1);  // dq of row 0, dk of key 0, and dv where dO is
  }
}

}  // namespace
}  // namespace bitanchor
