// Wiring: from a problem to rotated inputs and answers, by either engine.
#ifndef BITANCHOR_TOOLS_COMPUTE_H_
#define BITANCHOR_TOOLS_COMPUTE_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "lib/file/safetensors.h"
#include "lib/problem/attention_problem.h"
#include "lib/recipe/attention_recipe.h"
#include "simd/attention.h"
#include "simd/options.h"

namespace bitanchor::tools {

enum class Engine { kSimd, kScalar };

// --engine, and its value.
void AddEngineOption(CLI::App& app, std::string& engine);
Engine EngineOf(const std::string& engine);

// Memory for one tensor, and the dense view onto it.
struct OwnedTensor {
  std::vector<std::byte> bytes;
  MutableTensorView view;

  OwnedTensor() = default;
  OwnedTensor(DType dtype, const Shape4& shape, Layout layout);
};

// q and k as attention reads them, and where they lie if they had to be computed.
struct Rotated {
  AttentionProblem problem;  // q and k after RoPE, rope absent
  OwnedTensor q, k;          // empty without rope
};

// Rotates q and k under the problem's RoPE recipe; without rope the problem as it is.
Rotated Rotate(const AttentionProblem& problem, Layout layout, Engine engine,
               const simd::EngineOptions& options);

struct Answer {
  OwnedTensor o;
  std::vector<float> lse;  // [B, Hq, Sq]
};

// `problem` has no rope any more. o has q's dtype unless told otherwise. rows: filled in for
// Differentiate where the engine is simd, unless null.
Answer Attend(const AttentionProblem& problem, const AttentionRecipe& recipe, Layout layout,
              Engine engine, const simd::EngineOptions& options, DType o_dtype,
              simd::AttentionRows* rows = nullptr);

struct Gradients {
  OwnedTensor dq, dk, dv;  // of q, k and v as the problem gives them, in their dtype
};

// The gradients of `problem`, whose rotation is `rotated`, for the gradient `dout` of its output.
// With rope: those of the rotated q and k, rounded to their dtype, turned back by its recipe. rows:
// of the forward pass of rotated.problem, or null.
Gradients Differentiate(const AttentionProblem& problem, const Rotated& rotated,
                        const AttentionRecipe& recipe, Layout layout, Engine engine,
                        const simd::EngineOptions& options, const TensorView& dout,
                        const simd::AttentionRows* rows = nullptr);

// Everything that a recipe answers to a problem. Moving it leaves the tensors valid.
struct Answers {
  Rotated rotated;
  Answer answer;
  Gradients gradients;             // empty without dout
  std::vector<OutTensor> tensors;  // o, lse; with rope q_rope, k_rope; with dout dq, dk, dv
};

// dout: null where there are to be no gradients. `layout` is that of the answers.
Answers AnswerAll(const AttentionProblem& problem, const TensorView& dout,
                  const AttentionRecipe& recipe, Layout layout, Engine engine,
                  const simd::EngineOptions& options);

// Throws InputError naming --recipe where there is no such recipe.
const AttentionRecipe& RecipeOption(const std::string& name);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_COMPUTE_H_
