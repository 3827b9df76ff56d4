// Every model against the definitions written with MPFR (real.h), and what follows from them.
#include "lib/matrix_unit/dot_add.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "tests/matrix_unit/draw.h"
#include "tests/matrix_unit/formulas.h"

namespace bitanchor::matrix_unit {

namespace {

using testing::Draw;
using testing::NameOf;
using testing::Oracle;
using testing::Results;
using testing::StoredBits;

class EveryModel : public ::testing::TestWithParam<Model> {};

// Any groups of finite numbers, short ones too: the bits of each reading, and whether they agree.
TEST_P(EveryModel, IsItsFormula) {
  const Model& model = GetParam();
  int undetermined = 0, infinite = 0, compared = 0;
  for (const Result* result : Results(model)) {
    Draw draw(model.format, 7), draw_c(result->storage, 8);
    for (int n = 0; n < 1000; ++n) {
      const int way = static_cast<int>(draw.Below(Draw::kWays)), other = draw.Below(3) == 0;
      const size_t size = draw.Below(4) == 0 ? 1 + draw.Below(static_cast<uint32_t>(model.products))
                                             : static_cast<size_t>(model.products);
      std::vector<Unpacked> a, b;
      std::vector<double> x, y;
      for (size_t k = 0; k < size; ++k) {
        a.push_back(Operand(model, draw.Bits(way)));
        b.push_back(Operand(model, draw.Bits(other != 0 ? static_cast<int>(Draw::kNear) : way)));
        if (k > 0 && draw.Below(4) == 0) {  // cancel the one before
          a[k] = a[k - 1];
          b[k] = b[k - 1];
          a[k].negative ^= 1;
        }
        x.push_back(ToF64(a[k]));
        y.push_back(ToF64(b[k]));
      }
      uint32_t c = n % 5 == 0 ? 0 : draw_c.Bits(static_cast<int>(draw.Below(Draw::kWays)));
      if (n % 3 == 0) c = StoredBits(*result, -x[0] * y[0]);  // cancel the first, nearly
      if ((c & (result->storage.SignBit() - 1)) >= result->storage.InfinityBits()) c = 0;
      const double from = ToF64(Unpack(result->storage, c));
      std::vector<uint32_t> want;
      for (const Reading& reading : result->readings) {
        want.push_back(StoredBits(*result, Oracle{model, *result, reading}.Group(x, y, from)));
        bool corner = false;
        ASSERT_EQ(DotAdd(model, *result, reading, a, b, c, corner), want.back()) << n;
      }
      const Prediction got = ChainedDotAdd(model, *result, a, b, c);
      ASSERT_EQ(got.bits, want[0]) << n;
      const bool agree = std::equal(want.begin() + 1, want.end(), want.begin());
      ASSERT_EQ(got.determined, agree) << n;
      undetermined += !agree;
      infinite += (want[0] & (result->storage.SignBit() - 1)) == result->storage.InfinityBits();
      ++compared;
    }
  }
  EXPECT_GE(compared, 1000);
  // Where products can be so small that the readings differ, some were; and so large.
  const bool wide = model.operand.max_exponent > 100;
  EXPECT_EQ(undetermined > 0, wide && model.f32.readings.size() > 1);
  EXPECT_TRUE(infinite > 0 || !wide);
}

// The terms of a group have no order, where the arithmetic is one sum.
TEST_P(EveryModel, OrderWithinAGroup) {
  const Model& model = GetParam();
  const bool one_sum = model.arithmetic == Arithmetic::kTruncatedSum ||
                       model.arithmetic == Arithmetic::kExactSum ||
                       model.arithmetic == Arithmetic::kTruncatedThenC;
  Draw draw(model.format, 3);
  std::mt19937 shuffle(4);
  bool moved = false;
  for (int n = 0; n < 2000; ++n) {
    std::vector<Unpacked> a, b;
    std::vector<size_t> order;
    for (size_t k = 0; k < static_cast<size_t>(model.products); ++k) {
      a.push_back(Operand(model, draw.Bits(n % Draw::kWays)));
      b.push_back(Operand(model, draw.Bits(n % Draw::kWays)));
      order.push_back(k);
    }
    std::shuffle(order.begin(), order.end(), shuffle);
    std::vector<Unpacked> x, y;
    for (const size_t k : order) {
      x.push_back(a[k]);
      y.push_back(b[k]);
    }
    const uint32_t c = n % 3 == 0 ? 0 : 0x3F800001u;
    const uint32_t straight = ChainedDotAdd(model, model.f32, a, b, c).bits;
    const uint32_t shuffled = ChainedDotAdd(model, model.f32, x, y, c).bits;
    if (one_sum) {
      ASSERT_EQ(straight, shuffled) << n;
    }
    moved |= straight != shuffled;
  }
  if (model.arithmetic == Arithmetic::kFlushedPairs && model.products == 4) {
    EXPECT_TRUE(moved);
  }
}

// Sums of small integers are exact in every unit, over many groups.
TEST_P(EveryModel, SmallIntegersAreExact) {
  const Model& model = GetParam();
  std::mt19937 random(1);
  for (const Result* result : Results(model)) {
    for (size_t K = 0; K <= 3 * static_cast<size_t>(model.products) + 1; ++K) {
      std::vector<Unpacked> a, b;
      int sum = static_cast<int>(random() % 5) - 2;
      const uint32_t c = StoredBits(*result, sum);
      for (size_t k = 0; k < K; ++k) {
        const int x = static_cast<int>(random() % 7) - 3, y = static_cast<int>(random() % 7) - 3;
        a.push_back(Operand(model, RoundBits(model.format, x, Rounding::kNearestEven, 0)));
        b.push_back(Operand(model, RoundBits(model.format, y, Rounding::kNearestEven, 0)));
        sum += x * y;
      }
      const int64_t slices = std::min<int64_t>(1 + static_cast<int64_t>(K % 3),
                                               Groups(model, static_cast<int64_t>(K)));
      const Prediction got = ChainedDotAdd(model, *result, a, b, c, slices);
      ASSERT_EQ(got.bits, StoredBits(*result, sum)) << K;
      ASSERT_TRUE(got.determined);
    }
  }
}

// NaN, infinities and what they meet.
TEST_P(EveryModel, NaNAndInfinity) {
  const Model& model = GetParam();
  const auto operand = [&](double x) {
    return Operand(model, RoundBits(model.format, x, Rounding::kNearestEven, 0));
  };
  const double inf = HUGE_VAL, nan = std::nan("");
  struct Row {
    double a0, b0, a1, b1, c;
    double want;
    bool needs_infinity;  // among a and b
  };
  const Row rows[] = {
      {nan, 1, 0, 0, 0, nan, false},   {1, nan, 2, 3, 1, nan, false},
      {nan, 0, 1, 1, inf, nan, false}, {1, 1, 1, 1, nan, nan, false},
      {1, 1, 1, 1, inf, inf, false},   {-1, 1, 0, 1, -inf, -inf, false},
      {0, 0, 0, 0, -inf, -inf, false}, {inf, 1, 1, 1, 0, inf, true},
      {inf, -1, 1, 1, 0, -inf, true},  {1, -inf, -1, 1, 2, -inf, true},
      {inf, inf, -2, 1, 0, inf, true}, {inf, -inf, 2, 1, 0, -inf, true},
      {inf, 0, 1, 1, 0, nan, true},    {0, -inf, 1, 1, 0, nan, true},
      {inf, 1, -1, inf, 0, nan, true}, {inf, 1, 1, inf, -inf, nan, true},
      {-inf, 1, 1, 1, inf, nan, true}, {inf, 1, 1, inf, inf, inf, true},
      {inf, 0, 1, 1, inf, nan, true},
  };
  for (const Result* result : Results(model)) {
    for (const Row& row : rows) {
      if (row.needs_infinity && model.format.specials != Specials::kIEEE) continue;
      const std::vector<Unpacked> a = {operand(row.a0), operand(row.a1)};
      const std::vector<Unpacked> b = {operand(row.b0), operand(row.b1)};
      const Prediction got = ChainedDotAdd(model, *result, a, b, StoredBits(*result, row.c));
      EXPECT_EQ(got.bits, StoredBits(*result, row.want)) << &row - rows;
      EXPECT_TRUE(got.determined);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, EveryModel, ::testing::ValuesIn(Models().begin(), Models().end()),
                         [](const auto& model) { return NameOf(model.param); });

}  // namespace
}  // namespace bitanchor::matrix_unit
