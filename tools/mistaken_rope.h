// The mistakes of lib/recipe/mistake.h that a rotation can make, and what attention then starts
// from.
#ifndef BITANCHOR_TOOLS_MISTAKEN_ROPE_H_
#define BITANCHOR_TOOLS_MISTAKEN_ROPE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "lib/problem/attention_problem.h"
#include "lib/recipe/rope_recipe.h"
#include "simd/options.h"
#include "tools/compute.h"

namespace bitanchor::tools {

// As the right rotation, but for what is changed.
struct RopeMistake {
  std::string id, where;  // as MistakenAttention's
  TensorView q, k, v;     // what the kernel takes for them, before it rotates q and k
  RopeConfig config;
  RopeRecipe recipe;
  std::vector<int64_t> q_positions, k_positions;
  int times = 1;  // rotated so often
  RopeDirection direction = RopeDirection::kForward;
};

RopeMistake RightRotation(const AttentionProblem& problem);

// Every one that means something for this problem, which has rope; several of one id where there
// is a choice. Not those that the capture's own cos and sin are too short for. Of other bases one.
std::vector<RopeMistake> RopeMistakes(const AttentionProblem& problem);

// The bases that models use, but the problem's and the one of RopeMistakes.
std::vector<RopeMistake> OtherBases(const AttentionProblem& problem);

// q and k as the mistaken kernel rotates them, in their dtype.
struct MistakenRotation {
  OwnedTensor q, k;
};
MistakenRotation Rotate(const RopeMistake& mistake, const simd::EngineOptions& options);

// At each key, the one `back` tokens before (around the end) rotated as this one is: moved_k of
// exact::WithBlock.
OwnedTensor RotatedFromBefore(const AttentionProblem& problem, int64_t back,
                              const simd::EngineOptions& options);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_MISTAKEN_ROPE_H_
