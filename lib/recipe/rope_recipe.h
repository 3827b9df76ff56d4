// RoPE recipes: which rounding each stage of a rotation makes. A new implementation costs one row
// of the table in rope_recipe.cc. The stages are numerics section 3 (lib/NUMERICS.md); F is q's
// dtype.
#ifndef BITANCHOR_LIB_RECIPE_ROPE_RECIPE_H_
#define BITANCHOR_LIB_RECIPE_ROPE_RECIPE_H_

#include <span>
#include <string_view>
#include <vector>

#include "lib/problem/rope_config.h"
#include "lib/tensor/dtype.h"

namespace bitanchor {

// How theta^(-2i/R) is made before the rope type's formula.
enum class InverseFrequency {
  kF32,             // RN(1 / RN(pow(theta, RN(2i/R)))), each step in f32
  kF64,             // RN_f32(theta^-RN_f32(2i/R)): a double pow, rounded once
  kReciprocalBase,  // RN(pow(RN(1 / theta), RN(2i/R)))
  kPowerOfRatio,    // RN(pow(r, i)), r = RN(pow(theta, RN(-2/R)))
};

// How position and frequency become an angle.
enum class AngleRule {
  kProduct,   // RN_f32(p x inverse frequency); exact where both are rounded to F
  kDivision,  // RN_f32(p / timescale): RN(pow(theta, RN(2i/R))) where the rope type is default,
              // RN(1 / inverse frequency) elsewhere
  kIterated,  // a_0 = p, a_{i+1} = RN_f32(a_i x r), r = RN(pow(theta, RN(-2/R))) for every pair: no
              // inverse frequency, so that only the default rope type has a meaning
};

// The format that a stage's result is rounded to, nearest-even: F is kModel.
enum class StageFormat { kModel, kF32, kTF32, kBF16, kF16 };

enum class RopeApply {
  kThreeRoundings,  // "3R": RN_F(RN_F(x1 c) -+ RN_F(x2 s))
  kF32,       // "1R": products and sum rounded in f32, then one rounding to F. GPU compilers choose
              // whether and which product to fuse: the contract admits all three choices
  kF32FmaX1,  // "1R", x1's product fused: y1 = fma(x1, c, -RN(x2 s)), y2 = fma(x1, s, RN(x2 c))
};

// kBackward: the gradient with respect to what was rotated, from that with respect to the result:
// the same rotation with -s for s, by the same stages.
enum class RopeDirection { kForward, kBackward };

struct RopeRecipe {
  std::string_view name;
  RopePairing pairing;  // where the config names none
  InverseFrequency inverse;
  AngleRule rule;
  StageFormat operands;  // position, and inverse frequency, timescale or ratio, before the rule
  StageFormat angle;     // its result
  StageFormat table;     // cos and sin: correctly rounded to f32, then rounded to this; kModel
                         // where three roundings apply them
  RopeApply apply;
  std::string_view says;
};

// The format of a stage by its own name, never kModel; F is q's dtype.
StageFormat FormatOf(StageFormat stage, DType F);

// x rounded once to a format that FormatOf gave.
float RoundTo(StageFormat format, double x);

// Whether the recipe says what a config of this rope type, or with inverse frequencies of its own,
// means.
bool TakesRopeType(const RopeRecipe& recipe, RopeType type);
bool TakesInverseFrequencies(const RopeRecipe& recipe);

std::span<const RopeRecipe> RopeRecipes();
const RopeRecipe* FindRopeRecipe(std::string_view name);  // nullptr: no such recipe
std::vector<std::string_view> RopeRecipeNames();

// The R/2 inverse frequencies of config under recipe, in f32, rope type applied in the order in
// which Hugging Face transformers evaluates it (modeling_rope_utils.py; dynamic, yarn and longrope
// start from RN(pow(theta, RN(2i/R))) whatever the recipe); config.inv_freq where given. Not yet
// rounded to F.
std::vector<float> InverseFrequencies(const RopeConfig& config, const RopeRecipe& recipe);

// What computed cos and sin are multiplied with in f32 before the table stage rounds them: 1 but
// for yarn and longrope.
float AttentionFactor(const RopeConfig& config);

// What the recipe's rule takes beside the position, one a pair: inverse frequencies, timescales or
// the ratio of neighbours, rounded as its operands are; F is q's dtype. ulps: empty, or how many
// f32 numbers above the recipe's each one is taken before that rounding (of a recipe that iterates,
// all the same).
std::vector<float> AngleOperands(const RopeConfig& config, const RopeRecipe& recipe, DType F,
                                 std::span<const int> ulps = {});

// The angle of pair i at a position, `operand` being AngleOperands' number i. Needs round to
// nearest without flushing.
float Angle(const RopeRecipe& recipe, DType F, int64_t position, float operand, int64_t i);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_RECIPE_ROPE_RECIPE_H_
