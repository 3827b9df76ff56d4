// A simulated kernel of the flash contracts: online softmax over tiles, with every freedom that the
// contract grants drawn from a seed or used adversarially. Shares nothing with the interval's code.
#ifndef BITANCHOR_TESTS_EXACT_CONFORMING_KERNEL_H_
#define BITANCHOR_TESTS_EXACT_CONFORMING_KERNEL_H_

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "lib/number/format.h"
#include "lib/problem/attention_problem.h"

namespace bitanchor::testing {

class ConformingKernel {
 public:
  explicit ConformingKernel(uint64_t seed) : random_(seed) {
    const auto pick = [&](int n) { return static_cast<int>(random_() % n); };
    tile_ = std::vector<int>{16, 17, 32, 64, 128, 512}[pick(6)];
    order_ = pick(3);
    rounding_ = pick(5);
    exp_error_ = pick(4);
    round_weights_ = pick(4) != 0;
    fold_log2_ = pick(2) == 0;
    dot_order_ = pick(3);
    reciprocal_ = pick(2) == 0;
    flush_ = pick(4) == 0;
  }

  // One row over the visible keys; o is the rounded answer in the problem's dtype.
  void Row(const AttentionProblem& p, int64_t b, int64_t h, int64_t i, std::vector<float>& o,
           float& lse) {
    const int64_t D = p.shape.D;
    std::vector<int64_t> keys;
    for (int64_t j = 0; j < p.shape.Skv; ++j) {
      if (p.mask.Visible(b, i, j)) keys.push_back(j);
    }
    std::vector<std::vector<int64_t>> tiles;
    for (size_t n = 0; n < keys.size(); n += tile_) {
      tiles.emplace_back(keys.begin() + n, keys.begin() + std::min(keys.size(), n + tile_));
    }
    if (order_ == 1) std::reverse(tiles.begin(), tiles.end());
    if (order_ == 2) std::shuffle(tiles.begin(), tiles.end(), random_);
    float m = -INFINITY, l = 0;
    std::vector<float> acc(D, 0.0f);
    const float log2e = 1.44269504f,
                c = fold_log2_ ? Op(double{p.softmax_scale} * log2e) : p.softmax_scale;
    for (const auto& tile : tiles) {
      std::vector<float> s;
      for (const int64_t j : tile) s.push_back(Dot(p, b, h, i, j));
      float top = m;
      for (float& x : s) {
        if (!fold_log2_) x = Op(double{x} * c);
        top = std::max(top, x);
      }
      if (top > m && m != -INFINITY) Rescale(Weight(m, top, c, true), l, acc);
      m = top;
      for (size_t n = 0; n < tile.size(); ++n) {
        const float w = Weight(s[n], m, c, false);
        l = Op(double{l} + w);
        const float rounded = RoundWeight(p.dtype, w);
        for (int64_t d = 0; d < D; ++d) {
          acc[d] = Op(double{acc[d]} + double{rounded} * p.v.At(b, tile[n], p.shape.KeyHead(h), d));
        }
      }
    }
    Finish(p, keys.empty(), m, l, acc, o, lse);
  }

 protected:
  void Finish(const AttentionProblem& p, bool empty, float m, float l,
              const std::vector<float>& acc, std::vector<float>& o, float& lse) {
    o.assign(acc.size(), 0.0f);
    lse = -INFINITY;
    if (empty) return;
    const float inverse = Op(1.0 / l);
    for (size_t d = 0; d < acc.size(); ++d) {
      const float value = reciprocal_ ? Op(double{acc[d]} * inverse) : Op(double{acc[d]} / l);
      o[d] = round_output_ ? RoundTo(p.dtype, value) : value;
    }
    const float scaled = fold_log2_ ? Op(double{m} * p.softmax_scale) : m;
    lse = Op(double{scaled} + Op(std::log(double{l})));
  }

  void Rescale(float alpha, float& l, std::vector<float>& acc) {
    l = Op(double{l} * alpha);
    for (float& x : acc) x = Op(double{x} * alpha);
  }

  // exp(x - m), or exp2(c x - c m), within 32 ulp.
  float Weight(float x, float m, float c, bool difference_first) {
    double exact;
    if (!fold_log2_) {
      exact = std::exp(double{Op(double{x} - m)});
    } else if (difference_first) {
      exact = std::exp2(double{Op(double{Op(double{x} - m)} * c)});
    } else {
      exact = std::exp2(double{Op(double{x} * c - double{Op(double{m} * c)})});
    }
    double ulps = 0;
    if (exp_error_ == 1) ulps = 31;
    if (exp_error_ == 2) ulps = -31;
    if (exp_error_ == 3) ulps = std::uniform_real_distribution<double>(-31, 31)(random_);
    if (difference_first && x == m) ulps = 0;
    int exponent = 0;
    std::frexp(exact, &exponent);
    return Op(exact + ulps * std::ldexp(1.0, exponent - 24));
  }

  float RoundWeight(DType dtype, float w) { return round_weights_ ? RoundTo(dtype, w) : w; }

  float Dot(const AttentionProblem& p, int64_t b, int64_t h, int64_t i, int64_t j) {
    return SumOf(p.shape.D, [&](int64_t d) {
      return double{p.q.At(b, i, h, d)} * p.k.At(b, j, p.shape.KeyHead(h), d);
    });
  }

  // Products, each added by one operation.
  template <typename Product>
  float SumOf(int64_t n, const Product& product) {
    std::vector<int64_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    if (dot_order_ == 1) std::shuffle(order.begin(), order.end(), random_);
    std::vector<float> partial(dot_order_ == 2 ? 8 : 1, 0.0f);
    for (int64_t at = 0; at < n; ++at) {
      float& sum = partial[at % partial.size()];
      sum = Op(double{sum} + product(order[at]));
    }
    float total = 0;
    for (const float x : partial) total = Op(double{total} + x);
    return total;
  }

  // One f32 operation on an exact (f64) result: nearest, up, down, toward zero, or either neighbour
  // at random.
  float Op(double exact) {
    const Rounding modes[] = {Rounding::kNearestEven, Rounding::kUp, Rounding::kDown,
                              Rounding::kTowardZero};
    float result = RoundToF32(exact, rounding_ < 4 ? modes[rounding_] : modes[1 + random_() % 2]);
    if (flush_ && std::fabs(result) < 0x1p-126f) result = 0;
    return result;
  }

  std::mt19937_64 random_;
  int tile_, order_, rounding_, exp_error_, dot_order_;
  bool round_weights_, fold_log2_, reciprocal_, flush_, round_output_ = true;
};

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_EXACT_CONFORMING_KERNEL_H_
