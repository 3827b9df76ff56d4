// Which inverse frequencies a kernel's own rotation shows it to have used, where they are not the
// recipe's (lib/NUMERICS.md, section 3).
#ifndef BITANCHOR_LIB_EXACT_INVERSE_FREQUENCY_CHOICE_H_
#define BITANCHOR_LIB_EXACT_INVERSE_FREQUENCY_CHOICE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/exact/rope_interval.h"
#include "lib/problem/rope_config.h"
#include "lib/recipe/frequency_choice.h"
#include "lib/recipe/rope_recipe.h"
#include "lib/tensor/tensor_view.h"

namespace bitanchor::exact {

// One of q and k [B, S, H, D], what the kernel made of it, and its tokens' positions [B, S], which
// must outlive this.
struct RotatedTensor {
  TensorView in, answer;
  const std::vector<int64_t>* positions;
};

class InverseFrequencySearch {
 public:
  // The tensors that one kernel rotated, in F = their dtype. config and recipe must outlive this.
  InverseFrequencySearch(const RopeConfig& config, const RopeRecipe& recipe, double libm_ulp,
                         std::vector<RotatedTensor> tensors);

  // Pairs that share a choice are searched together: groups 0 .. Groups() - 1.
  int64_t Groups() const;

  // The first of kFrequencyUlps under which every element of the group's pairs is admissible;
  // nullopt where that is 0, and where there is none: the kernel is wrong then. Thread-safe. Cost:
  // at most that of judging these pairs six times.
  std::optional<FrequencyChoice> Choose(int64_t group) const;

 private:
  bool Explains(const RopeIntervals& intervals, int64_t group) const;
  int64_t FirstDifference(const RopeIntervals& one, const RopeIntervals& other,
                          int64_t group) const;
  template <typename Body>
  void ForEachPair(int64_t group, const Body& body) const;

  const RopeConfig& config_;
  const RopeRecipe& recipe_;
  std::vector<RotatedTensor> tensors_;
  std::vector<RopeIntervals> intervals_;  // one for each choice of FrequencyFreedom
};

// How far each pair's number is from the recipe's [R/2], as RopeIntervals takes it.
std::vector<int> FrequencyUlps(const RopeConfig& config,
                               const std::vector<FrequencyChoice>& choices);

}  // namespace bitanchor::exact

#endif  // BITANCHOR_LIB_EXACT_INVERSE_FREQUENCY_CHOICE_H_
