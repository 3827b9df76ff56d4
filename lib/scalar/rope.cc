#include "lib/scalar/rope.h"

#include <cmath>

#include "lib/number/elementary.h"
#include "lib/number/float_environment.h"

namespace bitanchor::scalar {
namespace {

struct CosSin {
  float c, s;
};

// factor: AttentionFactor(config).
CosSin Table(const RopeConfig& config, const RopeRecipe& recipe, DType F,
             const std::vector<float>& operands, float factor, int64_t position, int64_t i) {
  const StageFormat table = FormatOf(recipe.table, F);
  if (!config.cos.empty()) {
    const int64_t at = position * (config.rotary_dim / 2) + i;
    return {RoundTo(table, config.cos[at]), RoundTo(table, config.sin[at])};
  }
  const float angle = Angle(recipe, F, position, operands[i], i);
  return {RoundTo(table, number::Cos(angle) * factor), RoundTo(table, number::Sin(angle) * factor)};
}

struct Pair {
  float y1, y2;
};

Pair Rotate(RopeApply apply, DType F, float x1, float x2, CosSin t) {
  const auto [c, s] = t;
  if (apply == RopeApply::kThreeRoundings) {
    // A product of two F values is exact in f64; so is their sum unless F is f32, where the sum of
    // two f32 in f32 is the one rounding wanted.
    const float x1c = RoundTo(F, static_cast<double>(x1) * c),
                x2s = RoundTo(F, static_cast<double>(x2) * s);
    const float x2c = RoundTo(F, static_cast<double>(x2) * c),
                x1s = RoundTo(F, static_cast<double>(x1) * s);
    if (F == DType::kF32) return {x1c - x2s, x2c + x1s};
    return {RoundTo(F, static_cast<double>(x1c) - x2s), RoundTo(F, static_cast<double>(x2c) + x1s)};
  }
  if (apply == RopeApply::kF32FmaX1) {
    return {RoundTo(F, std::fma(x1, c, -(x2 * s))), RoundTo(F, std::fma(x1, s, x2 * c))};
  }
  return {RoundTo(F, x1 * c - x2 * s), RoundTo(F, x2 * c + x1 * s)};
}

}  // namespace

void ApplyRope(const RopeConfig& config, const RopeRecipe& recipe, const TensorView& in,
               const std::vector<int64_t>& positions, const MutableTensorView& out,
               RopeDirection direction) {
  const FloatEnvironment environment;
  const auto [B, S, H, D] = in.shape;
  const DType F = in.dtype;
  const int64_t R = config.rotary_dim, half = R / 2;
  const int64_t size_bytes = static_cast<int64_t>(DTypeBytes(F));
  const std::vector<float> operands = AngleOperands(config, recipe, F);
  const float factor = AttentionFactor(config);
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t s = 0; s < S; ++s) {
      for (int64_t i = 0; i < half; ++i) {
        CosSin table = Table(config, recipe, F, operands, factor, positions[b * S + s], i);
        if (direction == RopeDirection::kBackward) table.s = -table.s;
        const auto [d1, d2] = PairDimensions(config, i);
        for (int64_t h = 0; h < H; ++h) {
          const Pair y = Rotate(recipe.apply, F, in.At(b, s, h, d1), in.At(b, s, h, d2), table);
          StoreRounded(F, out.Row(b, s, h) + d1 * size_bytes, y.y1);
          StoreRounded(F, out.Row(b, s, h) + d2 * size_bytes, y.y2);
        }
      }
      for (int64_t h = 0; h < H; ++h) {
        for (int64_t d = R; d < D; ++d) {
          StoreRounded(F, out.Row(b, s, h) + d * size_bytes, in.At(b, s, h, d));
        }
      }
    }
  }
}

}  // namespace bitanchor::scalar
