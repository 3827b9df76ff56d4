#include "lib/scalar/attention.h"

#include <cmath>
#include <vector>

#include "lib/number/elementary.h"
#include "lib/number/float_environment.h"
#include "lib/scalar/attention_row.h"

namespace bitanchor::scalar {
namespace {}  // namespace

void AttentionForward(const AttentionProblem& problem, const AttentionRecipe& recipe,
                      const MutableTensorView& o, float* lse) {
  const FloatEnvironment environment;
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  (void)Skv, (void)Hkv, (void)D;
  AttentionRow row;
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t i = 0; i < Sq; ++i) {
      FindKeys(problem, b, i, row);
      for (int64_t h = 0; h < Hq; ++h) {
        ComputeRow(problem, recipe, b, h, i, row);
        StoreRow(o, b, i, h, row.o.data());
        if (lse == nullptr) continue;
        float& out = lse[(b * Hq + h) * Sq + i];
        out = row.keys.empty() ? row.m : Canonical(row.m + number::Log(row.l));
      }
    }
  }
}

// Queries ascend within a head, and heads within their group, so that adding each pair's part where
// it arises is the ascending fold over queries that the definition names.
void AttentionBackward(const AttentionProblem& problem, const AttentionRecipe& recipe,
                       const TensorView& dout, const AttentionGradients& out) {
  const FloatEnvironment environment;
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  const float scale = problem.softmax_scale;
  std::vector<float> dk(B * Skv * Hkv * D), dv(dk.size()), dq(D);
  const auto at = [&, Skv = Skv, Hkv = Hkv, D = D](int64_t b, int64_t j, int64_t h) {
    return ((b * Skv + j) * Hkv + h) * D;
  };
  AttentionRow row;
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t h = 0; h < Hq; ++h) {
      const int64_t key_head = problem.shape.KeyHead(h);
      for (int64_t i = 0; i < Sq; ++i) {
        FindKeys(problem, b, i, row);
        ComputeRow(problem, recipe, b, h, i, row);
        float delta = 0.0f;
        for (int64_t d = 0; d < D; ++d) delta = std::fma(dout.At(b, i, h, d), row.o[d], delta);

        dq.assign(D, 0.0f);
        for (size_t n = 0; n < row.keys.size(); ++n) {
          const int64_t j = row.keys[n];
          const float P = row.p[n] / row.l;
          float dP = 0.0f;
          for (int64_t d = 0; d < D; ++d) {
            dP = std::fma(dout.At(b, i, h, d), problem.v.At(b, j, key_head, d), dP);
          }
          const float dS = P * (dP - delta);

          const float w = RoundWeight(P, recipe.weights), g = RoundWeight(dS, recipe.weights);
          float* dk_row = &dk[at(b, j, key_head)];
          float* dv_row = &dv[at(b, j, key_head)];
          for (int64_t d = 0; d < D; ++d) {
            dq[d] = std::fma(g, problem.k.At(b, j, key_head, d), dq[d]);
            dk_row[d] = std::fma(g, problem.q.At(b, i, h, d), dk_row[d]);
            dv_row[d] = std::fma(w, dout.At(b, i, h, d), dv_row[d]);
          }
        }
        for (float& x : dq) x = scale * x;
        StoreRow(out.dq, b, i, h, dq.data());
      }
    }
  }
  for (float& x : dk) x = scale * x;
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t j = 0; j < Skv; ++j) {
      for (int64_t h = 0; h < Hkv; ++h) {
        StoreRow(out.dk, b, j, h, &dk[at(b, j, h)]);
        StoreRow(out.dv, b, j, h, &dv[at(b, j, h)]);
      }
    }
  }
}

}  // namespace bitanchor::scalar
