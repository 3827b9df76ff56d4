#include "lib/recipe/rope_recipe.h"

#include <cmath>

#include "lib/number/elementary.h"
#include "lib/number/float_environment.h"

namespace bitanchor {
namespace {

constexpr RopePairing kHalf = RopePairing::kHalf, kInterleaved = RopePairing::kInterleaved;
constexpr StageFormat kF32 = StageFormat::kF32, kModel = StageFormat::kModel;

constexpr RopeRecipe kRecipes[] = {
    {"hf-llama", kHalf, InverseFrequency::kF32, kF32, kModel, RopeApply::kThreeRoundings,
     "Hugging Face Llama, Mistral, Qwen2 since 4.38: f32 angles, model-dtype tables and "
     "arithmetic"},
    {"hf-llama-legacy", kHalf, InverseFrequency::kF32, kModel, kModel, RopeApply::kThreeRoundings,
     "Hugging Face Llama before 4.38 with a model-dtype buffer: angles in the model dtype too"},
    {"meta-llama", kInterleaved, InverseFrequency::kF32, kF32, kF32, RopeApply::kF32,
     "Meta Llama 3 (complex64), torchtune, torchtitan: f32 throughout, one rounding"},
    {"flash-attn", kHalf, InverseFrequency::kF32, kF32, kModel, RopeApply::kF32,
     "flash-attn's Triton rotary: model-dtype tables, f32 arithmetic, one rounding"},
    {"transformer-engine", kHalf, InverseFrequency::kF32, kF32, kF32, RopeApply::kF32,
     "TransformerEngine's fused kernel: f32 tables and arithmetic, one rounding"},
    {"gemma-cpp", kHalf, InverseFrequency::kF64, kF32, kF32, RopeApply::kF32FmaX1,
     "gemma.cpp: double pow, f32 tables, explicit FMA, one rounding"},
};

float BaseFrequency(float theta, int64_t i, int64_t R, InverseFrequency how) {
  const float exponent = static_cast<float>(2 * i) / static_cast<float>(R);
  if (how == InverseFrequency::kF64) return number::Pow(theta, -exponent);
  return 1.0f / number::Pow(theta, exponent);
}

// transformers' _compute_llama3_parameters, operation by operation; `x / tensor` is torch's
// reciprocal(tensor) * x.
float Llama3(const RopeConfig& config, float inv_freq) {
  const float factor = static_cast<float>(config.factor);
  const double old_len = static_cast<double>(config.original_max_position_embeddings);
  const float low_wavelen = static_cast<float>(old_len / config.low_freq_factor);
  const float high_wavelen = static_cast<float>(old_len / config.high_freq_factor);
  const float wavelen = (1.0f / inv_freq) * 6.2831853071795864769f;
  if (wavelen > low_wavelen) return inv_freq / factor;
  if (wavelen < high_wavelen) return inv_freq;
  const float smooth = ((1.0f / wavelen) * static_cast<float>(old_len) -
                        static_cast<float>(config.low_freq_factor)) /
                       static_cast<float>(config.high_freq_factor - config.low_freq_factor);
  return (1.0f - smooth) * inv_freq / factor + smooth * inv_freq;
}

}  // namespace

std::span<const RopeRecipe> RopeRecipes() { return kRecipes; }

const RopeRecipe* FindRopeRecipe(std::string_view name) {
  for (const RopeRecipe& recipe : kRecipes) {
    if (recipe.name == name) return &recipe;
  }
  return nullptr;
}

std::vector<std::string_view> RopeRecipeNames() {
  std::vector<std::string_view> names;
  for (const RopeRecipe& recipe : kRecipes) names.push_back(recipe.name);
  return names;
}

std::vector<float> InverseFrequencies(const RopeConfig& config, const RopeRecipe& recipe) {
  if (!config.inv_freq.empty()) return config.inv_freq;
  const FloatEnvironment environment;
  const int64_t R = config.rotary_dim;
  std::vector<float> inv_freq(R / 2);
  for (int64_t i = 0; i < R / 2; ++i) {
    const float base = BaseFrequency(static_cast<float>(config.rope_theta), i, R, recipe.inverse);
    switch (config.type) {
      case RopeType::kDefault:
        inv_freq[i] = base;
        break;
      case RopeType::kLinear:
        inv_freq[i] = base / static_cast<float>(config.factor);
        break;
      case RopeType::kLlama3:
        inv_freq[i] = Llama3(config, base);
        break;
    }
  }
  return inv_freq;
}

}  // namespace bitanchor
