// One query row of the forward pass: what both directions of the definition start from.
#ifndef BITANCHOR_LIB_SCALAR_ATTENTION_ROW_H_
#define BITANCHOR_LIB_SCALAR_ATTENTION_ROW_H_

#include <cstdint>
#include <limits>
#include <vector>

#include "lib/problem/attention_problem.h"
#include "lib/recipe/attention_recipe.h"

namespace bitanchor::scalar {

// Everything in f32, nothing rounded to the output's dtype yet.
struct AttentionRow {
  std::vector<int64_t> keys;  // the keys that the query sees, ascending
  std::vector<float> p;       // exp(t - m), for each of them
  float m = -std::numeric_limits<float>::infinity();
  float l = 0;
  std::vector<float> o;  // [D]; all +0 where no key is visible
};

// Fills in row.keys: what query i of batch b sees, whatever the head.
void FindKeys(const AttentionProblem& problem, int64_t b, int64_t i, AttentionRow& row);

// The rest of the row, for head h.
void ComputeRow(const AttentionProblem& problem, const AttentionRecipe& recipe, int64_t b,
                int64_t h, int64_t i, AttentionRow& row);

// A weight, or a score's gradient, as it goes into a product.
float RoundWeight(float w, WeightRounding how);

}  // namespace bitanchor::scalar

#endif  // BITANCHOR_LIB_SCALAR_ATTENTION_ROW_H_
