// What PyTorch programs compute without a fused kernel, in the model's own dtype F: the yardstick
// of some acceptance rules. RN is a rounding to F, products and sums are f32 (a matrix product of
// PyTorch adds in another order, so that its results may be a rounding away from these).
//
//   kAttentionRef  k' = RN(k / RN_f32(1 / scale))  s_j = RN(q.k'_j)   P_j = RN(softmax_j s)
//                  o = RN(sum_j P_j v_j)
//   kFlexMath      s_j = q.k_j scale in f32        P_j = softmax_j s in f32
//                  o = RN(sum_j RN(P_j) v_j)
//
// and backward, as autograd takes them (dk and dv of a group's heads rounded apart, then added):
//
//   kAttentionRef  dP = RN(dO.v)   dS = RN(P (dP - sum_j P_j dP_j))
//                  dq = RN(sum dS k')   dk = RN(RN(sum dS q) / RN_f32(1 / scale))
//   kFlexMath      dP = dO.v       dS = RN(P (dP - dO.o) scale)
//                  dq = RN(sum dS k)    dk = RN(sum dS q)
//   both           dv = RN(sum RN(P) dO)
#ifndef BITANCHOR_LIB_EXACT_EAGER_ATTENTION_H_
#define BITANCHOR_LIB_EXACT_EAGER_ATTENTION_H_

#include <cstdint>
#include <vector>

#include "lib/problem/attention_problem.h"
#include "lib/recipe/eager_path.h"

namespace bitanchor::exact {

// q and k of the problem are used as they are (rotate them first), rounded to F if they are wider.
// Methods may be called from several threads.
class EagerAttention {
 public:
  // The problem must outlive this; O(Skv Hkv D) f32 numbers are kept.
  EagerAttention(const AttentionProblem& problem, EagerPath path);

  // o: [D], query i of head h of batch b, as f32 that equal values of F. +0 where no key is seen.
  void Row(int64_t b, int64_t h, int64_t i, float* o) const;

  // Gradients with respect to q and k as they are, and v, for those dout ([B, Sq, Hq, D]) of o: of
  // key head `key_head` and its query heads. dq: [Hq / Hkv, Sq, D]; dk, dv: [Skv, D].
  struct Gradients {
    std::vector<float> dq, dk, dv;
  };
  Gradients Backward(const TensorView& dout, int64_t b, int64_t key_head) const;

 private:
  // A query's keys and weights. P: as the path keeps them for the backward pass (RN or f32).
  struct Weights {
    std::vector<int64_t> keys;
    std::vector<float> P;
  };

  float RN(float x) const { return RoundTo(problem_.dtype, x); }
  const float* Key(int64_t b, int64_t j, int64_t key_head) const;
  std::vector<float> Query(int64_t b, int64_t h, int64_t i) const;  // [D]
  Weights WeightsOf(int64_t b, int64_t h, int64_t i) const;
  void Output(const Weights& weights, int64_t b, int64_t key_head, float* o) const;
  void BackwardHead(const TensorView& dout, int64_t b, int64_t h, float* dq, float* dk,
                    float* dv) const;

  const AttentionProblem& problem_;
  EagerPath path_;
  float divisor_;            // RN_f32(1 / scale): attention_ref divides by sqrt(D)
  std::vector<float> keys_;  // [B, Skv, Hkv, D]: k', or k
};

}  // namespace bitanchor::exact

#endif  // BITANCHOR_LIB_EXACT_EAGER_ATTENTION_H_
