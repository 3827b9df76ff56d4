#include "simd/rope.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/rope.cc"
#include "hwy/foreach_target.h"
#include "simd/rope-inl.h"

#if HWY_ONCE
#include <algorithm>
#include <cassert>

#include "simd/dispatch.h"
#include "simd/parallel.h"
#include "simd/stream.h"

namespace bitanchor::simd {

HWY_EXPORT(RopeTokens);

namespace {

constexpr int64_t kTaskBytes = 1 << 18;

// Streaming needs every vector of every row on its boundary, and pays only where the lines written
// are not those just read.
bool MayStreamRows(const RopePlan& plan) {
  const int64_t bytes = static_cast<int64_t>(DTypeBytes(plan.out.dtype));
  if (plan.in.data == plan.out.data) return false;
  int64_t boundaries = plan.Half() * bytes;
  for (int axis = 0; axis < 3; ++axis) boundaries |= plan.out.stride[axis] * bytes;
  return boundaries % static_cast<int64_t>(kLineBytes) == 0 &&
         MayStream(plan.out.data, static_cast<size_t>(plan.out.Elements() * bytes));
}

}  // namespace

void ApplyRope(const RopeConfig& config, const RopeRecipe& recipe, const TensorView& in,
               const std::vector<int64_t>& positions, const EngineOptions& options,
               const MutableTensorView& out, RopeDirection direction) {
  const auto [B, S, H, D] = in.shape;
  assert(in.dtype == out.dtype && in.shape == out.shape);
  assert(static_cast<int64_t>(positions.size()) == B * S);
  RopePlan plan = {config,
                   recipe,
                   in,
                   positions.data(),
                   out,
                   {},
                   FormatOf(recipe.operands, in.dtype),
                   FormatOf(recipe.angle, in.dtype),
                   FormatOf(recipe.table, in.dtype),
                   AttentionFactor(config),
                   direction,
                   false};
  plan.stream = MayStreamRows(plan);
  if (config.cos.empty()) plan.operands = AngleOperands(config, recipe, in.dtype);
  const int64_t token_bytes = H * D * static_cast<int64_t>(DTypeBytes(in.dtype));
  const int64_t per_task = std::max<int64_t>(1, kTaskBytes / std::max<int64_t>(1, token_bytes));
  const int64_t tokens = B * S;
  const auto rope_tokens = &BITANCHOR_DISPATCH(RopeTokens, options.target);
  ParallelFor(options, (tokens + per_task - 1) / per_task, [&](int64_t task, int /*worker*/) {
    rope_tokens(plan, task * per_task, std::min(tokens, (task + 1) * per_task));
  });
}

}  // namespace bitanchor::simd
#endif  // HWY_ONCE
