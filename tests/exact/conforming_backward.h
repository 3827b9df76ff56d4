// A simulated backward pass of a contract, with every freedom that the contract grants drawn from a
// seed. Shares nothing with the interval's code.
#ifndef BITANCHOR_TESTS_EXACT_CONFORMING_BACKWARD_H_
#define BITANCHOR_TESTS_EXACT_CONFORMING_BACKWARD_H_

#include "tests/exact/conforming_kernel.h"

namespace bitanchor::testing {

class ConformingBackward : public ConformingKernel {
 public:
  ConformingBackward(const Contract& contract, uint64_t seed) : ConformingKernel(contract, seed) {
    const auto pick = [&](int n) { return static_cast<int>(random_() % n); };
    delta_from_ = rounds_scores_ ? 2 : pick(3);
    backward_exp_error_ = pick(4);
    descending_ = pick(2) == 0;
    scale_early_ = pick(2) == 0;
    probability_from_lse_ = pick(2) == 0;
    stores_probability_ = pick(2) == 0 && rounds_scores_;
    stores_partial_ = pick(2) == 0;
    heads_ = Heads{pick(3)};
  }

  std::vector<float> dq, dk, dv;  // [Sq, group, D], [Skv, D], [Skv, D]: of batch 0
  std::vector<float> lse, delta;  // [group, Sq]

  // The gradients of one key head and of the query heads that read it.
  void Run(const AttentionProblem& p, const TensorView& dout, int64_t key_head) {
    const auto [B, Sq, Skv, Hq, Hkv, D] = p.shape;
    (void)B;
    const int64_t group = Hq / Hkv, tile = Sq >= 768 ? 256 : Sq >= 192 ? 64 : 32;
    dq.assign(Sq * group * D, 0.0f);
    dk.assign(Skv * D, 0.0f);
    dv.assign(Skv * D, 0.0f);
    lse.assign(group * Sq, 0.0f);
    delta.assign(group * Sq, 0.0f);
    std::vector<float> ds(Sq * Skv), weights(Sq * Skv), dk_run(Skv * D), dv_run(Skv * D);
    for (int64_t at = 0; at < group; ++at) {
      const int64_t g = descending_ ? group - 1 - at : at, h = key_head * group + g;
      for (int64_t i = 0; i < Sq; ++i) {
        QueryRow(p, dout, h, i, &ds[i * Skv], &weights[i * Skv], &dq[(i * group + g) * D],
                 lse[g * Sq + i], delta[g * Sq + i]);
      }
      std::vector<int64_t> rows;  // of a tile
      for (int64_t step = 0; step < Sq; ++step) {
        const int64_t i = descending_ ? Sq - 1 - step : step;
        const bool ends_tile = descending_ ? i % tile == 0 : i % tile == tile - 1;
        rows.push_back(i);
        if (!ends_tile && step + 1 < Sq) continue;
        AddRows(p, dout, h, rows, ds, weights, dk_run, dv_run);
        rows.clear();
        if (!ends_tile || !stores_partial_) continue;
        for (int64_t n = 0; n < Skv * D; ++n) {
          dk_run[n] = Store(p, dk_run[n]);
          dv_run[n] = RoundTo(p.dtype, dv_run[n]);
        }
      }
      if (heads_ == Heads::kOneSum && at + 1 < group) continue;
      for (int64_t n = 0; n < Skv * D; ++n) {
        const bool rounds = heads_ == Heads::kRounded;
        dk[n] = Op(double{dk[n]} + (rounds ? Store(p, dk_run[n]) : dk_run[n]));
        dv[n] = Op(double{dv[n]} + (rounds ? RoundTo(p.dtype, dv_run[n]) : dv_run[n]));
        dk_run[n] = dv_run[n] = 0;
      }
    }
    for (int64_t n = 0; n < Skv * D; ++n) {
      dk[n] = RoundTo(p.dtype, Late(p, dk[n]));
      dv[n] = RoundTo(p.dtype, dv[n]);
    }
  }

 private:
  // What the queries add to every key's dk and dv.
  void AddRows(const AttentionProblem& p, const TensorView& dout, int64_t h,
               const std::vector<int64_t>& rows, const std::vector<float>& ds,
               const std::vector<float>& weights, std::vector<float>& dk_run,
               std::vector<float>& dv_run) {
    const int64_t Skv = p.shape.Skv, D = p.shape.D;
    for (int64_t j = 0; j < Skv; ++j) {
      std::vector<int64_t> seen;
      for (const int64_t i : rows) {
        if (p.mask.Visible(0, i, j)) seen.push_back(i);
      }
      if (seen.empty()) continue;
      for (int64_t d = 0; d < D; ++d) {
        std::vector<Factors> to_dk, to_dv;
        for (const int64_t i : seen) {
          to_dk.push_back({ds[i * Skv + j], p.q.At(0, i, h, d)});
          to_dv.push_back({weights[i * Skv + j], dout.At(0, i, h, d)});
        }
        dk_run[j * D + d] = AddProducts(dk_run[j * D + d], to_dk, SumDepth(seen.size()));
        dv_run[j * D + d] = AddProducts(dv_run[j * D + d], to_dv, SumDepth(seen.size()));
      }
    }
  }

  // What a tile's sum may be deep where as many tiles as there may be are added up.
  double SumDepth(size_t terms) const {
    return std::max(1.0, contract_.Depth(static_cast<double>(terms)) / 2);
  }

  float Late(const AttentionProblem& p, float x) {
    return scale_early_ ? x : Op(double{x} * p.softmax_scale);
  }

  // A running sum kept in the output's type is kept scaled.
  float Store(const AttentionProblem& p, float x) {
    return scale_early_ ? RoundTo(p.dtype, x)
                        : static_cast<float>(RoundTo(p.dtype, double{x} * p.softmax_scale) /
                                             double{p.softmax_scale});
  }

  void QueryRow(const AttentionProblem& p, const TensorView& dout, int64_t h, int64_t i, float* ds,
                float* weights, float* dq_row, float& row_lse, float& row_delta) {
    const int64_t D = p.shape.D, kh = p.shape.KeyHead(h);
    std::vector<float> o;
    round_output_ = delta_from_ == 0;
    Row(p, 0, h, i, o, row_lse);
    std::vector<int64_t> keys;
    std::vector<float> t, probability, dp;
    for (int64_t j = 0; j < p.shape.Skv; ++j) {
      if (!p.mask.Visible(0, i, j)) continue;
      keys.push_back(j);
      std::vector<Factors> products(D);
      for (int64_t d = 0; d < D; ++d) {
        products[d] = {dout.At(0, i, h, d), p.v.At(0, j, kh, d)};
      }
      dp.push_back(RoundScore(DotOf(products)));
    }
    const bool folded = std::exchange(fold_log2_, false);
    for (const int64_t j : keys) t.push_back(ScoreFor(p, 0, h, i, j));
    row_delta = 0;
    const int forward_error = std::exchange(exp_error_, backward_exp_error_);
    // An eager softmax is of its own; others know the forward pass's reference and sum.
    const bool own_sum = contract_.normalise_first;
    float m = probability_from_lse_ ? row_lse : reference_;
    if (own_sum && !keys.empty()) m = *std::max_element(t.begin(), t.end());
    for (const float x : t) probability.push_back(Weight(x, m, 1, false));
    fold_log2_ = folded;
    exp_error_ = forward_error;
    if (keys.empty()) return;
    const int64_t n = static_cast<int64_t>(keys.size());
    if (!probability_from_lse_ || own_sum) {
      const float l = own_sum ? SumOf(n, contract_.RowSumDepth(static_cast<double>(n)),
                                      [&](int64_t at) { return double{probability[at]}; })
                              : sum_;
      for (float& x : probability) x = Op(double{x} / l);
    }
    if (stores_probability_) {
      for (float& x : probability) x = RoundWeight(x);
    }
    row_delta = delta_from_ == 2
                    ? SumOf(n, contract_.RowSumDepth(static_cast<double>(n)),
                            [&](int64_t at) { return double{probability[at]} * dp[at]; })
                    : SumOf(D, static_cast<double>(D) / contract_.dot_dims,
                            [&](int64_t d) { return double{dout.At(0, i, h, d)} * o[d]; });
    for (int64_t at = 0; at < n; ++at) {
      float gradient = Op(double{probability[at]} * Op(double{dp[at]} - row_delta));
      if (rounds_scores_) gradient = RoundWeight(gradient);
      if (scale_early_) gradient = Op(double{gradient} * p.softmax_scale);
      ds[keys[at]] = RoundWeight(gradient);
      weights[keys[at]] = RoundWeight(probability[at]);
    }
    std::vector<std::vector<int64_t>> tiles;  // of keys
    for (const int64_t j : keys) {
      if (tiles.empty() || tiles.back().back() / kKeyTile != j / kKeyTile) tiles.emplace_back();
      tiles.back().push_back(j);
    }
    if (descending_) std::reverse(tiles.begin(), tiles.end());
    for (int64_t d = 0; d < D; ++d) {
      float sum = 0;
      for (const auto& tile : tiles) {
        std::vector<Factors> products;
        for (const int64_t j : tile) products.push_back({ds[j], p.k.At(0, j, kh, d)});
        sum = AddProducts(sum, products, SumDepth(tile.size()));
        if (stores_partial_) sum = Store(p, sum);
      }
      dq_row[d] = RoundTo(p.dtype, Late(p, sum));
    }
  }

  static constexpr int64_t kKeyTile = 512;

  int backward_exp_error_;
  int delta_from_;  // the stored o, an unrounded one, the sum of P dP
  bool descending_, scale_early_, probability_from_lse_, stores_probability_, stores_partial_;
  enum class Heads { kOneSum, kSums, kRounded } heads_;  // of a group
};

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_EXACT_CONFORMING_BACKWARD_H_
