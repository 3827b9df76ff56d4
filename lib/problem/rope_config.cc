#include "lib/problem/rope_config.h"

namespace bitanchor {

std::string_view Name(RopePairing pairing) {
  return pairing == RopePairing::kHalf ? "half" : "interleaved";
}

std::string_view Name(RopeType type) {
  switch (type) {
    case RopeType::kDefault:
      return "default";
    case RopeType::kLinear:
      return "linear";
    case RopeType::kDynamic:
      return "dynamic";
    case RopeType::kYarn:
      return "yarn";
    case RopeType::kLongrope:
      return "longrope";
    case RopeType::kLlama3:
      return "llama3";
  }
  return "";
}

PairOfDimensions PairDimensions(const RopeConfig& config, int64_t i) {
  if (config.pairing == RopePairing::kInterleaved) return {2 * i, 2 * i + 1};
  return {i, i + config.rotary_dim / 2};
}

}  // namespace bitanchor
