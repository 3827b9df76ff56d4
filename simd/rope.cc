#include "simd/rope.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/rope.cc"
#include "hwy/foreach_target.h"
#include "simd/rope-inl.h"

#if HWY_ONCE
#include "lib/number/elementary.h"
#include "simd/dispatch.h"
#include "simd/parallel.h"
#include "simd/scratch.h"

namespace bitanchor::simd {

HWY_EXPORT(RopeToken);

namespace {

constexpr int64_t kTokensPerTask = 32;

float RoundStage(StageFormat stage, DType F, double x) {
  if (stage == StageFormat::kF32 || F == DType::kF32) return bitanchor::RoundToF32(x);
  return F == DType::kBF16 ? ToF32(ToBF16(x)) : ToF32(ToF16(x));
}

// cos and sin of one position, [R/2] each, as the recipe rounds them.
void FillTable(const RopeConfig& config, const RopeRecipe& recipe, DType F,
               const std::vector<float>& frequency, int64_t position, float* c, float* s) {
  const int64_t half = config.rotary_dim / 2;
  const float p = RoundStage(recipe.angle, F, static_cast<double>(position));
  for (int64_t i = 0; i < half; ++i) {
    if (!config.cos.empty()) {
      c[i] = RoundStage(recipe.table, F, config.cos[position * half + i]);
      s[i] = RoundStage(recipe.table, F, config.sin[position * half + i]);
      continue;
    }
    const float angle = RoundStage(recipe.angle, F, static_cast<double>(p) * frequency[i]);
    c[i] = RoundStage(recipe.table, F, number::Cos(angle));
    s[i] = RoundStage(recipe.table, F, number::Sin(angle));
  }
}

}  // namespace

void ApplyRope(const RopeConfig& config, const RopeRecipe& recipe, const TensorView& in,
               const std::vector<int64_t>& positions, const EngineOptions& options,
               const MutableTensorView& out) {
  const int64_t S = in.shape[1], tokens = in.shape[0] * S;
  std::vector<float> frequency = InverseFrequencies(config, recipe);
  for (float& f : frequency) f = RoundStage(recipe.angle, in.dtype, f);
  std::vector<AlignedBuffer<float>> tables(Workers(options));
  ParallelFor(options, (tokens + kTokensPerTask - 1) / kTokensPerTask,
              [&](int64_t task, int worker) {
                float* c = tables[worker].Reserve(2 * kMaxHeadDim);
                float* s = c + kMaxHeadDim;
                std::fill(c, c + 2 * kMaxHeadDim, 0.0f);
                const int64_t end = std::min(tokens, (task + 1) * kTokensPerTask);
                for (int64_t token = task * kTokensPerTask; token < end; ++token) {
                  FillTable(config, recipe, in.dtype, frequency, positions[token], c, s);
                  BITANCHOR_DISPATCH(RopeToken, options.target)
                  (config, recipe, in, token / S, token % S, c, s, out);
                }
              });
}

}  // namespace bitanchor::simd
#endif  // HWY_ONCE
