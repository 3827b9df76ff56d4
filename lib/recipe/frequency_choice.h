// An inverse frequency of a kernel that is not the recipe's but an ulp or two beside it, as another
// libm's pow gives it. A kernel computes each once, so that it is one choice per frequency for
// every token and head of q and k.
#ifndef BITANCHOR_LIB_RECIPE_FREQUENCY_CHOICE_H_
#define BITANCHOR_LIB_RECIPE_FREQUENCY_CHOICE_H_

#include <array>
#include <cstdint>

namespace bitanchor {

// What a kernel may choose, in ulp of the f32 number that the recipe's rule takes (an inverse
// frequency, a timescale, a ratio): the recipe's own first, then by distance.
inline constexpr std::array<int, 5> kFrequencyUlps = {0, 1, -1, 2, -2};

struct FrequencyChoice {
  int64_t pair;  // of dimensions, 0..R/2-1; -1: the one ratio of a recipe that iterates its angles
  int ulp;       // how many f32 numbers above the recipe's
  int64_t from_position;  // the least position of the capture with another admissible set than 0's
};

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_RECIPE_FREQUENCY_CHOICE_H_
