// From which position on a stage's roundings cost an ulp of a bf16 logit, rotary pair by pair.
#ifndef BITANCHOR_LIB_DRIFT_STAGE_COSTS_H_
#define BITANCHOR_LIB_DRIFT_STAGE_COSTS_H_

#include <array>
#include <cstdint>
#include <vector>

#include "lib/drift/staged_rope.h"

namespace bitanchor::drift {

// An ulp of bf16 in [1/2, 1).
inline constexpr double kLogitUlp = 0x1p-8;

// One rotary pair.
struct StageCosts {
  double inverse_frequency = 0;  // exact
  // By stage: the least position at which it costs more than an ulp; -1: none below the limit.
  std::array<int64_t, kRopeStages.size()> first_position = {};
};

// What a pair of dimensions adds to the logit of a query at p and a key is at most |q||k| in size,
// and a stage that alone rounds moves it by at most |q||k| cost(p):
//   cost(p) = max over x of ||y'(p) - y(p)|| / ||x||,   y exact, y' with that stage rounded
// which is ||(c', s') - (c, s)|| for every stage but apply, and there the largest of kDirections x
// = (cos phi, sin phi), rounded to F. cost > 2^-8 is more than an ulp of a bf16 logit of the pair
// just below its largest.
inline constexpr int kDirections = 16;

// Of pair `pair` below `positions`, each of which is tried until every stage has cost an ulp. Needs
// round to nearest.
StageCosts FindStageCosts(const RopeConfig& config, const RopeRecipe& recipe, DType F, int64_t pair,
                          int64_t positions);

}  // namespace bitanchor::drift

#endif  // BITANCHOR_LIB_DRIFT_STAGE_COSTS_H_
