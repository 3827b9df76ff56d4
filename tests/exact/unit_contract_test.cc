// tensor-core of a certain unit admits attention whose products that unit's model sums, and has no
// more room than it needs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "lib/matrix_unit/dot_add.h"
#include "lib/matrix_unit/error_bound.h"
#include "tests/exact/soundness.h"
#include "tests/matrix_unit/draw.h"

namespace bitanchor {
namespace {

using matrix_unit::Model;
using testing::MakeProblem;
using testing::OwnedProblem;
using testing::Tally;
using testing::Values;

Contract TensorCoreOn(const Model& model) {
  const auto terms = matrix_unit::ErrorTermsOf(model.unit, model.dtype);
  const Contract& base =
      *FindContract(model.dtype == DType::kBF16 ? "tensor-core-bf16" : "tensor-core-f16");
  return base.On({terms.products, terms.fraction_bits, terms.rounding, terms.product, terms.flush},
                 terms.absolute, model.unit);
}

float Chained(const Model& model, const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<Unpacked> x, y;
  for (size_t k = 0; k < a.size(); ++k) {
    const auto operand = [&](float value) {
      return matrix_unit::Operand(model, RoundBits(model.format, value, Rounding::kNearestEven, 0));
    };
    x.push_back(operand(a[k]));
    y.push_back(operand(b[k]));
  }
  const uint32_t bits = matrix_unit::ChainedDotAdd(model, model.f32, x, y, 0).bits;
  return std::bit_cast<float>(bits);
}

// One tile, every operation but the unit's to nearest.
void Row(const Model& model, const AttentionProblem& p, int64_t i, std::vector<float>& o,
         float& lse) {
  const int64_t D = p.shape.D, S = p.shape.Skv;
  std::vector<float> scores, weights, rounded;
  for (int64_t j = 0; j < S; ++j) {
    std::vector<float> q, k;
    for (int64_t d = 0; d < D; ++d) {
      q.push_back(p.q.At(0, i, 0, d));
      k.push_back(p.k.At(0, j, 0, d));
    }
    scores.push_back(Chained(model, q, k) * p.softmax_scale);
  }
  const float m = *std::max_element(scores.begin(), scores.end());
  float l = 0;
  for (const float score : scores) {
    weights.push_back(static_cast<float>(std::exp(double{score - m})));
    rounded.push_back(RoundTo(p.dtype, weights.back()));
    l += weights.back();
  }
  o.clear();
  for (int64_t d = 0; d < D; ++d) {
    std::vector<float> v;
    for (int64_t j = 0; j < S; ++j) v.push_back(p.v.At(0, j, 0, d));
    o.push_back(Chained(model, rounded, v) / l);
  }
  lse = m + static_cast<float>(std::log(double{l}));
}

std::vector<Model> UnitsOf16Bits() {
  std::vector<Model> models;
  for (const Model& model : matrix_unit::Models()) {
    if (model.dtype == DType::kBF16 || model.dtype == DType::kF16) models.push_back(model);
  }
  return models;
}

class EveryUnit : public ::testing::TestWithParam<Model> {};

TEST_P(EveryUnit, IsInsideItsContract) {
  const Model& model = GetParam();
  const Contract contract = TensorCoreOn(model);
  MaskSpec full;
  full.causal = false;
  Tally tally;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const Values style = seed % 2 == 0 ? Values::kNormal : Values::kPositive;
    OwnedProblem owned = MakeProblem({1, 3, 40 + static_cast<int64_t>(seed), 1, 1, 24}, model.dtype,
                                     full, style, seed);
    AttentionProblem& p = owned.problem;
    const auto scale = [&](std::vector<std::byte>& bytes, float factor) {
      for (size_t at = 0; at < bytes.size(); at += 2) {
        StoreRounded(p.dtype, &bytes[at], LoadF32(p.dtype, &bytes[at]) * factor);
      }
    };
    // f16's subnormals, which some units align as normal numbers and one takes for zeros: in v, in
    // q and k, in weights.
    if (seed % 4 == 1) scale(owned.v, 0x1p-17f);
    if (seed % 4 == 2) {
      scale(owned.q, 0x1p-19f);
      scale(owned.k, 0x1p10f);
      p.softmax_scale *= 0x1p10f;
    }
    if (seed % 4 == 3) p.softmax_scale *= 24;
    const IntervalBlock want = testing::IntervalsOf(p, 0, contract, DType::kF32);
    for (int64_t i = 0; i < p.shape.Sq; ++i) {
      std::vector<float> o;
      float lse = 0;
      Row(model, p, i, o, lse);
      const std::string what = contract.name + " seed " + std::to_string(seed);
      for (int64_t d = 0; d < p.shape.D; ++d) {
        tally.Add(what, o[d], want.o[i * p.shape.D + d], tally.worst_share);
      }
      tally.Add(what + " lse", lse, want.lse[i], tally.worst_lse_share);
    }
  }
  EXPECT_EQ(tally.outside, 0);
  EXPECT_EQ(tally.undetermined, 0);
  EXPECT_GT(tally.worst_share, 0.02);
}

INSTANTIATE_TEST_SUITE_P(Units, EveryUnit, ::testing::ValuesIn(UnitsOf16Bits()),
                         [](const auto& model) { return testing::NameOf(model.param); });

// What a contract of the whole family admits, that of a better unit may not.
TEST(UnitContract, LessErrorIsLessRoom) {
  const Contract& family = *FindContract("tensor-core-bf16");
  for (const Model& model : UnitsOf16Bits()) {
    if (model.dtype != DType::kBF16 || model.unit.starts_with("cdna")) continue;
    EXPECT_LE(TensorCoreOn(model).UnitError(4096, 4096.0 / model.products),
              family.UnitError(4096, 512))
        << model.unit;
  }
}

}  // namespace
}  // namespace bitanchor
