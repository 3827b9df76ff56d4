#include "lib/scalar/attention_row.h"

#include <cmath>

#include "lib/number/elementary.h"

namespace bitanchor::scalar {
namespace {

// Larger of the two; any NaN wins.
float MaxOrNaN(float a, float b) { return std::isnan(a) || a > b ? a : b; }

}  // namespace

float RoundWeight(float w, WeightRounding how) {
  return how == WeightRounding::kBF16 ? ToF32(ToBF16(w)) : w;
}

void FindKeys(const AttentionProblem& problem, int64_t b, int64_t i, AttentionRow& row) {
  row.keys.clear();
  for (int64_t j = 0; j < problem.shape.Skv; ++j) {
    if (problem.mask.Visible(b, i, j)) row.keys.push_back(j);
  }
}

void ComputeRow(const AttentionProblem& problem, const AttentionRecipe& recipe, int64_t b,
                int64_t h, int64_t i, AttentionRow& row) {
  const int64_t D = problem.shape.D, key_head = problem.shape.KeyHead(h);
  row.o.assign(D, 0.0f);
  row.p.resize(row.keys.size());
  row.m = -std::numeric_limits<float>::infinity();
  row.l = 0;
  if (row.keys.empty()) return;

  for (size_t n = 0; n < row.keys.size(); ++n) {
    float x = 0.0f;
    for (int64_t d = 0; d < D; ++d) {
      x = std::fma(problem.q.At(b, i, h, d), problem.k.At(b, row.keys[n], key_head, d), x);
    }
    row.p[n] = x * problem.softmax_scale;
    row.m = MaxOrNaN(row.p[n], row.m);
  }

  for (float& t : row.p) {
    t = number::Exp(t - row.m);
    row.l = row.l + t;
  }

  for (size_t n = 0; n < row.keys.size(); ++n) {
    const float w = RoundWeight(row.p[n], recipe.weights);
    for (int64_t d = 0; d < D; ++d) {
      row.o[d] = std::fma(w, problem.v.At(b, row.keys[n], key_head, d), row.o[d]);
    }
  }
  for (float& o : row.o) o = o / row.l;
}

}  // namespace bitanchor::scalar
