// Contracts drawn from a seed: each freedom absent, as usual, or so great that it outweighs the
// others, so that no term of a bound hides behind another.
#ifndef BITANCHOR_TESTS_EXACT_RANDOM_CONTRACT_H_
#define BITANCHOR_TESTS_EXACT_RANDOM_CONTRACT_H_

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "lib/recipe/contract.h"

namespace bitanchor::testing {

inline Contract RandomContract(uint64_t seed) {
  std::mt19937_64 random(seed * 0x9e3779b97f4a7c15 + 1);
  const auto pick = [&](const std::vector<double>& of) { return of[random() % of.size()]; };
  Contract c;
  c.name = "random-" + std::to_string(seed);
  // Half of them in f32, where the roundings of inputs and outputs hide nothing.
  const DType dtypes[] = {DType::kF32, DType::kF32, DType::kBF16, DType::kF16};
  c.dtype = dtypes[random() % 4];
  c.operation = pick({0x1p-24, 0x1p-23, 0x1p-23, 0x1p-16});
  c.depth_base = pick({4, 32, 512});
  c.depth_keys = pick({1, 4, 64});
  c.row_sum_keys = pick({1, 4, 64});
  if (random() % 2 == 0) {
    c.unit.products = static_cast<int64_t>(pick({4, 8, 16}));
    c.unit.fraction_bits = static_cast<int64_t>(pick({12, 12, 23, 24, 25}));
    c.dot_dims = pick({1, 16});
  }
  c.exp_error = pick({0x1p-24, 0x1p-22, 0x1p-8});
  c.rescale_exp_error = pick({0x1p-24, 0x1p-22, 0x1p-8});
  c.rescale_keys = pick({0, 1, 4, 16, 64});
  c.stale_log2 = pick({0, 0, 8, c.dtype == DType::kF16 ? 15.0 : 60.0});
  c.log_error = pick({0x1p-23, 0x1p-20, 0x1p-8});
  const double score = pick({0, 0, 0x1p-8, 0x1p-11});
  c.score_rounding = 2 * score + score * score;
  c.score_absolute = score == 0x1p-11 ? 0x1p-25 : score == 0 ? 0 : 0x1p-126;
  c.weight_rounding = pick({0, 0x1p-8, 0x1p-11});
  c.weight_absolute = c.weight_rounding == 0x1p-11 ? 0x1p-25 : 0x1p-126;
  if (c.weight_rounding == 0x1p-11) c.stale_log2 = std::min(c.stale_log2, 15.0);  // f16's range
  c.normalise_first = random() % 3 == 0;
  return c;
}

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_EXACT_RANDOM_CONTRACT_H_
