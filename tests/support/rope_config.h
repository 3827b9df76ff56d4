// Configs of every RoPE type for tests and digests, whose lines stand on these numbers.
#ifndef BITANCHOR_TESTS_SUPPORT_ROPE_CONFIG_H_
#define BITANCHOR_TESTS_SUPPORT_ROPE_CONFIG_H_

#include <cstdint>

#include "lib/problem/rope_config.h"
#include "lib/recipe/rope_recipe.h"

namespace bitanchor::testing {

// R: rotary dimensions. Of dynamic, yarn and longrope: the sequence is far longer than the model's.
inline RopeConfig MakeRopeConfig(const RopeRecipe& recipe, RopeType type, RopePairing pairing,
                                 int64_t R) {
  RopeConfig config;
  config.recipe = recipe.name;
  config.type = type;
  config.pairing = pairing;
  config.rotary_dim = R;
  config.rope_theta = type == RopeType::kLlama3 ? 500000 : 10000;
  config.factor = 8;
  config.max_position_embeddings = 4096;
  if (type != RopeType::kLlama3) config.original_max_position_embeddings = 4096;
  config.sequence_length = 131072;
  for (int64_t i = 0; i < R / 2; ++i) {
    config.short_factor.push_back(1 + 0.01 * static_cast<double>(i));
    config.long_factor.push_back(1 + 0.37 * static_cast<double>(i));
  }
  return config;
}

// The default type as the recipe pairs dimensions.
inline RopeConfig MakeRopeConfig(const RopeRecipe& recipe, int64_t R, double theta = 10000) {
  RopeConfig config = MakeRopeConfig(recipe, RopeType::kDefault, recipe.pairing, R);
  config.rope_theta = theta;
  return config;
}

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_SUPPORT_ROPE_CONFIG_H_
