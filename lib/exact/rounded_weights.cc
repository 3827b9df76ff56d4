#include "lib/exact/rounded_weights.h"

#include <algorithm>
#include <cmath>

#include "lib/number/elementary.h"
#include "lib/tensor/tensor_view.h"

namespace bitanchor::exact {
namespace {

// 2^(-r/8).
constexpr std::array<float, kImagined> kReferences = {
    1, 0.91700404f, 0.84089642f, 0.77110541f, 0.70710678f, 0.64841978f, 0.59460356f, 0.54525387f};

// Nearest, for weights at most 1: to 8 or 11 bits by adding and taking away a multiple of x
// (Veltkamp), f16's subnormals by adding and taking away a number whose ulp is theirs.
float RoundedBF16(float x) {
  const float high = x * 0x1.0001p16f;
  return high - (high - x);
}
float RoundedF16(float x) {
  if (x < 0x1p-14f) return (x + 0.75f) - 0.75f;
  const float high = x * 0x1.0008p13f;
  return high - (high - x);
}

// The types with these roundoffs; as it is where there is none.
enum class Width { kBF16, kF16, kF32 };
Width WidthOf(double roundoff) {
  if (roundoff >= 0x1p-8) return Width::kBF16;
  return roundoff >= 0x1p-11 ? Width::kF16 : Width::kF32;
}

double RoundedScore(Width width, double x) {
  return width == Width::kF32 ? x : RoundTo(width == Width::kBF16 ? DType::kBF16 : DType::kF16, x);
}

}  // namespace

RoundedWeights::RoundedWeights(const ScoreRow& row, const Contract& contract, double scale) {
  const size_t n = row.keys.size();
  errors_.assign(n, {});
  const Width width = WidthOf(contract.weight_rounding);
  const Width score_width = WidthOf(contract.score_rounding / 2);
  if (width == Width::kF32 && score_width == Width::kF32) return;

  std::vector<double> weights(n);
  double l = row.l, m = row.m;
  for (size_t j = 0; j < n; ++j) weights[j] = row.keys[j].w;
  if (score_width != Width::kF32) {
    const auto rounded = [&](double t) {
      return RoundedScore(score_width, RoundedScore(score_width, t / scale) * scale);
    };
    l = 0;
    m = rounded(row.m);  // rounding is monotone
    for (size_t j = 0; j < n; ++j) {
      if (weights[j] > 0) weights[j] = number::ExpF64(rounded(row.keys[j].score.t) - m);
      l += weights[j];
    }
    lse_error_ = m + number::LogF64(l) - (row.m + number::LogF64(row.l));
  }
  // As they are where P is rounded: relative to a reference, or normalised besides.
  const double unit = contract.normalise_first ? 1 / l : 1.0;
  for (size_t j = 0; j < n; ++j) {
    const float exact = static_cast<float>(weights[j] * unit);
    const float moved = static_cast<float>(weights[j] / l - row.keys[j].w / row.l);
    for (size_t r = 0; r < kImagined; ++r) {
      const float x = exact * kReferences[r];
      // The maximum's own weight is 1, whatever the reference that others met before it.
      const bool maximum = exact == 1 && !contract.normalise_first;
      const float p = maximum                 ? x
                      : width == Width::kBF16 ? RoundedBF16(x)
                      : width == Width::kF16  ? RoundedF16(x)
                                              : x;
      errors_[j][r] = moved + (p - x) / (kReferences[r] * static_cast<float>(unit * l));
    }
  }
}

}  // namespace bitanchor::exact
