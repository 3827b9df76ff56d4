#include "tools/compute.h"

#include "lib/recipe/rope_recipe.h"
#include "lib/scalar/attention.h"
#include "lib/scalar/rope.h"
#include "simd/attention.h"
#include "simd/rope.h"

namespace bitanchor::tools {

OwnedTensor::OwnedTensor(DType dtype, const Shape4& shape, Layout layout)
    : bytes(DTypeBytes(dtype) * static_cast<size_t>(shape[0] * shape[1] * shape[2] * shape[3])),
      view(DenseView<std::byte>(dtype, bytes.data(), shape, layout)) {}

Rotated Rotate(const AttentionProblem& problem, Layout layout, Engine engine,
               const simd::EngineOptions& options) {
  Rotated out{problem, {}, {}};
  if (!problem.rope) return out;
  const RopeConfig& config = *problem.rope;
  const RopeRecipe& recipe = *FindRopeRecipe(config.recipe);
  out.q = OwnedTensor(problem.q.dtype, problem.q.shape, layout);
  out.k = OwnedTensor(problem.k.dtype, problem.k.shape, layout);
  if (engine == Engine::kScalar) {
    scalar::ApplyRope(config, recipe, problem.q, problem.q_positions, out.q.view);
    scalar::ApplyRope(config, recipe, problem.k, problem.k_positions, out.k.view);
  } else {
    simd::ApplyRope(config, recipe, problem.q, problem.q_positions, options, out.q.view);
    simd::ApplyRope(config, recipe, problem.k, problem.k_positions, options, out.k.view);
  }
  out.problem.q = out.q.view;
  out.problem.k = out.k.view;
  out.problem.rope.reset();
  return out;
}

Answer Attend(const AttentionProblem& problem, const AttentionRecipe& recipe, Layout layout,
              Engine engine, const simd::EngineOptions& options, DType o_dtype) {
  const AttentionShape& shape = problem.shape;
  Answer answer{OwnedTensor(o_dtype, problem.q.shape, layout), {}};
  answer.lse.resize(static_cast<size_t>(shape.B * shape.Hq * shape.Sq));
  if (engine == Engine::kScalar) {
    scalar::AttentionForward(problem, recipe, answer.o.view, answer.lse.data());
  } else {
    simd::AttentionForward(problem, recipe, options, answer.o.view, answer.lse.data());
  }
  return answer;
}

}  // namespace bitanchor::tools
