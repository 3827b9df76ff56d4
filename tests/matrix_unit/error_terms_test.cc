// What contracts grant a unit, whatever the operands, against the models and exact sums by MPFR:
// never exceeded under any reading, and of the right size.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "lib/matrix_unit/dot_add.h"
#include "lib/matrix_unit/error_bound.h"
#include "tests/matrix_unit/draw.h"
#include "tests/matrix_unit/real.h"

namespace bitanchor::matrix_unit {
namespace {

using testing::Draw;
using testing::Real;

struct Chain {
  std::vector<Unpacked> a, b;
  uint32_t c = 0;
};

// The right side of ErrorTerms' inequality, in f64: 2^-40 more for its own operations.
double Bound(const Model& model, const Chain& chain) {
  const ErrorTerms terms = ErrorTermsOf(model);
  const double n = static_cast<double>(chain.a.size());
  const double G = static_cast<double>(Groups(model, static_cast<int64_t>(chain.a.size())));
  const double cut = terms.fraction_bits == 0 ? 0 : std::ldexp(1.0, -terms.fraction_bits);
  const double least = std::ldexp(1.0, model.operand.min_exponent);
  double sum = std::fabs(ToF64(Unpack(kFormatF32, chain.c))), lost = 0;
  for (size_t k = 0; k < chain.a.size(); ++k) {
    const double x = std::fabs(ToF64(chain.a[k])), y = std::fabs(ToF64(chain.b[k]));
    if (x == 0 || y == 0) continue;
    sum += std::max(x, least) * std::max(y, least);
    if (std::min(x, y) < terms.flush) lost += x * y;
  }
  const double relative = n * cut + G * (cut + terms.rounding) + terms.product;
  return (1 + 0x1p-40) * (std::expm1(relative) * sum + lost) + 4 * (n + 1) * terms.absolute;
}

// The largest share of the bound that a reading takes; -1 where one is not finite.
double Share(const Model& model, const Chain& chain) {
  Real exact(ToF64(Unpack(kFormatF32, chain.c)));
  for (size_t k = 0; k < chain.a.size(); ++k) {
    exact = exact + Real(ToF64(chain.a[k])) * Real(ToF64(chain.b[k]));
  }
  const double bound = Bound(model, chain);
  const size_t L = static_cast<size_t>(model.products);
  const std::span<const Unpacked> a(chain.a), b(chain.b);
  double worst = 0;
  for (const Reading& reading : model.f32.readings) {
    uint32_t d = chain.c;
    bool unused = false;
    for (size_t at = 0; at < a.size(); at += L) {
      const size_t count = std::min(L, a.size() - at);
      d = DotAdd(model, model.f32, reading, a.subspan(at, count), b.subspan(at, count), d, unused);
    }
    const Unpacked got = Unpack(kFormatF32, d);
    if (got.kind != NumberKind::kFinite) return -1;
    worst = std::max(worst, (exact + Real(-ToF64(got))).Magnitude() / bound);
  }
  return worst;
}

class EveryUnit : public ::testing::TestWithParam<Model> {};

TEST_P(EveryUnit, StaysWithinItsTerms) {
  const Model& model = GetParam();
  Draw draw(model.format, 31), draw_c(kFormatF32, 32);
  double worst = 0;
  int judged = 0;
  for (int n = 0; n < 2000; ++n) {
    const int way = static_cast<int>(draw.Below(Draw::kWays));
    const bool one_sign = draw.Below(2) == 0, cancels = draw.Below(4) == 0;
    const size_t K = 1 + draw.Below(static_cast<uint32_t>(6 * model.products));
    Chain chain;
    if (n % 3 != 0) chain.c = draw_c.Bits(n % 3 == 1 ? static_cast<int>(Draw::kNear) : way);
    for (size_t k = 0; k < K; ++k) {
      chain.a.push_back(Operand(model, draw.Bits(way)));
      chain.b.push_back(
          Operand(model, draw.Bits(n % 4 == 0 ? static_cast<int>(Draw::kNear) : way)));
      if (one_sign) chain.a[k].negative = chain.b[k].negative = false;
      if (cancels && k % 2 == 1) {  // the one before, all but exactly
        chain.a[k] = chain.a[k - 1];
        chain.a[k].negative = !chain.a[k].negative;
        if (draw.Below(2) == 0) chain.b[k] = chain.b[k - 1];
      }
    }
    const double share = Share(model, chain);
    if (share < 0) continue;
    ASSERT_LE(share, 1) << n;
    worst = std::max(worst, share);
    ++judged;
  }
  EXPECT_GT(judged, 500);
  EXPECT_GT(worst, 0.1);
  RecordProperty("worst", std::to_string(worst));
}

// One large term and all others just too small to count, of one sign, group after group.
TEST_P(EveryUnit, NeedsWhatItsTermsGrant) {
  const Model& model = GetParam();
  if (model.fraction_bits == 0) return;
  const auto operand = [&](double x) {
    return Operand(model, RoundBits(model.format, x, Rounding::kTowardZero, 0));
  };
  Chain chain;
  const int down = 14 - model.fraction_bits - 1, half = down / 2;
  for (int k = 0; k < model.products; ++k) {
    const bool large = k == 0;
    chain.a.push_back(operand(large ? 0x1p7 : std::ldexp(2 - 0x1p-40, half)));
    chain.b.push_back(operand(large ? 0x1p7 : std::ldexp(1.0, down - half)));
  }
  const double share = Share(model, chain);
  EXPECT_LE(share, 1);
  if (model.arithmetic == Arithmetic::kTruncatedSum && model.products >= 8) {
    EXPECT_GT(share, 0.5);
  }
}

TEST(ErrorTerms, OfAUnitAreTheWorstOfItsModels) {
  const ErrorTerms cdna2 = ErrorTermsOf("cdna2", DType::kBF16);  // bf16 and bf16_1k
  EXPECT_EQ(cdna2.products, 2);
  EXPECT_EQ(cdna2.product, 3 * 0x1p-24);
  const ErrorTerms cdna3 = ErrorTermsOf("cdna3", DType::kF32);  // FMA and xf32
  EXPECT_EQ(cdna3.products, 1);
  EXPECT_EQ(cdna3.fraction_bits, 24);
  const ErrorTerms hopper = ErrorTermsOf("hopper", DType::kBF16);
  EXPECT_EQ(hopper.products, 16);
  EXPECT_EQ(hopper.fraction_bits, 25);
  EXPECT_EQ(hopper.rounding, 0x1p-23);
  EXPECT_EQ(ErrorTermsOf("volta", DType::kBF16).products, 0);
}

INSTANTIATE_TEST_SUITE_P(Models, EveryUnit, ::testing::ValuesIn(Models().begin(), Models().end()),
                         [](const auto& model) { return testing::NameOf(model.param); });

}  // namespace
}  // namespace bitanchor::matrix_unit
