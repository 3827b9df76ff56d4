// Attention recipes: full statements of how a forward pass is computed. Data, read by every engine;
// the meaning of each field is numerics section 4 (lib/NUMERICS.md). A bit never changes under the
// same name.
#ifndef BITANCHOR_LIB_RECIPE_ATTENTION_RECIPE_H_
#define BITANCHOR_LIB_RECIPE_ATTENTION_RECIPE_H_

#include <span>
#include <string_view>

namespace bitanchor {

// What the softmax weight p_j becomes before it multiplies v_j. The row sum l always adds p_j
// itself.
enum class WeightRounding { kNone, kBF16 };

struct AttentionRecipe {
  std::string_view name;
  WeightRounding weights;
  std::string_view says;  // one line for `info`
};

std::span<const AttentionRecipe> AttentionRecipes();
const AttentionRecipe* FindAttentionRecipe(std::string_view name);  // nullptr: no such recipe

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_RECIPE_ATTENTION_RECIPE_H_
