// What the tests of the definition's backward pass share: a problem with dO, its gradients, and
// what they may be off by, in f64.
#ifndef BITANCHOR_TESTS_SCALAR_BACKWARD_BOUNDS_H_
#define BITANCHOR_TESTS_SCALAR_BACKWARD_BOUNDS_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "lib/scalar/attention.h"
#include "tests/support/random_problem.h"

namespace bitanchor::testing {

inline constexpr double kU = 0x1p-24;  // half an ulp of f32, relative
inline constexpr float kInf = std::numeric_limits<float>::infinity();
inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
inline constexpr MaskSpec kCausal{MaskRule::kFull, true, std::nullopt, Corner::kTopLeft};
inline constexpr MaskSpec kAnchor{MaskRule::kAnchor, true, std::nullopt, Corner::kTopLeft};

inline const AttentionRecipe& Textbook() { return *FindAttentionRecipe("textbook"); }

// A problem and the gradient of its output.
struct Owned {
  OwnedProblem owned;
  std::vector<std::byte> dout_bytes;
  TensorView dout;

  const AttentionProblem& problem() const { return owned.problem; }
  void SetDout(int64_t b, int64_t i, int64_t h, int64_t d, float x) {
    StoreRounded(dout.dtype, owned.Element(dout_bytes, dout, b, i, h, d), x);
  }
};

inline Owned Make(const AttentionShape& shape, DType dtype, const MaskSpec& mask, uint64_t seed) {
  Owned made{MakeProblem(shape, dtype, mask, Values::kNormal, seed), {}, {}};
  std::mt19937_64 random(seed + 1000);
  Fill(made.dout_bytes, made.dout, dtype, made.problem().q.shape, Values::kNormal, random);
  return made;
}

struct Gradients {
  std::vector<std::byte> bytes[3];
  TensorView dq, dk, dv;
};

inline Gradients Backward(const AttentionProblem& p, const AttentionRecipe& recipe,
                          const TensorView& dout) {
  Gradients g;
  const Shape4 shapes[] = {p.q.shape, p.k.shape, p.v.shape};
  MutableTensorView views[3];
  for (int n = 0; n < 3; ++n) {
    const auto [B, S, H, D] = shapes[n];
    g.bytes[n].assign(B * S * H * D * DTypeBytes(p.dtype), std::byte{0x5A});
    views[n] = DenseView(p.dtype, g.bytes[n].data(), shapes[n]);
  }
  scalar::AttentionBackward(p, recipe, dout, {views[0], views[1], views[2]});
  g.dq = views[0], g.dk = views[1], g.dv = views[2];
  return g;
}

inline Gradients Backward(const Owned& made) {
  return Backward(made.problem(), Textbook(), made.dout);
}

inline uint32_t Bits(float x) { return std::bit_cast<uint32_t>(x); }

// Token s of head h of one tensor against token s2 of head h2 of another, bit for bit.
inline void ExpectSameRow(const TensorView& got, int64_t s, int64_t h, const TensorView& want,
                          int64_t s2, int64_t h2, const std::string& what) {
  for (int64_t d = 0; d < want.shape[3]; ++d) {
    const float x = got.At(0, s, h, d), y = want.At(0, s2, h2, d);
    EXPECT_EQ(Bits(x), Bits(y)) << what << " d " << d << ": got " << x << " want " << y;
  }
}

// Attention in f64, from copies of the inputs that a caller may move off f32's grid.
class Exact {
 public:
  Exact(const AttentionProblem& p, const TensorView& dout)
      : p_(p), q(All(p.q)), k(All(p.k)), v(All(p.v)), dout_(All(dout)) {}

  // sum of dO * O, the loss whose gradients the backward pass returns.
  double Loss() const {
    const auto [B, Sq, Skv, Hq, Hkv, D] = p_.shape;
    (void)Skv, (void)Hkv;
    double loss = 0;
    for (int64_t b = 0; b < B; ++b) {
      for (int64_t h = 0; h < Hq; ++h) {
        for (int64_t i = 0; i < Sq; ++i) {
          const std::vector<double> P = Weights(b, h, i);
          for (size_t j = 0; j < P.size(); ++j) {
            for (int64_t d = 0; d < D && P[j] > 0; ++d) {
              loss += dout_[Query(b, i, h) + d] * P[j] * v[Key(b, j, h) + d];
            }
          }
        }
      }
    }
    return loss;
  }

  // How far f32 may be from the gradients (see Bounds).
  struct Bound {
    std::vector<double> dq, dk, dv;
  };

  // First order in u = 2^-24, for n keys, N = G * Sq terms of a fold over queries, and the row's
  //   T = scale * max_j sum_d |q_d k_jd|,  A = max_j sum_d |dO_d v_jd|,
  // of which A is above |dP_j| and |delta|:
  //   t_j is off by at most (D+1)uT, and t_j - m by that twice and by a rounding of at most 2uT; so
  //   p_j is by R = (2D+4)uT + u, relative, l by R + nu, and P_j by r = 2R + (n+1)u;
  //   dP_j is off by DuA, delta by (r + (n+D+1)u)A, their difference by 2uA more;
  //   dS_j is then off by P_j A e, e = 3r + 2u + (n+2D+3)u.
  // A fold adds u times its length times the sizes of its terms, |dS_j| <= 2 P_j A; the scale and
  // the last rounding add u each. The terms of second order are below a hundredth of these.
  Bound Bounds() const {
    const auto [B, Sq, Skv, Hq, Hkv, D] = p_.shape;
    const double n = static_cast<double>(Skv), dim = static_cast<double>(D),
                 N = static_cast<double>(Hq / Hkv * Sq), scale = p_.softmax_scale;
    Bound bound{std::vector<double>(q.size()), std::vector<double>(k.size()),
                std::vector<double>(v.size())};
    for (int64_t b = 0; b < B; ++b) {
      for (int64_t h = 0; h < Hq; ++h) {
        for (int64_t i = 0; i < Sq; ++i) {
          const std::vector<double> P = Weights(b, h, i);
          const double* qi = &q[Query(b, i, h)];
          const double* di = &dout_[Query(b, i, h)];
          double T = 0, A = 0;
          for (int64_t j = 0; j < Skv; ++j) {
            double t = 0, a = 0;
            for (int64_t d = 0; d < D && P[j] > 0; ++d) {
              t += std::fabs(qi[d] * k[Key(b, j, h) + d]) * scale;
              a += std::fabs(di[d] * v[Key(b, j, h) + d]);
            }
            T = std::max(T, t), A = std::max(A, a);
          }
          const double r = 2 * ((2 * dim + 4) * T + 1) + n + 1;  // in u
          const double e = 3 * r + 2 + n + 2 * dim + 3;          // in u
          for (int64_t j = 0; j < Skv; ++j) {
            for (int64_t d = 0; d < D; ++d) {
              const double pair = 1.01 * kU * scale * P[j] * A;
              bound.dq[Query(b, i, h) + d] +=
                  pair * (e + 2 * (n + 2)) * std::fabs(k[Key(b, j, h) + d]);
              bound.dk[Key(b, j, h) + d] += pair * (e + 2 * (N + 2)) * std::fabs(qi[d]);
              bound.dv[Key(b, j, h) + d] += 1.01 * kU * P[j] * (r + N + 1) * std::fabs(di[d]);
            }
          }
        }
      }
    }
    return bound;
  }

 private:
  static std::vector<double> All(const TensorView& tensor) {
    std::vector<double> out;
    const auto [B, S, H, D] = tensor.shape;
    for (int64_t b = 0; b < B; ++b) {
      for (int64_t s = 0; s < S; ++s) {
        for (int64_t h = 0; h < H; ++h) {
          for (int64_t d = 0; d < D; ++d) out.push_back(tensor.At(b, s, h, d));
        }
      }
    }
    return out;
  }
  int64_t Query(int64_t b, int64_t i, int64_t h) const {
    return ((b * p_.shape.Sq + i) * p_.shape.Hq + h) * p_.shape.D;
  }
  int64_t Key(int64_t b, int64_t j, int64_t h) const {
    const int64_t key_head = h / (p_.shape.Hq / p_.shape.Hkv);
    return ((b * p_.shape.Skv + j) * p_.shape.Hkv + key_head) * p_.shape.D;
  }
  // One row of the softmax; 0 where not visible.
  std::vector<double> Weights(int64_t b, int64_t h, int64_t i) const {
    std::vector<double> P(p_.shape.Skv);
    double l = 0;
    for (int64_t j = 0; j < p_.shape.Skv; ++j) {
      if (!p_.mask.Visible(b, i, j)) continue;
      double x = 0;
      for (int64_t d = 0; d < p_.shape.D; ++d) x += q[Query(b, i, h) + d] * k[Key(b, j, h) + d];
      P[j] = std::exp(x * p_.softmax_scale);  // scores are small here
      l += P[j];
    }
    for (double& x : P) x = l > 0 ? x / l : 0;
    return P;
  }

  const AttentionProblem& p_;

 public:
  std::vector<double> q, k, v;

 private:
  std::vector<double> dout_;
};

inline float Element(const TensorView& dense, size_t n) {
  return LoadF32(dense.dtype, dense.data + n * DTypeBytes(dense.dtype));
}

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_SCALAR_BACKWARD_BOUNDS_H_
