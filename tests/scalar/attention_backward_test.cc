// The definition's backward pass from the mathematics: finite differences, GQA as one head with the
// queries of all, rows and keys that meet nobody, and the anchor that documents share.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "lib/scalar/attention.h"
#include "tests/support/random_problem.h"

namespace bitanchor {
namespace {

using testing::Fill;
using testing::MakeProblem;
using testing::OwnedProblem;
using testing::Values;

constexpr double kU = 0x1p-24;  // half an ulp of f32, relative
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr MaskSpec kCausal{MaskRule::kFull, true, std::nullopt, Corner::kTopLeft};
constexpr MaskSpec kAnchor{MaskRule::kAnchor, true, std::nullopt, Corner::kTopLeft};

const AttentionRecipe& Textbook() { return *FindAttentionRecipe("textbook"); }

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

Owned Make(const AttentionShape& shape, DType dtype, const MaskSpec& mask, uint64_t seed) {
  Owned made{MakeProblem(shape, dtype, mask, Values::kNormal, seed), {}, {}};
  std::mt19937_64 random(seed + 1000);
  Fill(made.dout_bytes, made.dout, dtype, made.problem().q.shape, Values::kNormal, random);
  return made;
}

struct Gradients {
  std::vector<std::byte> bytes[3];
  TensorView dq, dk, dv;
};

Gradients Backward(const AttentionProblem& p, const AttentionRecipe& recipe,
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

Gradients Backward(const Owned& made) { return Backward(made.problem(), Textbook(), made.dout); }

uint32_t Bits(float x) { return std::bit_cast<uint32_t>(x); }

// Token s of head h of one tensor against token s2 of head h2 of another, bit for bit.
void ExpectSameRow(const TensorView& got, int64_t s, int64_t h, const TensorView& want, int64_t s2,
                   int64_t h2, const std::string& what) {
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

float Element(const TensorView& dense, size_t n) {
  return LoadF32(dense.dtype, dense.data + n * DTypeBytes(dense.dtype));
}

// Central differences at steps h and h/2, extrapolated. The truncation that is left is far below
// the difference of the two, and the loss rounds at 2^-52 times a few of its terms' sizes.
void ExpectGradientOfLoss(const Exact& exact, std::vector<double>& input, const TensorView& got,
                          const std::vector<double>& bound, const std::string& what) {
  constexpr double kStep = 0x1p-12, kLossNoise = 0x1p-52 * 4096;
  double largest = 0, largest_tolerance = 0;
  for (size_t n = 0; n < input.size(); ++n) {
    const double x = input[n];
    const auto slope = [&](double h) {
      input[n] = x + h;
      const double up = exact.Loss();
      input[n] = x - h;
      const double down = exact.Loss();
      input[n] = x;
      return (up - down) / (2 * h);
    };
    const double coarse = slope(kStep), fine = slope(kStep / 2);
    const double want = (4 * fine - coarse) / 3;
    const double tolerance = bound[n] + std::fabs(fine - coarse) + kLossNoise / kStep;
    EXPECT_NEAR(Element(got, n), want, tolerance) << what << " element " << n;
    largest = std::max(largest, std::fabs(want));
    largest_tolerance = std::max(largest_tolerance, tolerance);
  }
  EXPECT_LT(largest_tolerance, largest * 2e-3) << what << ": tells nothing";
}

TEST(ScalarBackward, IsTheGradientOfTheF64Forward) {
  struct Case {
    const char* name;
    AttentionShape shape;
    MaskSpec mask;
  };
  const Case cases[] = {
      {"full", {1, 5, 5, 1, 1, 4}, {MaskRule::kFull, false, std::nullopt, Corner::kTopLeft}},
      {"causal", {2, 6, 6, 2, 2, 5}, kCausal},
      {"causal GQA", {1, 6, 6, 6, 2, 3}, kCausal},
      {"anchor GQA", {1, 9, 9, 4, 2, 5}, kAnchor},
      {"document", {1, 9, 9, 2, 1, 4}, {MaskRule::kDocument, false, {}, Corner::kTopLeft}},
      {"window", {1, 8, 8, 2, 1, 4}, {MaskRule::kFull, true, 3, Corner::kTopLeft}},
      {"bottom-right", {1, 3, 8, 2, 1, 4}, {MaskRule::kFull, true, {}, Corner::kBottomRight}},
      {"rows that see nothing",
       {1, 7, 3, 2, 1, 4},
       {MaskRule::kFull, true, {}, Corner::kBottomRight}},
      {"keys that nobody sees", {1, 3, 7, 2, 1, 4}, kCausal},
  };
  uint64_t seed = 500;
  for (const Case& c : cases) {
    const Owned made = Make(c.shape, DType::kF32, c.mask, ++seed);
    const Gradients got = Backward(made);
    Exact exact(made.problem(), made.dout);
    const Exact::Bound bound = exact.Bounds();
    const std::string name = c.name;
    ExpectGradientOfLoss(exact, exact.q, got.dq, bound.dq, name + " dq");
    ExpectGradientOfLoss(exact, exact.k, got.dk, bound.dk, name + " dk");
    ExpectGradientOfLoss(exact, exact.v, got.dv, bound.dv, name + " dv");
  }
}

// Heads of a group in ascending order, and queries in each: the fold of one head that has the
// queries of all of them, which a mask without a diagonal allows.
TEST(ScalarBackward, AGroupIsOneHeadWithTheQueriesOfAll) {
  constexpr int64_t kS = 11, kHq = 6, kHkv = 2, kD = 9, kGroup = kHq / kHkv;
  const MaskSpec mask{MaskRule::kAnchor, false, std::nullopt, Corner::kTopLeft};
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Owned grouped = Make({1, kS, kS, kHq, kHkv, kD}, dtype, mask, 31);
    for (const AttentionRecipe& recipe : AttentionRecipes()) {
      const Gradients want = Backward(grouped.problem(), recipe, grouped.dout);
      for (int64_t kh = 0; kh < kHkv; ++kh) {
        Owned one = Make({1, kGroup * kS, kS, 1, 1, kD}, dtype, mask, 32);
        const AttentionProblem& from = grouped.problem();
        AttentionProblem& to = one.owned.problem;
        to.mask.k_ids = from.mask.k_ids;
        to.mask.q_ids.clear();
        for (int64_t g = 0; g < kGroup; ++g) {
          to.mask.q_ids.insert(to.mask.q_ids.end(), from.mask.q_ids.begin(), from.mask.q_ids.end());
          for (int64_t i = 0; i < kS; ++i) {
            for (int64_t d = 0; d < kD; ++d) {
              const int64_t h = kh * kGroup + g, at = g * kS + i;
              StoreRounded(dtype, one.owned.Element(one.owned.q, to.q, 0, at, 0, d),
                           from.q.At(0, i, h, d));
              one.SetDout(0, at, 0, d, grouped.dout.At(0, i, h, d));
            }
          }
        }
        for (int64_t j = 0; j < kS; ++j) {
          for (int64_t d = 0; d < kD; ++d) {
            StoreRounded(dtype, one.owned.Element(one.owned.k, to.k, 0, j, 0, d),
                         from.k.At(0, j, kh, d));
            StoreRounded(dtype, one.owned.Element(one.owned.v, to.v, 0, j, 0, d),
                         from.v.At(0, j, kh, d));
          }
        }
        const Gradients got = Backward(to, recipe, one.dout);
        const std::string name = std::string(recipe.name) + " key head " + std::to_string(kh);
        for (int64_t j = 0; j < kS; ++j) {
          ExpectSameRow(want.dk, j, kh, got.dk, j, 0, name + " dk");
          ExpectSameRow(want.dv, j, kh, got.dv, j, 0, name + " dv");
        }
        for (int64_t at = 0; at < kGroup * kS; ++at) {
          ExpectSameRow(want.dq, at % kS, kh * kGroup + at / kS, got.dq, at, 0, name + " dq");
        }
      }
    }
  }
}

void ExpectPlusZero(const TensorView& tensor, int64_t s, const std::string& what) {
  const size_t size = DTypeBytes(tensor.dtype);
  for (int64_t h = 0; h < tensor.shape[2]; ++h) {
    const std::byte* row = tensor.Row(0, s, h);
    EXPECT_TRUE(std::all_of(row, row + size * tensor.shape[3],
                            [](std::byte b) { return b == std::byte{0}; }))
        << what << " token " << s << " head " << h << ": " << tensor.At(0, s, h, 0);
  }
}

// A row without keys and a key without queries give +0 whatever they hold, and nobody else learns
// what that was.
TEST(ScalarBackward, WhatSeesNothingOrIsNeverSeenGivesPlusZeroAndReachesNobody) {
  constexpr int64_t kS = 8, kD = 5;
  const MaskSpec mask{MaskRule::kDocument, true, std::nullopt, Corner::kTopLeft};
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    Owned made = Make({1, kS, kS, 4, 2, kD}, dtype, mask, 41);
    AttentionProblem& p = made.owned.problem;
    p.mask.k_ids = {1, 1, 9, 2, 2, 2, 9, 3};
    p.mask.q_ids = {1, 1, 1, 2, 2, 8, 8, 2};  // queries 5 and 6 see nothing, nobody keys 2, 6 and 7
    const std::vector<int64_t> blind = {5, 6}, unseen = {2, 6, 7};
    for (const AttentionRecipe& recipe : AttentionRecipes()) {
      const Gradients before = Backward(p, recipe, made.dout);
      Owned poisoned = made;
      AttentionProblem& pp = poisoned.owned.problem;
      pp.q.data = poisoned.owned.q.data();
      pp.k.data = poisoned.owned.k.data();
      pp.v.data = poisoned.owned.v.data();
      poisoned.dout.data = poisoned.dout_bytes.data();
      for (int64_t d = 0; d < kD; ++d) {
        for (int64_t h = 0; h < 4; ++h) {
          for (const int64_t i : blind) {
            poisoned.SetDout(0, i, h, d, d % 2 == 0 ? kNaN : -kInf);
            StoreRounded(dtype, poisoned.owned.Element(poisoned.owned.q, pp.q, 0, i, h, d), kInf);
          }
        }
        for (int64_t h = 0; h < 2; ++h) {
          for (const int64_t j : unseen) {
            StoreRounded(dtype, poisoned.owned.Element(poisoned.owned.k, pp.k, 0, j, h, d), -kInf);
            StoreRounded(dtype, poisoned.owned.Element(poisoned.owned.v, pp.v, 0, j, h, d), kNaN);
          }
        }
      }
      const Gradients after = Backward(pp, recipe, poisoned.dout);
      for (int n = 0; n < 3; ++n) {
        EXPECT_TRUE(before.bytes[n] == after.bytes[n]) << recipe.name << " output " << n;
      }
      for (const int64_t i : blind) ExpectPlusZero(after.dq, i, "dq");
      for (const int64_t j : unseen) {
        ExpectPlusZero(after.dk, j, "dk");
        ExpectPlusZero(after.dv, j, "dv");
      }
      EXPECT_NE(after.dk.At(0, 0, 0, 0), 0);
      EXPECT_NE(after.dq.At(0, 7, 0, 0), 0);
    }
  }
}

// Every NaN stored is the canonical one, whatever the NaN that came in.
TEST(ScalarBackward, StoresCanonicalNaNs) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    Owned made = Make({1, 3, 3, 1, 1, 4}, dtype, kCausal, 51);
    const size_t size = DTypeBytes(dtype);
    // A negative NaN with a payload, in the dtype's own bits.
    const uint32_t odd = dtype == DType::kF32    ? 0xFFC12345
                         : dtype == DType::kBF16 ? 0xFFC5
                                                 : 0xFE21;
    std::memcpy(made.dout_bytes.data(), &odd, size);
    std::byte nan[4];
    StoreRounded(dtype, nan, kNaN);
    const Gradients got = Backward(made);
    int64_t nans = 0;
    for (const std::vector<std::byte>& bytes : got.bytes) {
      for (size_t n = 0; n < bytes.size(); n += size) {
        if (!std::isnan(LoadF32(dtype, &bytes[n]))) continue;
        ++nans;
        EXPECT_EQ(std::memcmp(&bytes[n], nan, size), 0);
      }
    }
    EXPECT_EQ(nans, 4 + 4 + 1);  // dq of row 0, dk of key 0, and dv where dO is
  }
}

// Tokens [from, to) of `packed`, behind its first `anchors`.
Owned Document(const Owned& packed, int64_t anchors, int64_t from, int64_t to) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = packed.problem().shape;
  (void)B, (void)Sq, (void)Skv;
  const int64_t S = anchors + to - from;
  Owned one = Make({1, S, S, Hq, Hkv, D}, packed.problem().dtype, kAnchor, 61);
  AttentionProblem& p = one.owned.problem;
  p.mask.k_ids.clear();
  for (int64_t s = 0; s < S; ++s) {
    const int64_t at = s < anchors ? s : from + s - anchors;
    p.mask.k_ids.push_back(packed.problem().mask.k_ids[at]);
    for (int64_t d = 0; d < D; ++d) {
      for (int64_t h = 0; h < Hq; ++h) {
        StoreRounded(p.dtype, one.owned.Element(one.owned.q, p.q, 0, s, h, d),
                     packed.problem().q.At(0, at, h, d));
        one.SetDout(0, s, h, d, packed.dout.At(0, at, h, d));
      }
      for (int64_t h = 0; h < Hkv; ++h) {
        StoreRounded(p.dtype, one.owned.Element(one.owned.k, p.k, 0, s, h, d),
                     packed.problem().k.At(0, at, h, d));
        StoreRounded(p.dtype, one.owned.Element(one.owned.v, p.v, 0, s, h, d),
                     packed.problem().v.At(0, at, h, d));
      }
    }
  }
  p.mask.q_ids = p.mask.k_ids;
  return one;
}

struct Packed {
  Owned made;
  std::vector<int64_t> starts;  // of the documents, and the end
};

Packed MakePacked(int64_t anchors, DType dtype, uint64_t seed) {
  const std::vector<int64_t> starts = {anchors, anchors + 5, anchors + 6, anchors + 13};
  const int64_t S = starts.back();
  Packed packed{Make({1, S, S, 4, 2, 6}, dtype, kAnchor, seed), starts};
  Mask& mask = packed.made.owned.problem.mask;
  mask.k_ids.assign(S, 0);
  for (size_t n = 0; n + 1 < starts.size(); ++n) {
    for (int64_t s = starts[n]; s < starts[n + 1]; ++s) mask.k_ids[s] = static_cast<int64_t>(n) + 1;
  }
  mask.q_ids = mask.k_ids;
  return packed;
}

void ClearDout(Owned& made, int64_t from, int64_t to) {
  for (int64_t i = from; i < to; ++i) {
    for (int64_t h = 0; h < made.dout.shape[2]; ++h) {
      for (int64_t d = 0; d < made.dout.shape[3]; ++d) made.SetDout(0, i, h, d, 0.0f);
    }
  }
}

// A document packed with others behind an anchor has the gradients that it has alone with that
// anchor. The anchor's own are folds over all documents: with the others' dO at zero, which adds
// nothing to any fold, they have the bits of the one that is left.
TEST(ScalarBackward, PackedDocumentsHaveTheGradientsThatTheyHaveAlone) {
  for (const int64_t anchors : {1, 3}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const Packed packed = MakePacked(anchors, dtype, 71);
      const auto& starts = packed.starts;
      for (const AttentionRecipe& recipe : AttentionRecipes()) {
        const Gradients all = Backward(packed.made.problem(), recipe, packed.made.dout);
        for (size_t n = 0; n + 1 < starts.size(); ++n) {
          const Owned alone = Document(packed.made, anchors, starts[n], starts[n + 1]);
          const Gradients want = Backward(alone.problem(), recipe, alone.dout);
          const std::string name = std::string(recipe.name) + " document " + std::to_string(n);
          for (int64_t s = 0; s < alone.problem().shape.Sq; ++s) {
            const int64_t at = s < anchors ? s : starts[n] + s - anchors;
            for (int64_t h = 0; h < 4; ++h)
              ExpectSameRow(all.dq, at, h, want.dq, s, h, name + " dq");
            for (int64_t h = 0; h < 2 && s >= anchors; ++h) {
              ExpectSameRow(all.dk, at, h, want.dk, s, h, name + " dk");
              ExpectSameRow(all.dv, at, h, want.dv, s, h, name + " dv");
            }
          }
          Packed only = MakePacked(anchors, dtype, 71);
          ClearDout(only.made, anchors, starts[n]);
          ClearDout(only.made, starts[n + 1], starts.back());
          const Gradients got = Backward(only.made.problem(), recipe, only.made.dout);
          for (int64_t s = 0; s < anchors; ++s) {
            for (int64_t h = 0; h < 2; ++h) {
              ExpectSameRow(got.dk, s, h, want.dk, s, h, name + " anchor dk");
              ExpectSameRow(got.dv, s, h, want.dv, s, h, name + " anchor dv");
            }
          }
        }
      }
    }
  }
}

// And they are the sum over the documents, the anchor's own queries counted once. Either way is
// within Bounds of the true value, a sum of so many within the sum of theirs.
TEST(ScalarBackward, TheAnchorsGradientsAreTheSumOverTheDocuments) {
  constexpr int64_t kAnchors = 2;
  const Packed packed = MakePacked(kAnchors, DType::kF32, 81);
  const auto& starts = packed.starts;
  const Gradients all = Backward(packed.made);
  const Exact::Bound bound = Exact(packed.made.problem(), packed.made.dout).Bounds();
  const size_t anchor_elements = kAnchors * 2 * 6;
  std::vector<double> dk(anchor_elements), dv(anchor_elements), dk_bound(anchor_elements),
      dv_bound(anchor_elements);
  for (size_t n = 0; n + 1 < starts.size(); ++n) {
    Owned alone = Document(packed.made, kAnchors, starts[n], starts[n + 1]);
    if (n > 0) ClearDout(alone, 0, kAnchors);
    const Gradients g = Backward(alone);
    const Exact::Bound part = Exact(alone.problem(), alone.dout).Bounds();
    for (size_t e = 0; e < anchor_elements; ++e) {
      dk[e] += Element(g.dk, e), dv[e] += Element(g.dv, e);
      dk_bound[e] += part.dk[e], dv_bound[e] += part.dv[e];
    }
  }
  for (size_t e = 0; e < anchor_elements; ++e) {
    EXPECT_NEAR(Element(all.dk, e), dk[e], bound.dk[e] + dk_bound[e]) << "dk " << e;
    EXPECT_NEAR(Element(all.dv, e), dv[e], bound.dv[e] + dv_bound[e]) << "dv " << e;
    EXPECT_LT(bound.dk[e] + dk_bound[e], 1e-3) << "tells nothing";
  }
}

}  // namespace
}  // namespace bitanchor
