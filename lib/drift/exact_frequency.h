// The frequencies that a model's config means, before any recipe rounds them.
#ifndef BITANCHOR_LIB_DRIFT_EXACT_FREQUENCY_H_
#define BITANCHOR_LIB_DRIFT_EXACT_FREQUENCY_H_

#include <vector>

#include "lib/problem/rope_config.h"

namespace bitanchor::drift {

// The R/2 inverse frequencies of a validated config, each within 2^-45 of itself: theta^(-2i/R) and
// the rope type's formula in real numbers; config.inv_freq where given. theta is RN_f32(rope_theta)
// as for every recipe. What recipes make of them: InverseFrequencies in lib/recipe/rope_recipe.h.
std::vector<double> ExactInverseFrequencies(const RopeConfig& config);

}  // namespace bitanchor::drift

#endif  // BITANCHOR_LIB_DRIFT_EXACT_FREQUENCY_H_
