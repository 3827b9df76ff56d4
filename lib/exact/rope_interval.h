// The RoPE contract as a set: which values of each rotated element a kernel may give whose sin and
// cos are within libm_ulp of the recipe's angle and whose arithmetic is the recipe's (numerics
// section 3).
#ifndef BITANCHOR_LIB_EXACT_ROPE_INTERVAL_H_
#define BITANCHOR_LIB_EXACT_ROPE_INTERVAL_H_

#include <cstdint>
#include <vector>

#include "lib/problem/rope_config.h"
#include "lib/recipe/frequency_choice.h"
#include "lib/recipe/interval.h"
#include "lib/recipe/rope_recipe.h"
#include "lib/tensor/tensor_view.h"

namespace bitanchor::exact {

// The intervals of one head's pair.
struct PairIntervals {
  Interval y1, y2;
};

// What a kernel's inverse frequencies may be where its rotation does not show them, each choice as
// AngleOperands takes it: kFrequencyUlps, the same for all pairs (a pair sees its own number only);
// the recipe's alone where the config gives frequencies or tables.
std::vector<std::vector<int>> FrequencyFreedom(const RopeConfig& config);

class RopeIntervals {
 public:
  // config's own tables leave the kernel no freedom in sin and cos, only in fusing. F: q's dtype.
  // choices: of how far the kernel's inverse frequencies are from the recipe's, as FrequencyFreedom
  // gives them. `want` belongs to the first.
  RopeIntervals(const RopeConfig& config, const RopeRecipe& recipe, DType F, double libm_ulp,
                const std::vector<std::vector<int>>& choices = {{}});

  // The intervals of token (b, s)'s heads: in is [B, S, H, D], out [H, D]. The ends are values of F
  // and `want` is the recipe's own answer. Thread-safe.
  void Token(const TensorView& in, int64_t b, int64_t s, int64_t position,
             std::vector<Interval>& out) const;

  // Those of pair i alone: out [H]. Needs round to nearest without flushing.
  void Pair(const TensorView& in, int64_t b, int64_t s, int64_t position, int64_t i,
            std::vector<PairIntervals>& out) const;

  // From intervals [head_dim] of the gradient of a head of a rotated token, in f32, to those of
  // what was rotated, in F: the turn back by the recipe's stages. A kernel may round the former to
  // F first, or keep them in f32. out may be rotated.
  void Gradient(const Interval* rotated, int64_t head_dim, int64_t position, Interval* out) const;

 private:
  struct Range {
    float want, low, high;
  };
  struct TableEntry {
    Range c, s;
  };
  TableEntry Entry(int64_t position, int64_t i) const;
  TableEntry Computed(const std::vector<float>& operands, int64_t position, int64_t i) const;
  static Range Hull(const Range& one, const Range& other);
  Range Libm(float rounded) const;
  Interval Turned(const Interval& x1, const Range& c, const Interval& x2, const Range& s) const;
  void Rotated(float x1, float x2, const TableEntry& t, Interval& y1, Interval& y2) const;

  const RopeConfig& config_;
  const RopeRecipe& recipe_;
  DType F_;
  double libm_ulp_;
  std::vector<std::vector<float>> operands_;  // by choice, each [R/2]
  float factor_;                              // of cos and sin
};

}  // namespace bitanchor::exact

#endif  // BITANCHOR_LIB_EXACT_ROPE_INTERVAL_H_
