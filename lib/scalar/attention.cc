#include "lib/scalar/attention.h"

#include <cmath>
#include <limits>
#include <vector>

#include "lib/number/elementary.h"
#include "lib/number/float_environment.h"

namespace bitanchor::scalar {
namespace {

// Larger of the two; any NaN wins.
float MaxOrNaN(float a, float b) { return std::isnan(a) || a > b ? a : b; }

float RoundWeight(float p, WeightRounding how) {
  return how == WeightRounding::kBF16 ? ToF32(ToBF16(p)) : p;
}

// One query row. `keys`: the keys it sees, ascending. Returns the LSE; out[D] is f32, not yet
// rounded.
float ForwardRow(const AttentionProblem& problem, const AttentionRecipe& recipe, int64_t b,
                 int64_t h, int64_t i, const std::vector<int64_t>& keys, std::vector<float>& p,
                 std::vector<float>& out) {
  const int64_t D = problem.shape.D, key_head = problem.shape.KeyHead(h);
  out.assign(D, 0.0f);
  if (keys.empty()) return -std::numeric_limits<float>::infinity();

  p.resize(keys.size());
  float m = -std::numeric_limits<float>::infinity();
  for (size_t n = 0; n < keys.size(); ++n) {
    float x = 0.0f;
    for (int64_t d = 0; d < D; ++d) {
      x = std::fma(problem.q.At(b, i, h, d), problem.k.At(b, keys[n], key_head, d), x);
    }
    p[n] = x * problem.softmax_scale;
    m = MaxOrNaN(p[n], m);
  }

  float l = 0.0f;
  for (float& t : p) {
    t = number::Exp(t - m);
    l = l + t;
  }

  for (size_t n = 0; n < keys.size(); ++n) {
    const float w = RoundWeight(p[n], recipe.weights);
    for (int64_t d = 0; d < D; ++d) {
      out[d] = std::fma(w, problem.v.At(b, keys[n], key_head, d), out[d]);
    }
  }
  for (float& o : out) o = o / l;
  return Canonical(m + number::Log(l));
}

}  // namespace

void AttentionForward(const AttentionProblem& problem, const AttentionRecipe& recipe,
                      const MutableTensorView& o, float* lse) {
  const FloatEnvironment environment;
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  (void)Hkv;
  std::vector<int64_t> keys;
  std::vector<float> p, out;
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t i = 0; i < Sq; ++i) {
      keys.clear();
      for (int64_t j = 0; j < Skv; ++j) {
        if (problem.mask.Visible(b, i, j)) keys.push_back(j);
      }
      for (int64_t h = 0; h < Hq; ++h) {
        const float row_lse = ForwardRow(problem, recipe, b, h, i, keys, p, out);
        if (lse != nullptr) lse[(b * Hq + h) * Sq + i] = row_lse;
        std::byte* row = o.Row(b, i, h);
        const int64_t size_bytes = static_cast<int64_t>(DTypeBytes(o.dtype));
        for (int64_t d = 0; d < D; ++d) StoreRounded(o.dtype, row + d * size_bytes, out[d]);
      }
    }
  }
}

}  // namespace bitanchor::scalar
