// A simulated kernel of a contract, with every freedom that the contract grants drawn from a seed
// or used adversarially: flash-like, with a matrix unit, with skipped rescalings, or eager. Takes
// the contract's fields for what they say and shares nothing with the interval's code.
#ifndef BITANCHOR_TESTS_EXACT_CONFORMING_KERNEL_H_
#define BITANCHOR_TESTS_EXACT_CONFORMING_KERNEL_H_

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "lib/number/format.h"
#include "lib/problem/attention_problem.h"
#include "lib/recipe/contract.h"
#include "tests/exact/matrix_unit.h"

namespace bitanchor::testing {

class ConformingKernel {
 public:
  ConformingKernel(const Contract& contract, uint64_t seed) : contract_(contract), random_(seed) {
    const auto pick = [&](int n) { return static_cast<int>(random_() % n); };
    const double tile = std::max(1.0, contract.rescale_keys == 0 ? 16 : contract.rescale_keys);
    tile_ =
        static_cast<int64_t>(std::ceil(tile * std::vector<double>{1, 1.07, 2, 4, 8, 32}[pick(6)]));
    order_ = pick(3);
    rounding_ = contract.operation < 0x1p-23 ? 0 : pick(5);
    coarse_ = pick(4) - 1;
    exp_error_ = pick(4);
    rescale_error_ = pick(4);
    round_weights_ = pick(4) != 0;
    rounds_scores_ = contract.score_rounding > 0;
    fold_log2_ = pick(2) == 0 && !rounds_scores_;
    shuffle_ = pick(2) == 0;
    reciprocal_ = pick(2) == 0;
    flush_ = pick(4) == 0;
    prefers_unit_ = pick(4) != 0;
    unit_from_zero_ = pick(2) == 0;
    log_error_ = pick(3) - 1;
    // A unit with less error than the contract's conforms as well.
    unit_ = contract.unit;
    if (pick(3) == 0 && unit_.products < 16 && unit_.fraction_bits < 25) unit_ = {16, 25};
    aligned_ = pick(2) == 0 && unit_.products > 0 && prefers_unit_;
    if (unit_.products > 0) tile_ = (tile_ + 15) / 16 * 16;  // whole groups
  }

  // Otherwise in the problem's dtype.
  void StoreOutputAs(DType dtype) { o_dtype_ = dtype; }

  // One row over the visible keys; o is the rounded answer.
  void Row(const AttentionProblem& p, int64_t b, int64_t h, int64_t i, std::vector<float>& o,
           float& lse) {
    std::vector<int64_t> keys;
    for (int64_t j = 0; j < p.shape.Skv; ++j) {
      if (p.mask.Visible(b, i, j)) keys.push_back(j);
    }
    const auto tiles = Tiles(keys);
    const int64_t n = static_cast<int64_t>(keys.size());
    const double beyond = 0.999 * contract_.stale_log2;
    const float c = ArgumentScale(p), per_log2 = fold_log2_ ? c : 1.44269504f;
    const auto value = [&](int64_t j, int64_t d) { return p.v.At(b, j, p.shape.KeyHead(h), d); };
    std::vector<std::vector<float>> scores;
    float m = -INFINITY;
    for (const auto& tile : tiles) {
      scores.emplace_back();
      for (const int64_t j : tile) {
        const bool visible = p.mask.Visible(b, i, j);
        scores.back().push_back(visible ? ScoreFor(p, b, h, i, j) : -INFINITY);
      }
    }
    if (KnowsMaximum()) {
      for (const auto& tile : scores) m = std::max(m, *std::max_element(tile.begin(), tile.end()));
    }
    std::vector<float> sums(Chains(n, contract_.RowSumDepth(static_cast<double>(n))), 0.0f);
    std::vector<float> acc(p.shape.D, 0.0f);
    const double depth =
        contract_.Depth(static_cast<double>(n)) - static_cast<double>(tiles.size());
    std::vector<float> weights;  // of all tiles, where they are normalised first
    int64_t at = 0;
    for (size_t t = 0; t < tiles.size(); ++t) {
      const float top = std::max(m, *std::max_element(scores[t].begin(), scores[t].end()));
      if (m == -INFINITY) {
        m = top;
      } else if ((double{top} - m) * per_log2 > beyond) {
        Rescale(Weight(m, top, c, true), sums, acc);
        m = top;
      }
      std::vector<float> tile_weights;
      for (const float score : scores[t]) {
        tile_weights.push_back(score == -INFINITY ? 0 : Weight(score, m, c, false));
        if (tile_weights.back() == 0) continue;
        float& sum = sums[at++ % sums.size()];
        sum = Op(double{sum} + tile_weights.back());
      }
      weights.insert(weights.end(), tile_weights.begin(), tile_weights.end());
      if (!contract_.normalise_first) AddTile(tiles[t], tile_weights, depth, value, acc);
    }
    float l = sums[0];
    if (n > 1 && static_cast<int64_t>(sums.size()) == n) {  // no order is shallow enough
      l = Op(std::accumulate(sums.begin(), sums.end(), 0.0));
    } else {
      for (size_t k = 1; k < sums.size(); ++k) l = Op(double{l} + sums[k]);
    }
    if (contract_.normalise_first) {
      at = 0;
      for (const auto& tile : tiles) {
        std::vector<float> probabilities;
        for (size_t k = 0; k < tile.size(); ++k) {
          const float w = weights[at++];
          probabilities.push_back(w == 0 ? 0 : Divided(w, l));
        }
        AddTile(tile, probabilities, depth, value, acc);
      }
    }
    Finish(p, keys.empty(), m, l, acc, o, lse);
  }

 protected:
  bool KnowsMaximum() const { return contract_.rescale_keys == 0 || contract_.normalise_first; }

  // Of visible keys, or of all keys from one multiple of the tile on, as a kernel's mask leaves
  // them: no more tiles than half the operations that the contract grants, since each may add one.
  std::vector<std::vector<int64_t>> Tiles(const std::vector<int64_t>& keys) {
    std::vector<std::vector<int64_t>> tiles;
    const double most = contract_.Depth(static_cast<double>(keys.size())) / 2;
    for (int64_t size = tile_;; size *= 2) {
      tiles.clear();
      int64_t last = -1;
      for (size_t n = 0; n < keys.size(); ++n) {
        const int64_t tile = (aligned_ ? keys[n] : static_cast<int64_t>(n)) / size;
        if (tile != last) tiles.emplace_back();
        if (aligned_ && tile != last) {
          for (int64_t j = tile * size; j < (tile + 1) * size && j <= keys.back(); ++j) {
            tiles.back().push_back(j);
          }
        } else if (!aligned_) {
          tiles.back().push_back(keys[n]);
        }
        last = tile;
      }
      if (tiles.size() <= 1 || static_cast<double>(tiles.size()) <= most) break;
    }
    if (order_ == 1) std::reverse(tiles.begin(), tiles.end());
    if (order_ == 2) std::shuffle(tiles.begin(), tiles.end(), random_);
    return tiles;
  }

  // What a score is multiplied with in exp's argument: 1, or scale log2(e).
  float ArgumentScale(const AttentionProblem& p) {
    return fold_log2_ ? Op(double{p.softmax_scale} * 1.44269504f) : 1.0f;
  }

  // With the scale, unless that is folded into the argument.
  float ScoreFor(const AttentionProblem& p, int64_t b, int64_t h, int64_t i, int64_t j) {
    const float dot = Dot(p, b, h, i, j);
    if (fold_log2_) return dot;
    return RoundScore(Op(double{RoundScore(dot)} * p.softmax_scale));
  }

  void AddTile(const std::vector<int64_t>& tile, const std::vector<float>& weights, double depth,
               const std::function<float(int64_t, int64_t)>& value, std::vector<float>& acc) {
    std::vector<float> rounded;
    for (const float w : weights) rounded.push_back(RoundWeight(w));
    std::vector<Factors> products(tile.size());
    for (size_t d = 0; d < acc.size(); ++d) {
      for (size_t k = 0; k < tile.size(); ++k) {
        products[k] = {rounded[k], value(tile[k], static_cast<int64_t>(d))};
      }
      acc[d] = AddProducts(acc[d], products, depth);
    }
  }

  void Finish(const AttentionProblem& p, bool empty, float m, float l,
              const std::vector<float>& acc, std::vector<float>& o, float& lse) {
    o.assign(acc.size(), 0.0f);
    lse = -INFINITY;
    if (empty) return;
    for (size_t d = 0; d < acc.size(); ++d) {
      const float value = contract_.normalise_first ? acc[d] : Divided(acc[d], l);
      o[d] = round_output_ ? RoundTo(o_dtype_.value_or(p.dtype), value) : value;
    }
    const float scaled = fold_log2_ ? Op(double{m} * p.softmax_scale) : m;
    reference_ = scaled;
    sum_ = l;
    const double log_l = std::log(double{l});
    const double off = log_error_ * 0.9 * contract_.log_error * std::max(1.0, std::fabs(log_l));
    lse = Op(double{scaled} + static_cast<double>(RoundToF32(log_l + off)));
  }

  float Divided(float x, float l) {
    return reciprocal_ ? Op(double{x} * Op(1.0 / l)) : Op(double{x} / l);
  }

  void Rescale(float alpha, std::vector<float>& sums, std::vector<float>& acc) {
    for (float& x : sums) x = Op(double{x} * alpha);
    for (float& x : acc) x = Op(double{x} * alpha);
  }

  // exp(x - m), or exp2(c x - c m), of a weight or of the factor of a rescaling.
  float Weight(float x, float m, float c, bool rescaling) {
    double exact;
    if (!fold_log2_) {
      exact = std::exp(double{Op(double{x} - m)});
    } else if (rescaling) {
      exact = std::exp2(double{Op(double{Op(double{x} - m)} * c)});
    } else {
      exact = std::exp2(double{Op(double{x} * c - double{Op(double{m} * c)})});
    }
    if (rescaling && x == m) return 1;
    const int kind = rescaling ? rescale_error_ : exp_error_;
    double error =
        0.97 * ((rescaling ? contract_.rescale_exp_error : contract_.exp_error) - 0x1p-24);
    if (kind == 0) error = 0;
    if (kind == 2) error = -error;
    if (kind == 3) error *= std::uniform_real_distribution<double>(-1, 1)(random_);
    return Flushed(RoundToF32(exact * (1 + error)));
  }

  // Nearest in the 16-bit type whose unit roundoff the contract has; or not at all.
  float RoundWeight(float w) { return round_weights_ ? Rounded(contract_.weight_rounding, w) : w; }
  float RoundScore(float x) {
    return rounds_scores_ ? Rounded(contract_.score_rounding / 2, x) : x;
  }
  static float Rounded(double unit, float x) {
    if (unit >= 0x1p-8) return RoundTo(DType::kBF16, x);
    return unit >= 0x1p-11 ? RoundTo(DType::kF16, x) : x;
  }

  float Dot(const AttentionProblem& p, int64_t b, int64_t h, int64_t i, int64_t j) {
    std::vector<Factors> products(p.shape.D);
    for (int64_t d = 0; d < p.shape.D; ++d) {
      products[d] = {p.q.At(b, i, h, d), p.k.At(b, j, p.shape.KeyHead(h), d)};
    }
    return DotOf(products);
  }

  // Over the head dimension.
  float DotOf(std::vector<Factors>& products) {
    const double D = static_cast<double>(products.size());
    return AddProducts(0, products, std::max(D / contract_.dot_dims, 1.0));
  }

  // acc and the products, by the unit where there is one, or by f32 operations that are `depth`
  // deep at most and one more that adds acc.
  float AddProducts(float acc, std::vector<Factors>& products, double depth) {
    if (shuffle_) std::shuffle(products.begin(), products.end(), random_);
    const int64_t n = static_cast<int64_t>(products.size());
    const int64_t chains = Chains(n, depth);
    if (unit_.products > 0 && (prefers_unit_ || chains == n)) {
      const int least = contract_.dtype == DType::kF16 ? -14 : -126;
      if (!unit_from_zero_) return ChainedDotAdd(unit_, least, acc, products);
      return Op(double{acc} + ChainedDotAdd(unit_, least, 0, products));
    }
    return Op(double{acc} +
              SumOf(n, depth, [&](int64_t at) { return double{products[at].a} * products[at].b; }));
  }

  // As few partial sums as make a sum of n terms no deeper than that; n: none do.
  static int64_t Chains(int64_t n, double depth) {
    for (int64_t chains = 1; chains < n; chains *= 2) {
      const int64_t longest = (n + chains - 1) / chains;
      if (static_cast<double>(longest + chains - 1) <= depth) return chains;
    }
    return std::max<int64_t>(n, 1);
  }

  // Terms, each added by one operation; rounded once where no order is shallow enough.
  template <typename Term>
  float SumOf(int64_t n, double depth, const Term& term) {
    const int64_t chains = Chains(n, depth);
    if (chains == n) {
      double sum = 0;
      for (int64_t at = 0; at < n; ++at) sum += term(at);
      return Op(sum);
    }
    std::vector<float> partial(chains, 0.0f);
    for (int64_t at = 0; at < n; ++at) {
      float& sum = partial[at % chains];
      sum = Op(double{sum} + term(at));
    }
    float total = partial[0];
    for (int64_t k = 1; k < chains; ++k) total = Op(double{total} + partial[k]);
    return total;
  }

  // One f32 operation on an exact (f64) result: nearest, up, down, toward zero, or either neighbour
  // at random; and as much besides as the contract has room for.
  float Op(double exact) {
    const Rounding modes[] = {Rounding::kNearestEven, Rounding::kUp, Rounding::kDown,
                              Rounding::kTowardZero};
    const double room = contract_.operation - 0x1p-23;
    const int sign = coarse_ == 2 ? (random_() % 2 == 0 ? 1 : -1) : coarse_;
    if (room > 0) exact *= 1 + 0.98 * sign * room;
    return Flushed(RoundToF32(exact, rounding_ < 4 ? modes[rounding_] : modes[1 + random_() % 2]));
  }

  float Flushed(float x) const { return flush_ && std::fabs(x) < 0x1p-126f ? 0 : x; }

  const Contract contract_;
  std::mt19937_64 random_;
  int64_t tile_;
  int order_, rounding_, coarse_, exp_error_, rescale_error_, log_error_;
  bool round_weights_, rounds_scores_, fold_log2_, shuffle_, reciprocal_, flush_, prefers_unit_,
      unit_from_zero_, aligned_, round_output_ = true;
  MatrixUnit unit_;
  float reference_ = 0, sum_ = 0;  // of the last row: what lse is made from
  std::optional<DType> o_dtype_;
};

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_EXACT_CONFORMING_KERNEL_H_
