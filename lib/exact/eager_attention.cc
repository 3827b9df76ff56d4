#include "lib/exact/eager_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/number/elementary.h"
#include "lib/number/float_environment.h"

namespace bitanchor::exact {
namespace {

// Softmax of scores in place, in f32; a NaN among them makes all NaN, as PyTorch's does.
void Softmax(std::vector<float>& scores) {
  float m = -std::numeric_limits<float>::infinity(), l = 0;
  for (const float s : scores) m = std::isnan(s) || s > m ? s : m;
  for (float& s : scores) {
    s = number::Exp(s - m);
    l += s;
  }
  for (float& s : scores) s /= l;
}

}  // namespace

EagerAttention::EagerAttention(const AttentionProblem& problem, EagerPath path)
    : problem_(problem),
      path_(path),
      divisor_(static_cast<float>(1.0 / static_cast<double>(problem.softmax_scale))) {
  const FloatEnvironment environment;
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  (void)Sq, (void)Hq;
  keys_.reserve(static_cast<size_t>(B * Skv * Hkv * D));
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t j = 0; j < Skv; ++j) {
      for (int64_t h = 0; h < Hkv; ++h) {
        for (int64_t d = 0; d < D; ++d) {
          const float k = problem.k.At(b, j, h, d);
          keys_.push_back(RN(path == EagerPath::kAttentionRef ? k / divisor_ : k));
        }
      }
    }
  }
}

const float* EagerAttention::Key(int64_t b, int64_t j, int64_t key_head) const {
  const auto& shape = problem_.shape;
  return &keys_[((b * shape.Skv + j) * shape.Hkv + key_head) * shape.D];
}

std::vector<float> EagerAttention::Query(int64_t b, int64_t h, int64_t i) const {
  std::vector<float> q(problem_.shape.D);
  for (int64_t d = 0; d < problem_.shape.D; ++d) q[d] = RN(problem_.q.At(b, i, h, d));
  return q;
}

EagerAttention::Weights EagerAttention::WeightsOf(int64_t b, int64_t h, int64_t i) const {
  const int64_t D = problem_.shape.D, key_head = problem_.shape.KeyHead(h);
  const std::vector<float> q = Query(b, h, i);
  Weights row;
  for (int64_t j = 0; j < problem_.shape.Skv; ++j) {
    if (!problem_.mask.Visible(b, i, j)) continue;
    const float* k = Key(b, j, key_head);
    float s = 0;
    for (int64_t d = 0; d < D; ++d) s = std::fma(q[d], k[d], s);
    row.keys.push_back(j);
    row.P.push_back(path_ == EagerPath::kAttentionRef ? RN(s) : s * problem_.softmax_scale);
  }
  Softmax(row.P);
  if (path_ == EagerPath::kAttentionRef) {
    for (float& P : row.P) P = RN(P);
  }
  return row;
}

void EagerAttention::Output(const Weights& row, int64_t b, int64_t key_head, float* o) const {
  const int64_t D = problem_.shape.D;
  std::fill(o, o + D, 0.0f);
  for (size_t n = 0; n < row.keys.size(); ++n) {
    const float P = RN(row.P[n]);
    for (int64_t d = 0; d < D; ++d) {
      o[d] = std::fma(P, problem_.v.At(b, row.keys[n], key_head, d), o[d]);
    }
  }
  for (int64_t d = 0; d < D; ++d) o[d] = RN(o[d]);
}

void EagerAttention::Row(int64_t b, int64_t h, int64_t i, float* o) const {
  const FloatEnvironment environment;
  Output(WeightsOf(b, h, i), b, problem_.shape.KeyHead(h), o);
}

// Adds one query head's part to dk and dv, which are its alone.
void EagerAttention::BackwardHead(const TensorView& dout, int64_t b, int64_t h, float* dq,
                                  float* dk, float* dv) const {
  const int64_t D = problem_.shape.D, key_head = problem_.shape.KeyHead(h);
  const bool ref = path_ == EagerPath::kAttentionRef;
  std::vector<float> o(D), dP;
  for (int64_t i = 0; i < problem_.shape.Sq; ++i, dq += D) {
    const std::vector<float> q = Query(b, h, i);
    const Weights row = WeightsOf(b, h, i);
    Output(row, b, key_head, o.data());
    float delta = 0;
    dP.assign(row.keys.size(), 0.0f);
    for (size_t n = 0; n < dP.size(); ++n) {
      for (int64_t d = 0; d < D; ++d) {
        dP[n] = std::fma(dout.At(b, i, h, d), problem_.v.At(b, row.keys[n], key_head, d), dP[n]);
      }
      if (ref) delta += row.P[n] * (dP[n] = RN(dP[n]));
    }
    if (!ref) {
      for (int64_t d = 0; d < D; ++d) delta += o[d] * dout.At(b, i, h, d);
    }
    std::fill(dq, dq + D, 0.0f);
    for (size_t n = 0; n < dP.size(); ++n) {
      const int64_t j = row.keys[n];
      const float* k = Key(b, j, key_head);
      const float P = RN(row.P[n]), dS = row.P[n] * (dP[n] - delta);
      const float g = RN(ref ? dS : dS * problem_.softmax_scale);
      for (int64_t d = 0; d < D; ++d) {
        dq[d] = std::fma(g, k[d], dq[d]);
        dk[j * D + d] = std::fma(g, q[d], dk[j * D + d]);
        dv[j * D + d] = std::fma(P, dout.At(b, i, h, d), dv[j * D + d]);
      }
    }
    for (int64_t d = 0; d < D; ++d) dq[d] = RN(dq[d]);
  }
}

EagerAttention::Gradients EagerAttention::Backward(const TensorView& dout, int64_t b,
                                                   int64_t key_head) const {
  const FloatEnvironment environment;
  const int64_t group = problem_.shape.Hq / problem_.shape.Hkv;
  const size_t queries = static_cast<size_t>(problem_.shape.Sq * problem_.shape.D);
  const size_t keys = static_cast<size_t>(problem_.shape.Skv * problem_.shape.D);
  Gradients sum{std::vector<float>(group * queries), std::vector<float>(keys),
                std::vector<float>(keys)};
  for (int64_t g = 0; g < group; ++g) {
    std::vector<float> dk(keys), dv(keys);
    BackwardHead(dout, b, key_head * group + g, &sum.dq[g * queries], dk.data(), dv.data());
    for (size_t n = 0; n < keys; ++n) {
      const float mine = RN(dk[n]);
      sum.dk[n] += path_ == EagerPath::kAttentionRef ? RN(mine / divisor_) : mine;
      sum.dv[n] += RN(dv[n]);
    }
  }
  for (size_t n = 0; n < keys; ++n) {
    sum.dk[n] = RN(sum.dk[n]);
    sum.dv[n] = RN(sum.dv[n]);
  }
  return sum;
}

}  // namespace bitanchor::exact
