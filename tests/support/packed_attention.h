// Attention over a packed window, each token's q, k and v its own wherever it is packed.
#ifndef BITANCHOR_TESTS_SUPPORT_PACKED_ATTENTION_H_
#define BITANCHOR_TESTS_SUPPORT_PACKED_ATTENTION_H_

#include <cstdint>
#include <cstring>
#include <map>
#include <vector>

#include "lib/problem/attention_problem.h"
#include "lib/problem/generate.h"
#include "lib/recipe/attention_recipe.h"
#include "lib/recipe/rope_recipe.h"
#include "lib/scalar/attention.h"
#include "lib/scalar/rope.h"
#include "tests/support/rope_config.h"

namespace bitanchor::test {

// One head of 8 dimensions in bf16; row s belongs to the token that `source` names.
inline std::vector<uint16_t> DrawRows(Gen1Tensor which, const std::vector<int64_t>& source) {
  constexpr int64_t kD = 8, kFirst = 1000;  // sources below 0 are tokens too
  std::vector<uint16_t> rows;
  for (const int64_t from : source) {
    for (int64_t d = 0; d < kD; ++d) {
      const uint64_t element = static_cast<uint64_t>((from + kFirst) * kD + d);
      rows.push_back(Gen1Element(7, which, element).bits);
    }
  }
  return rows;
}

// The output of RoPE hf-llama and attention `textbook` at each row of a window (mask.B = 1).
// Rows whose source is below 0 are left out: several may share one.
inline std::map<int64_t, std::vector<uint16_t>> OutputBySource(
    const Mask& mask, const std::vector<int64_t>& positions, const std::vector<int64_t>& source) {
  const int64_t S = mask.Sq, D = 8;
  const Shape4 shape = {1, S, 1, D};
  std::vector<uint16_t> q = DrawRows(Gen1Tensor::kQ, source);
  std::vector<uint16_t> k = DrawRows(Gen1Tensor::kK, source);
  const std::vector<uint16_t> v = DrawRows(Gen1Tensor::kV, source);
  std::vector<uint16_t> o(q.size());
  const auto view = [&](std::vector<uint16_t>& tensor) {
    return DenseView(DType::kBF16, reinterpret_cast<std::byte*>(tensor.data()), shape);
  };
  const RopeRecipe& rope = *FindRopeRecipe("hf-llama");
  const RopeConfig config = testing::MakeRopeConfig(rope, D);
  scalar::ApplyRope(config, rope, view(q), positions, view(q));
  scalar::ApplyRope(config, rope, view(k), positions, view(k));
  AttentionProblem problem;
  problem.shape = {1, S, S, 1, 1, D};
  problem.dtype = DType::kBF16;
  problem.q = view(q);
  problem.k = view(k);
  problem.v = DenseView(DType::kBF16, reinterpret_cast<const std::byte*>(v.data()), shape);
  problem.mask = mask;
  problem.softmax_scale = DefaultSoftmaxScale(D);
  scalar::AttentionForward(problem, *FindAttentionRecipe("textbook"), view(o), nullptr);
  std::map<int64_t, std::vector<uint16_t>> rows;
  for (int64_t s = 0; s < S; ++s) {
    if (source[s] >= 0) rows[source[s]] = {o.begin() + s * D, o.begin() + (s + 1) * D};
  }
  return rows;
}

}  // namespace bitanchor::test

#endif  // BITANCHOR_TESTS_SUPPORT_PACKED_ATTENTION_H_
