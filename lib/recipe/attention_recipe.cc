#include "lib/recipe/attention_recipe.h"

namespace bitanchor {
namespace {

constexpr AttentionRecipe kRecipes[] = {
    {"textbook", WeightRounding::kNone, "max, exp, sum and weighted sum in f32, keys ascending"},
    {"textbook-bf16p", WeightRounding::kBF16, "textbook with weights rounded to bf16 before P.V"},
};

}  // namespace

std::span<const AttentionRecipe> AttentionRecipes() { return kRecipes; }

const AttentionRecipe* FindAttentionRecipe(std::string_view name) {
  for (const AttentionRecipe& recipe : kRecipes) {
    if (recipe.name == name) return &recipe;
  }
  return nullptr;
}

}  // namespace bitanchor
