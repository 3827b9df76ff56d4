// Judging simulated kernels by the intervals of their contract.
#ifndef BITANCHOR_TESTS_EXACT_SOUNDNESS_H_
#define BITANCHOR_TESTS_EXACT_SOUNDNESS_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "lib/exact/attention_interval.h"
#include "tests/exact/conforming_kernel.h"
#include "tests/support/random_problem.h"

namespace bitanchor::testing {

inline IntervalBlock IntervalsOf(const AttentionProblem& p, int64_t h, const Contract& contract,
                                 DType o_dtype) {
  IntervalBlock block;
  const IntervalProblem problem{p, {}, {}, o_dtype};
  exact::AttentionIntervals(problem, contract, 0, h, 0, p.shape.Sq, block);
  return block;
}

struct Tally {
  int64_t kernels = 0, elements = 0, outside = 0, undetermined = 0;
  double worst_share = 0, worst_lse_share = 0;

  // What of the interval's side a kernel's answer takes.
  void Add(const std::string& what, float got, const Interval& interval, double& worst) {
    ++elements;
    if (interval.low > interval.high) {
      ++undetermined;
      return;
    }
    const double side =
        got > interval.want ? interval.high - interval.want : interval.want - interval.low;
    if (side > 0) worst = std::max(worst, std::fabs(got - interval.want) / side);
    if (!Admits(interval, got) && ++outside < 5) {
      ADD_FAILURE() << what << ": " << got << " outside [" << interval.low << ", " << interval.high
                    << "], want " << interval.want;
    }
  }
};

// One simulated kernel that stores o in that type, on the last head.
inline void Judge(const AttentionProblem& p, const Contract& contract, uint64_t seed, DType o_dtype,
                  Tally& tally) {
  const int64_t h = p.shape.Hq - 1, D = p.shape.D;
  const IntervalBlock want = IntervalsOf(p, h, contract, o_dtype);
  ConformingKernel kernel(contract, seed);
  kernel.StoreOutputAs(o_dtype);
  std::vector<float> o;
  float lse = 0;
  ++tally.kernels;
  for (int64_t i = 0; i < p.shape.Sq; ++i) {
    kernel.Row(p, 0, h, i, o, lse);
    const std::string what =
        contract.name + " seed " + std::to_string(seed) + " row " + std::to_string(i);
    for (int64_t d = 0; d < D; ++d) {
      tally.Add(what + " d " + std::to_string(d), o[d], want.o[i * D + d], tally.worst_share);
    }
    tally.Add(what + " lse", lse, want.lse[i], tally.worst_lse_share);
  }
}

// Masks, shapes and values of all kinds.
inline OwnedProblem SmallProblem(DType dtype, uint64_t seed, int64_t most_tokens = 47) {
  const Values styles[] = {Values::kNormal, Values::kPositive, Values::kInteger, Values::kNormal,
                           Values::kSubnormal};
  MaskSpec mask{seed % 3 == 0 ? MaskRule::kAnchor : MaskRule::kFull, seed % 5 != 0, std::nullopt,
                Corner::kTopLeft};
  if (seed % 7 == 0) mask.window_keys = 9;
  const int64_t S = 3 + static_cast<int64_t>(seed * 7) % (most_tokens - 2),
                D = 1 + static_cast<int64_t>(seed * 13 % 40);
  OwnedProblem owned = MakeProblem({1, S, S, 2, 1, D}, dtype, mask, styles[seed % 5], seed);
  if (seed % 4 == 1) owned.problem.softmax_scale *= 8;  // sharp softmax, scores in the tens
  return owned;
}

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_EXACT_SOUNDNESS_H_
