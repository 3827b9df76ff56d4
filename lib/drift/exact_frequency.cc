#include "lib/drift/exact_frequency.h"

#include <algorithm>
#include <cmath>

#include "lib/number/elementary.h"
#include "lib/number/elementary_accurate.h"
#include "lib/number/float_environment.h"
#include "lib/recipe/yarn_range.h"

namespace bitanchor::drift {
namespace {

using number::DoubleDouble;

constexpr double kPi = 3.141592653589793;

double Exact(float x) { return static_cast<double>(x); }
double Exact(int64_t x) { return static_cast<double>(x); }

// theta^(-2i/R) for theta = e^log_theta.
double Power(DoubleDouble log_theta, int64_t i, int64_t R) {
  const DoubleDouble exponent =
      DoubleDouble{Exact(-2 * i), 0} / DoubleDouble{Exact(R), 0} * log_theta;
  return number::accurate::Exp(exponent).hi;
}

// dynamic: theta (factor S / L - (factor - 1))^(R / (R - 2)), S beyond the length L of training.
DoubleDouble LogDynamicBase(const RopeConfig& config, DoubleDouble log_theta) {
  if (config.sequence_length <= config.max_position_embeddings) return log_theta;
  const double stretch =
      config.factor * Exact(config.sequence_length) / Exact(config.max_position_embeddings) -
      (config.factor - 1);
  const double R = Exact(config.rotary_dim);
  return log_theta + DoubleDouble{number::LogF64(stretch) * (R / (R - 2)), 0};
}

// llama3: long waves are divided by the factor, short ones kept, those between interpolated.
double Llama3(const RopeConfig& config, double f) {
  const double turns = Exact(config.original_max_position_embeddings) * f / (2 * kPi);
  if (turns < config.low_freq_factor) return f / config.factor;
  if (turns > config.high_freq_factor) return f;
  const double smooth =
      (turns - config.low_freq_factor) / (config.high_freq_factor - config.low_freq_factor);
  return (1 - smooth) * f / config.factor + smooth * f;
}

// yarn: pair i is interpolated the more, the fewer times it turns in the length of training.
double Yarn(const RopeConfig& config, double f, int64_t i) {
  const auto [low, high] = FindYarnRange(config);
  const double ramp = std::clamp((Exact(i) - low) / (high - low), 0.0, 1.0);
  return f / config.factor * ramp + f * (1 - ramp);
}

double Longrope(const RopeConfig& config, double f, int64_t i) {
  const bool longer = config.sequence_length > config.original_max_position_embeddings;
  return f / (longer ? config.long_factor : config.short_factor)[static_cast<size_t>(i)];
}

double ByType(const RopeConfig& config, double f, int64_t i) {
  switch (config.type) {
    case RopeType::kDefault:
    case RopeType::kDynamic:
      return f;
    case RopeType::kLinear:
      return f / config.factor;
    case RopeType::kYarn:
      return Yarn(config, f, i);
    case RopeType::kLongrope:
      return Longrope(config, f, i);
    case RopeType::kLlama3:
      return Llama3(config, f);
  }
  return f;
}

}  // namespace

std::vector<double> ExactInverseFrequencies(const RopeConfig& config) {
  if (!config.inv_freq.empty()) return {config.inv_freq.begin(), config.inv_freq.end()};
  const FloatEnvironment environment;
  DoubleDouble log_theta = number::accurate::Log(Exact(static_cast<float>(config.rope_theta)));
  if (config.type == RopeType::kDynamic) log_theta = LogDynamicBase(config, log_theta);
  std::vector<double> frequencies;
  for (int64_t i = 0; i < config.rotary_dim / 2; ++i) {
    frequencies.push_back(ByType(config, Power(log_theta, i, config.rotary_dim), i));
  }
  return frequencies;
}

}  // namespace bitanchor::drift
