#include "tools/compute.h"

#include "lib/file/capture_writer.h"
#include "lib/recipe/rope_recipe.h"
#include "lib/recipe/schedule.h"
#include "lib/scalar/attention.h"
#include "lib/scalar/rope.h"
#include "lib/tensor/error.h"
#include "simd/rope.h"

namespace bitanchor::tools {
namespace {

void ApplyRope(const RopeConfig& config, const TensorView& in,
               const std::vector<int64_t>& positions, Engine engine,
               const simd::EngineOptions& options, const MutableTensorView& out,
               RopeDirection direction) {
  const RopeRecipe& recipe = *FindRopeRecipe(config.recipe);
  if (engine == Engine::kScalar) {
    scalar::ApplyRope(config, recipe, in, positions, out, direction);
  } else {
    simd::ApplyRope(config, recipe, in, positions, options, out, direction);
  }
}

// o as AttentionForward gives it: rounded once more.
void Round(const simd::AttentionRows& rows, const MutableTensorView& o) {
  const auto [B, S, H, D] = o.shape;
  const float* from = rows.o.data();
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t s = 0; s < S; ++s) {
      for (int64_t h = 0; h < H; ++h, from += D) StoreRow(o, b, s, h, from);
    }
  }
}

}  // namespace

void AddEngineOption(CLI::App& app, std::string& engine) {
  app.add_option("--engine", engine, "simd, or scalar: the definition itself, slow")
      ->check(CLI::IsMember({"simd", "scalar"}))
      ->capture_default_str();
}

Engine EngineOf(const std::string& engine) {
  return engine == "scalar" ? Engine::kScalar : Engine::kSimd;
}

OwnedTensor::OwnedTensor(DType dtype, const Shape4& shape, Layout layout)
    : bytes(DTypeBytes(dtype) * static_cast<size_t>(shape[0] * shape[1] * shape[2] * shape[3])),
      view(DenseView<std::byte>(dtype, bytes.data(), shape, layout)) {}

Rotated Rotate(const AttentionProblem& problem, Layout layout, Engine engine,
               const simd::EngineOptions& options) {
  Rotated out{problem, {}, {}};
  if (!problem.rope) return out;
  const RopeConfig& config = *problem.rope;
  out.q = OwnedTensor(problem.q.dtype, problem.q.shape, layout);
  out.k = OwnedTensor(problem.k.dtype, problem.k.shape, layout);
  constexpr RopeDirection kForward = RopeDirection::kForward;
  ApplyRope(config, problem.q, problem.q_positions, engine, options, out.q.view, kForward);
  ApplyRope(config, problem.k, problem.k_positions, engine, options, out.k.view, kForward);
  out.problem.q = out.q.view;
  out.problem.k = out.k.view;
  out.problem.rope.reset();
  return out;
}

Answer Attend(const AttentionProblem& problem, const AttentionRecipe& recipe, Layout layout,
              Engine engine, const simd::EngineOptions& options, DType o_dtype,
              simd::AttentionRows* rows) {
  const AttentionShape& shape = problem.shape;
  Answer answer{OwnedTensor(o_dtype, problem.q.shape, layout), {}};
  answer.lse.resize(static_cast<size_t>(shape.B * shape.Hq * shape.Sq));
  if (engine == Engine::kScalar) {
    scalar::AttentionForward(problem, recipe, answer.o.view, answer.lse.data());
  } else if (rows == nullptr) {
    simd::AttentionForward(problem, recipe, options, answer.o.view, answer.lse.data());
  } else {
    *rows = simd::AttentionForwardRows(problem, recipe, options, answer.lse.data());
    Round(*rows, answer.o.view);
  }
  return answer;
}

Gradients Differentiate(const AttentionProblem& problem, const Rotated& rotated,
                        const AttentionRecipe& recipe, Layout layout, Engine engine,
                        const simd::EngineOptions& options, const TensorView& dout,
                        const simd::AttentionRows* rows) {
  Gradients out{OwnedTensor(problem.q.dtype, problem.q.shape, layout),
                OwnedTensor(problem.k.dtype, problem.k.shape, layout),
                OwnedTensor(problem.v.dtype, problem.v.shape, layout)};
  const AttentionGradients views{out.dq.view, out.dk.view, out.dv.view};
  if (engine == Engine::kScalar) {
    scalar::AttentionBackward(rotated.problem, recipe, dout, views);
  } else {
    simd::AttentionRows own;
    if (rows == nullptr) own = simd::AttentionForwardRows(rotated.problem, recipe, options);
    simd::AttentionBackward(rotated.problem, recipe, options, rows == nullptr ? own : *rows, dout,
                            views);
  }
  if (!problem.rope) return out;
  constexpr RopeDirection kBackward = RopeDirection::kBackward;
  ApplyRope(*problem.rope, out.dq.view, problem.q_positions, engine, options, out.dq.view,
            kBackward);
  ApplyRope(*problem.rope, out.dk.view, problem.k_positions, engine, options, out.dk.view,
            kBackward);
  return out;
}

Answers AnswerAll(const AttentionProblem& problem, const TensorView& dout,
                  const AttentionRecipe& recipe, Layout layout, Engine engine,
                  const simd::EngineOptions& options) {
  Answers out;
  out.rotated = Rotate(problem, layout, engine, options);
  simd::AttentionRows rows;
  simd::AttentionRows* const kept = dout && engine == Engine::kSimd ? &rows : nullptr;
  out.answer = Attend(out.rotated.problem, recipe, layout, engine, options, problem.dtype, kept);
  out.tensors = {OutView("o", out.answer.o.view, layout),
                 OutLse(out.answer.lse, problem.shape, layout)};
  if (problem.rope) {
    out.tensors.push_back(OutView("q_rope", out.rotated.q.view, layout));
    out.tensors.push_back(OutView("k_rope", out.rotated.k.view, layout));
  }
  if (!dout) return out;
  out.gradients = Differentiate(problem, out.rotated, recipe, layout, engine, options, dout, kept);
  out.tensors.push_back(OutView("dq", out.gradients.dq.view, layout));
  out.tensors.push_back(OutView("dk", out.gradients.dk.view, layout));
  out.tensors.push_back(OutView("dv", out.gradients.dv.view, layout));
  return out;
}

const AttentionRecipe& RecipeOption(const std::string& name) {
  const AttentionRecipe* const recipe = FindAttentionRecipe(name);
  if (recipe != nullptr) return *recipe;
  std::string names;
  for (const AttentionRecipe& r : AttentionRecipes())
    names += (names.empty() ? "" : ", ") + std::string(r.name);
  for (const Schedule& schedule : Schedules()) names += ", " + schedule.name;
  throw InputError("--recipe", name.substr(0, 60), "one of " + names);
}

}  // namespace bitanchor::tools
