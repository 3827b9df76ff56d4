#include "lib/recipe/rope_recipe.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "lib/number/elementary.h"
#include "lib/number/float_environment.h"
#include "lib/number/format.h"
#include "lib/number/ulp.h"
#include "lib/recipe/yarn_range.h"
#include "lib/tensor/tensor_view.h"

namespace bitanchor {
namespace {

constexpr RopePairing kHalf = RopePairing::kHalf, kInterleaved = RopePairing::kInterleaved;
constexpr InverseFrequency kInverse = InverseFrequency::kF32;
constexpr AngleRule kProduct = AngleRule::kProduct, kDivision = AngleRule::kDivision;
constexpr StageFormat kF32 = StageFormat::kF32, kModel = StageFormat::kModel;
constexpr StageFormat kTF32 = StageFormat::kTF32, kF16 = StageFormat::kF16;
constexpr RopeApply k3R = RopeApply::kThreeRoundings, k1R = RopeApply::kF32;

// name, pairing, inverse frequency; angle: rule, operands, result; table; apply; what it is.
constexpr RopeRecipe kRecipes[] = {
    {"hf-llama", kHalf, kInverse, kProduct, kF32, kF32, kModel, k3R,
     "Hugging Face Llama, Mistral, Qwen2 since 4.38: f32 angles, model-dtype tables and "
     "arithmetic"},
    {"hf-llama-legacy", kHalf, kInverse, kProduct, kModel, kModel, kModel, k3R,
     "Hugging Face Llama before 4.38 with a model-dtype buffer: angles in the model dtype too"},
    {"hf-llama-tf32", kHalf, kInverse, kProduct, kTF32, kF32, kModel, k3R,
     "hf-llama with the product of frequency and position in TF32: positions exact to 2048 only"},
    {"meta-llama", kInterleaved, kInverse, kProduct, kF32, kF32, kF32, k1R,
     "Meta Llama 3 (complex64), torchtune, torchtitan: f32 throughout, one rounding"},
    {"flash-attn", kHalf, kInverse, kProduct, kF32, kF32, kModel, k1R,
     "flash-attn's Triton rotary: model-dtype tables, f32 arithmetic, one rounding"},
    {"transformer-engine", kHalf, kInverse, kProduct, kF32, kF32, kF32, k1R,
     "TransformerEngine's fused kernel: f32 tables and arithmetic, one rounding"},
    {"gemma-cpp", kHalf, InverseFrequency::kF64, kProduct, kF32, kF32, kF32, RopeApply::kF32FmaX1,
     "gemma.cpp: double pow, f32 tables, explicit FMA, one rounding"},
    {"hf-olmo2", kHalf, kInverse, kProduct, kF32, kF32, kF32, k1R,
     "Hugging Face OLMo2: f32 tables and arithmetic, one rounding"},
    {"torchtitan-cossin", kHalf, kInverse, kProduct, kF32, kF32, kF32, k1R,
     "torchtitan's cos/sin form: f32 tables and arithmetic, one rounding"},
    {"apex", kHalf, kInverse, kProduct, kF32, kF32, kModel, k3R,
     "NVIDIA Apex's fused kernel: tables cast to the storage type, arithmetic in it"},
    {"megatron", kHalf, kInverse, kProduct, kF32, kF32, kModel, k3R,
     "Megatron-Core, unfused: model-dtype tables and arithmetic"},
    {"gpt-neox", kHalf, kInverse, kProduct, kF32, kF32, kModel, k3R,
     "GPT-NeoX: f32 angles, model-dtype tables and arithmetic"},
    {"gpt-neox-te", kHalf, kInverse, kProduct, kF32, kModel, kF32, k1R,
     "GPT-NeoX through TransformerEngine: the f32 angle cast to the model dtype"},
    {"vllm", kHalf, kInverse, kProduct, kF32, kF32, kModel, k1R,
     "vLLM's CUDA kernel: a cache in the query's dtype, f32 arithmetic, one rounding"},
    {"flashinfer", kHalf, InverseFrequency::kReciprocalBase, kProduct, kF32, kF32, kF32, k1R,
     "FlashInfer computing on the fly: powers of 1/theta, f32 throughout, one rounding"},
    {"flashinfer-cached", kHalf, kInverse, kProduct, kF32, kF32, kF32, k1R,
     "FlashInfer from its f32 cos_sin_cache"},
    {"liger", kHalf, kInverse, kProduct, kF32, kF32, kModel, k3R,
     "Liger's Triton kernel with Hugging Face's tables: arithmetic in the model dtype"},
    {"unsloth-gemma", kHalf, kInverse, kDivision, kF32, kF32, kF32, k1R,
     "Unsloth's Gemma: position divided by a timescale, f32 throughout, one rounding"},
    {"gemma-jax", kHalf, kInverse, kDivision, kF32, kF32, kF32, k1R,
     "DeepMind's gemma: position divided by a timescale, f32 throughout, one rounding"},
    {"ggml-cuda", kInterleaved, InverseFrequency::kPowerOfRatio, kProduct, kF32, kF32, kF32, k1R,
     "ggml's CUDA kernel: powers of the ratio theta^(-2/R), f32 throughout, one rounding"},
    {"ggml-cpu", kInterleaved, InverseFrequency::kPowerOfRatio, AngleRule::kIterated, kF32, kF32,
     kF32, k1R, "ggml's CPU kernel: the angle of one pair times the ratio is the next one's"},
    {"maxtext", kHalf, kInverse, kDivision, kF32, kF32, kModel, k3R,
     "MaxText: position divided by a timescale, tables and arithmetic in the input dtype"},
    {"maxtext-llama", kInterleaved, kInverse, kDivision, kF32, kF32, kF32, k1R,
     "MaxText's Llama form: position divided by a timescale, f32 throughout, one rounding"},
    {"candle-qwen2", kHalf, kInverse, kProduct, kModel, kModel, kModel, k3R,
     "candle's Qwen2: inverse frequency, position, angle, tables and arithmetic in the model "
     "dtype"},
    {"fp16-tables", kHalf, kInverse, kProduct, kF32, kF32, kF16, k1R,
     "llmq's f16 tables whatever the model's dtype: f32 angles and arithmetic, one rounding"},
    {"candle-qwen3", kHalf, kInverse, kProduct, kF32, kF32, kModel, k3R,
     "candle's Qwen3: f32 angles, model-dtype tables and arithmetic"},
};

// The engine's three roundings take products of two F values.
static_assert(std::ranges::all_of(kRecipes, [](const RopeRecipe& recipe) {
  return recipe.apply != k3R || recipe.table == kModel;
}));

// RN(pow(base, RN(2i/R))).
float Power(float base, int64_t i, int64_t R) {
  return number::Pow(base, static_cast<float>(2 * i) / static_cast<float>(R));
}

// RN(pow(theta, RN(-2/R))): what one frequency is of the one before.
float Ratio(float theta, int64_t R) { return number::Pow(theta, -2.0f / static_cast<float>(R)); }

float BaseFrequency(float theta, int64_t i, int64_t R, InverseFrequency how) {
  const float exponent = static_cast<float>(2 * i) / static_cast<float>(R);
  switch (how) {
    case InverseFrequency::kF32:
      break;
    case InverseFrequency::kF64:
      return number::Pow(theta, -exponent);
    case InverseFrequency::kReciprocalBase:
      return number::Pow(1.0f / theta, exponent);
    case InverseFrequency::kPowerOfRatio:
      return number::Pow(Ratio(theta, R), static_cast<float>(i));
  }
  return 1.0f / Power(theta, i, R);
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

// transformers' _compute_dynamic_ntk_parameters: the base, for sequences longer than the model's.
float DynamicBase(const RopeConfig& config) {
  const float theta = static_cast<float>(config.rope_theta);
  if (config.sequence_length <= config.max_position_embeddings) return theta;
  const double R = static_cast<double>(config.rotary_dim);
  float stretch = static_cast<float>(config.factor) * static_cast<float>(config.sequence_length);
  stretch = stretch / static_cast<float>(config.max_position_embeddings);
  stretch = stretch - static_cast<float>(config.factor - 1);
  return theta * number::Pow(stretch, static_cast<float>(R / (R - 2)));
}

float Yarn(const RopeConfig& config, const YarnRange& range, float power, int64_t i) {
  const float extrapolated = 1.0f / power;
  const float interpolated = 1.0f / (static_cast<float>(config.factor) * power);
  const float ramp = (static_cast<float>(i) - static_cast<float>(range.low)) /
                     static_cast<float>(range.high - range.low);
  const float keep = 1.0f - std::clamp(ramp, 0.0f, 1.0f);
  return interpolated * (1.0f - keep) + extrapolated * keep;
}

// transformers' _compute_longrope_parameters.
float Longrope(const RopeConfig& config, float power, int64_t i) {
  const bool longer = config.sequence_length > config.original_max_position_embeddings;
  return 1.0f /
         (static_cast<float>((longer ? config.long_factor : config.short_factor)[i]) * power);
}

}  // namespace

float AttentionFactor(const RopeConfig& config) {
  const bool has_one = config.type == RopeType::kYarn || config.type == RopeType::kLongrope;
  if (!has_one) return 1;
  if (config.attention_factor) return static_cast<float>(*config.attention_factor);
  if (config.factor <= 1) return 1;
  const double log_factor = number::LogF64(config.factor);
  if (config.type == RopeType::kYarn) {
    const auto mscale = [&](double scale) { return 0.1 * scale * log_factor + 1.0; };
    const bool both = config.mscale != 0 && config.mscale_all_dim != 0;
    return static_cast<float>(both ? mscale(config.mscale) / mscale(config.mscale_all_dim)
                                   : mscale(1));
  }
  const double old_len = static_cast<double>(config.original_max_position_embeddings);
  return static_cast<float>(std::sqrt(1 + log_factor / number::LogF64(old_len)));
}

StageFormat FormatOf(StageFormat stage, DType F) {
  if (stage != StageFormat::kModel) return stage;
  if (F == DType::kBF16) return StageFormat::kBF16;
  return F == DType::kF16 ? StageFormat::kF16 : StageFormat::kF32;
}

float RoundTo(StageFormat format, double x) {
  switch (format) {
    case StageFormat::kModel:
      assert(false && "FormatOf says which");
      break;
    case StageFormat::kF32:
      break;
    case StageFormat::kTF32:
      return RoundToTF32(x);
    case StageFormat::kBF16:
      return ToF32(ToBF16(x));
    case StageFormat::kF16:
      return ToF32(ToF16(x));
  }
  return RoundToF32(x);
}

bool TakesRopeType(const RopeRecipe& recipe, RopeType type) {
  return recipe.rule != AngleRule::kIterated || type == RopeType::kDefault;
}

bool TakesInverseFrequencies(const RopeRecipe& recipe) {
  return recipe.rule != AngleRule::kIterated;
}

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
  const float theta = static_cast<float>(config.rope_theta),
              factor = static_cast<float>(config.factor);
  const float dynamic_base = config.type == RopeType::kDynamic ? DynamicBase(config) : 0;
  const YarnRange yarn = config.type == RopeType::kYarn ? FindYarnRange(config) : YarnRange{};
  const auto frequency = [&](int64_t i) {
    switch (config.type) {
      case RopeType::kDefault:
        break;
      case RopeType::kLinear:
        return BaseFrequency(theta, i, R, recipe.inverse) / factor;
      case RopeType::kDynamic:
        return 1.0f / Power(dynamic_base, i, R);
      case RopeType::kYarn:
        return Yarn(config, yarn, Power(theta, i, R), i);
      case RopeType::kLongrope:
        return Longrope(config, Power(theta, i, R), i);
      case RopeType::kLlama3:
        return Llama3(config, BaseFrequency(theta, i, R, recipe.inverse));
    }
    return BaseFrequency(theta, i, R, recipe.inverse);
  };
  std::vector<float> inv_freq(R / 2);
  for (int64_t i = 0; i < R / 2; ++i) inv_freq[i] = frequency(i);
  return inv_freq;
}

std::vector<float> AngleOperands(const RopeConfig& config, const RopeRecipe& recipe, DType F,
                                 std::span<const int> ulps) {
  const FloatEnvironment environment;
  const int64_t R = config.rotary_dim;
  const float theta = static_cast<float>(config.rope_theta);
  std::vector<float> operands;
  switch (recipe.rule) {
    case AngleRule::kProduct:
      operands = InverseFrequencies(config, recipe);
      break;
    case AngleRule::kDivision:
      if (config.inv_freq.empty() && config.type == RopeType::kDefault) {
        for (int64_t i = 0; i < R / 2; ++i) operands.push_back(Power(theta, i, R));
      } else {
        operands = InverseFrequencies(config, recipe);
        for (float& x : operands) x = 1.0f / x;
      }
      break;
    case AngleRule::kIterated:
      assert(TakesRopeType(recipe, config.type) && config.inv_freq.empty());
      operands.assign(R / 2, Ratio(theta, R));
      break;
  }
  assert(ulps.empty() || ulps.size() == operands.size());
  for (size_t i = 0; i < ulps.size(); ++i) {
    for (int n = 0; n < ulps[i]; ++n) operands[i] = NextUp(operands[i]);
    for (int n = 0; n > ulps[i]; --n) operands[i] = NextDown(operands[i]);
  }
  for (float& x : operands) x = RoundTo(FormatOf(recipe.operands, F), x);
  return operands;
}

float Angle(const RopeRecipe& recipe, DType F, int64_t position, float operand, int64_t i) {
  const StageFormat format = FormatOf(recipe.operands, F);
  const float p = RoundTo(format, static_cast<double>(position));
  double angle = p;
  switch (recipe.rule) {
    case AngleRule::kProduct:
      angle *= operand;
      break;
    case AngleRule::kDivision:
      angle = p / operand;
      break;
    case AngleRule::kIterated:
      for (int64_t n = 0; n < i; ++n) angle = static_cast<float>(angle * operand);
      break;
  }
  // A product of two values of a narrower format is exact; others are f32's.
  if (format == StageFormat::kF32) angle = static_cast<float>(angle);
  return RoundTo(FormatOf(recipe.angle, F), angle);
}

}  // namespace bitanchor
