// The exact centre of the gradients of attention and a contract's interval around it.
#ifndef BITANCHOR_LIB_EXACT_GRADIENT_INTERVAL_H_
#define BITANCHOR_LIB_EXACT_GRADIENT_INTERVAL_H_

#include <cstdint>
#include <vector>

#include "lib/exact/score_row.h"
#include "lib/recipe/interval.h"

namespace bitanchor::exact {

struct GradientProblem {
  IntervalProblem attention;  // o_dtype: what a kernel stores o in, from which it may make delta
  TensorView dout;            // [B, Sq, Hq, D]
  DType dq_dtype, dk_dtype, dv_dtype;  // that a kernel stores its gradients in
  // dq and dk as intervals of f32, before they are rounded to that type: RopeIntervals::Gradient
  // turns them back.
  bool before_rope = false;
  // [B, Hq, Sq], the kernel's own, or empty: its backward pass starts from them, so each one that
  // is itself inside its interval narrows those of dq, dk and dv (an lse does not where P is
  // normalised first: that softmax has a sum of its own). LSE natural and scaled.
  std::vector<float> lse = {}, delta = {};
  double lse_relative = 0;  // how far that LSE may be from the kernel's, relative to its size
};

// Computed in f64, whose error is covered. Cost: about 25 D f64 operations per visible pair and
// pass. Both methods may be called from several threads, but every QueryRow before any KeyRow.
class GradientIntervals {
 public:
  GradientIntervals(const GradientProblem& problem, const Contract& contract);

  // dq: [D], of query i of head h, or null; delta: sum_d dO_d O_d. Remembers what KeyRow has to
  // know of it.
  void QueryRow(int64_t b, int64_t h, int64_t i, Interval* dq, Interval& delta);

  // dk, dv: [D] each, of key j. Every query that sees it must have had its QueryRow.
  void KeyRow(int64_t b, int64_t key_head, int64_t j, Interval* dk, Interval* dv) const;

 private:
  struct Row {
    RowKind kind = RowKind::kUndetermined;
    double lse = 0, lse_error = 0;  // log-sum-exp that P is made with; a kernel's may be so far off
    double delta = 0, delta_error = 0;  // likewise
  };
  struct Dot {
    double value, size;  // sum_d dO_d v_d and sum_d |dO_d||v_d|
  };
  struct Pair;

  // How far a kernel's dP may be from it.
  double DotError(const Dot& dot) const;
  Dot GradientOfWeight(int64_t b, int64_t h, int64_t i, int64_t j) const;
  Pair PairOf(const Row& row, const Score& score, const Dot& gradient) const;
  // dots: of every key of scores, where the row is ordinary.
  Row Summarise(const ScoreRow& scores, int64_t b, int64_t h, int64_t i, std::vector<Dot>& dots,
                Interval& delta) const;

  // Of an ordinary row. centre: lse and delta; lse_error: of any kernel's, not of one whose lse is
  // known; size, gradient: sum_d |dO_d||O_d| and sum_d |dO_d|.
  double DeltaError(const ScoreRow& scores, const std::vector<Dot>& dots, const Row& centre,
                    double lse_error, double size, double gradient) const;

  const GradientProblem& problem_;
  const Contract& contract_;
  double product_error_;
  double least_, weight_least_;  // LeastFactor of inputs, and of P and dS
  std::vector<Row> rows_;        // [B, Hq, Sq]
};

}  // namespace bitanchor::exact

#endif  // BITANCHOR_LIB_EXACT_GRADIENT_INTERVAL_H_
