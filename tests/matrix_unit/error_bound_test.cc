// The bounds against the models and exact sums by MPFR: never exceeded, and of the right size.
#include "lib/matrix_unit/error_bound.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "lib/matrix_unit/dot_add.h"
#include "tests/matrix_unit/draw.h"
#include "tests/matrix_unit/real.h"

namespace bitanchor::matrix_unit {
namespace {

using testing::Draw;
using testing::Real;

class EveryModel : public ::testing::TestWithParam<Model> {};

TEST_P(EveryModel, StaysWithinItsBound) {
  const Model& model = GetParam();
  for (const Result* result : testing::Results(model)) {
    Draw draw(model.format, 21), draw_c(result->storage, 22);
    double worst = 0;
    int judged = 0;
    for (int n = 0; n < 2000; ++n) {
      const int way = static_cast<int>(draw.Below(Draw::kWays));
      const bool one_sign = draw.Below(2) == 0;  // truncations that add up
      const size_t K = 1 + draw.Below(static_cast<uint32_t>(3 * model.products));
      std::vector<Unpacked> a, b;
      uint32_t c = n % 4 == 0 ? 0 : draw_c.Bits(n % 4 == 1 ? static_cast<int>(Draw::kNear) : way);
      const Unpacked from = Unpack(result->storage, c);
      Real exact(ToF64(from));
      for (size_t k = 0; k < K; ++k) {
        a.push_back(Operand(model, draw.Bits(way)));
        b.push_back(Operand(model, draw.Bits(n % 3 == 0 ? static_cast<int>(Draw::kNear) : way)));
        if (one_sign) {
          a[k].negative = from.negative;
          b[k].negative = false;
        }
        exact = exact + Real(ToF64(a[k])) * Real(ToF64(b[k]));
      }
      const double bound = ErrorBound(model, *result, a, b, c);
      const Unpacked d = Unpack(result->storage, ChainedDotAdd(model, *result, a, b, c).bits);
      if (d.kind != NumberKind::kFinite) {
        ASSERT_EQ(bound, HUGE_VAL);
        continue;
      }
      const double error = (exact + Real(-ToF64(d))).Magnitude();
      ASSERT_LE(error, bound) << n;
      worst = std::max(worst, error / bound);
      ++judged;
    }
    EXPECT_GT(judged, 500);
    // No bound of this kind is useless. CDNA2's counts every operation in the sum of magnitudes.
    EXPECT_GT(worst, model.arithmetic == Arithmetic::kFlushedPairs ? 0.2 : 0.4);
  }
}

// Every term but the first just too small to count, and of one sign: L - 1 of the L quanta of the
// bound are lost.
TEST_P(EveryModel, NeedsAQuantumForEveryTerm) {
  const Model& model = GetParam();
  if (model.fraction_bits == 0) return;
  const auto operand = [&](double x) {
    return Operand(model, RoundBits(model.format, x, Rounding::kTowardZero, 0));
  };
  std::vector<Unpacked> a = {operand(0x1p7)}, b = a;
  Real exact(0x1p14);
  const int down = 14 - model.fraction_bits - 1, half = down / 2;
  for (int k = 1; k < model.products; ++k) {
    a.push_back(operand(std::ldexp(2 - 0x1p-40, half)));
    b.push_back(operand(std::ldexp(1.0, down - half)));
    exact = exact + Real(ToF64(a.back())) * Real(ToF64(b.back()));
  }
  const uint32_t d = ChainedDotAdd(model, model.f32, a, b, 0).bits;
  const double bound = ErrorBound(model, model.f32, a, b, 0);
  const double error = (exact + Real(-ToF64(Unpack(kFormatF32, d)))).Magnitude();
  EXPECT_LE(error, bound);
  // Where products are summed in two parts, one of them has the large term alone.
  const bool one_sum = model.arithmetic == Arithmetic::kTruncatedSum ||
                       model.arithmetic == Arithmetic::kTruncatedThenC;
  if (one_sum && model.products >= 8) {
    EXPECT_GT(error, 0.5 * bound);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, EveryModel, ::testing::ValuesIn(Models().begin(), Models().end()),
                         [](const auto& model) { return testing::NameOf(model.param); });

}  // namespace
}  // namespace bitanchor::matrix_unit
