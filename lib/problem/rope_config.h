// What a model's config says about RoPE. How it is computed is a recipe's matter
// (lib/recipe/rope_recipe.h).
#ifndef BITANCHOR_LIB_PROBLEM_ROPE_CONFIG_H_
#define BITANCHOR_LIB_PROBLEM_ROPE_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bitanchor {

// half: dimensions (i, i + R/2) form a pair (GPT-NeoX, Hugging Face).
// interleaved: dimensions (2i, 2i + 1) do (GPT-J, Meta's complex form).
enum class RopePairing { kHalf, kInterleaved };
std::string_view Name(RopePairing pairing);  // "half", "interleaved"

// Hugging Face's names: "default", "linear", "dynamic", "yarn", "longrope", "llama3".
enum class RopeType { kDefault, kLinear, kDynamic, kYarn, kLongrope, kLlama3 };
std::string_view Name(RopeType type);

struct RopeConfig {
  std::string recipe;  // a name of lib/recipe/rope_recipe.h
  RopeType type = RopeType::kDefault;
  double rope_theta = 10000.0;
  int64_t rotary_dim = 0;  // R: even, 2..D; dimensions beyond it pass through
  RopePairing pairing = RopePairing::kHalf;
  double factor = 1.0;  // all types but default
  // llama3
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int64_t original_max_position_embeddings = 8192;  // yarn and longrope, too
  // dynamic
  int64_t max_position_embeddings = 0;
  // yarn
  double beta_fast = 32, beta_slow = 1;
  bool truncate = true;                    // whether it interpolates between whole pairs
  double mscale = 0, mscale_all_dim = 0;   // of the attention factor, where neither is 0
  std::optional<double> attention_factor;  // and longrope; computed where it is not given
  // longrope, [R/2] each: for sequences up to the original length, and for longer ones
  std::vector<double> short_factor, long_factor;
  // dynamic and longrope: the greatest position in use plus one, of queries and keys
  int64_t sequence_length = 0;

  // The kernel's own numbers, used instead of computing them; empty: computed.
  std::vector<float> inv_freq;  // [R/2]
  std::vector<float> cos, sin;  // [P, R/2]; both or neither; every position must be < P
};

// The dimensions of pair i.
struct PairOfDimensions {
  int64_t d1, d2;
};
PairOfDimensions PairDimensions(const RopeConfig& config, int64_t i);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_PROBLEM_ROPE_CONFIG_H_
