#include "lib/exact/inverse_frequency_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "lib/number/float_environment.h"
#include "lib/recipe/interval.h"

namespace bitanchor::exact {
namespace {

constexpr int64_t kNowhere = std::numeric_limits<int64_t>::max();

bool SameSet(const Interval& a, const Interval& b) {
  return (a.low == b.low && a.high == b.high) || (std::isnan(a.low) && std::isnan(b.low));
}

}  // namespace

InverseFrequencySearch::InverseFrequencySearch(const RopeConfig& config, const RopeRecipe& recipe,
                                               double libm_ulp, std::vector<RotatedTensor> tensors)
    : config_(config), recipe_(recipe), tensors_(std::move(tensors)) {
  for (const std::vector<int>& ulps : FrequencyFreedom(config)) {
    intervals_.emplace_back(config, recipe, tensors_.front().in.dtype, libm_ulp,
                            std::vector<std::vector<int>>{ulps});
  }
}

int64_t InverseFrequencySearch::Groups() const {
  return recipe_.rule == AngleRule::kIterated ? 1 : config_.rotary_dim / 2;
}

// body(tensor, b, s, i) for every token and each pair of the group, until it returns false.
template <typename Body>
void InverseFrequencySearch::ForEachPair(int64_t group, const Body& body) const {
  const int64_t pairs = config_.rotary_dim / 2 / Groups();
  for (const RotatedTensor& tensor : tensors_) {
    const auto [B, S, H, D] = tensor.in.shape;
    for (int64_t b = 0; b < B; ++b) {
      for (int64_t s = 0; s < S; ++s) {
        for (int64_t i = group * pairs; i < (group + 1) * pairs; ++i) {
          if (!body(tensor, b, s, (*tensor.positions)[b * S + s], i)) return;
        }
      }
    }
  }
}

bool InverseFrequencySearch::Explains(const RopeIntervals& intervals, int64_t group) const {
  bool explains = true;
  std::vector<PairIntervals> heads;
  ForEachPair(group,
              [&](const RotatedTensor& tensor, int64_t b, int64_t s, int64_t position, int64_t i) {
                intervals.Pair(tensor.in, b, s, position, i, heads);
                const auto [d1, d2] = PairDimensions(config_, i);
                for (int64_t h = 0; h < tensor.in.shape[2] && explains; ++h) {
                  explains = Admits(heads[h].y1, tensor.answer.At(b, s, h, d1)) &&
                             Admits(heads[h].y2, tensor.answer.At(b, s, h, d2));
                }
                return explains;
              });
  return explains;
}

int64_t InverseFrequencySearch::FirstDifference(const RopeIntervals& one,
                                                const RopeIntervals& other, int64_t group) const {
  int64_t first = kNowhere;
  std::vector<PairIntervals> mine, its;
  ForEachPair(group,
              [&](const RotatedTensor& tensor, int64_t b, int64_t s, int64_t position, int64_t i) {
                if (position >= first) return true;
                one.Pair(tensor.in, b, s, position, i, mine);
                other.Pair(tensor.in, b, s, position, i, its);
                for (size_t h = 0; h < mine.size(); ++h) {
                  if (SameSet(mine[h].y1, its[h].y1) && SameSet(mine[h].y2, its[h].y2)) continue;
                  first = position;
                  break;
                }
                return true;
              });
  return first;
}

std::optional<FrequencyChoice> InverseFrequencySearch::Choose(int64_t group) const {
  const FloatEnvironment environment;
  if (Explains(intervals_.front(), group)) return std::nullopt;
  for (size_t n = 1; n < intervals_.size(); ++n) {
    if (!Explains(intervals_[n], group)) continue;
    return FrequencyChoice{recipe_.rule == AngleRule::kIterated ? -1 : group, kFrequencyUlps[n],
                           FirstDifference(intervals_.front(), intervals_[n], group)};
  }
  return std::nullopt;
}

std::vector<int> FrequencyUlps(const RopeConfig& config,
                               const std::vector<FrequencyChoice>& choices) {
  std::vector<int> ulps(config.rotary_dim / 2);
  for (const FrequencyChoice& choice : choices) {
    if (choice.pair < 0) {
      std::fill(ulps.begin(), ulps.end(), choice.ulp);
    } else {
      ulps[choice.pair] = choice.ulp;
    }
  }
  return ulps;
}

}  // namespace bitanchor::exact
