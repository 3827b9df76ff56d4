#include "lib/recipe/yarn_range.h"

#include <algorithm>
#include <cmath>

#include "lib/number/elementary.h"

namespace bitanchor {

YarnRange FindYarnRange(const RopeConfig& config) {
  const double R = static_cast<double>(config.rotary_dim);
  const double old_len = static_cast<double>(config.original_max_position_embeddings);
  const auto correction_dim = [&](double rotations) {
    const double turns = number::LogF64(old_len / (rotations * 2 * 3.141592653589793));
    return R * turns / (2 * number::LogF64(config.rope_theta));
  };
  double low = correction_dim(config.beta_fast), high = correction_dim(config.beta_slow);
  if (config.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, R - 1);
  return {low, low == high ? high + 0.001 : high};
}

}  // namespace bitanchor
