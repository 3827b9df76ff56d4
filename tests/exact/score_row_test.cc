// The bound of a score's error where q and k are themselves known only within deviations.
#include "lib/exact/score_row.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "lib/recipe/contract.h"

namespace bitanchor {
namespace {

// Every q' and k' at the ends of their deviations: the worst is inside, and the bound not far from
// it, also where both move in one dimension.
TEST(ScoreRow, DeviationsOfQueriesAndKeys) {
  constexpr int64_t D = 4;
  const float q[D] = {1, -0.5f, 0, 2}, k[D] = {0.25f, 3, -1, 0};
  const float q_off[D] = {0.0078125f, 0, 0.5f, 0.015625f},
              k_off[D] = {0.00390625f, 0.03125f, 0.25f, 0};
  const auto view = [](const float* values) {
    return DenseView<const std::byte>(DType::kF32, reinterpret_cast<const std::byte*>(values),
                                      {1, 1, 1, D});
  };
  IntervalProblem problem;
  problem.problem.shape = {1, 1, 1, 1, 1, D};
  problem.problem.dtype = DType::kF32;
  problem.problem.q = view(q);
  problem.problem.k = view(k);
  problem.problem.softmax_scale = 0.5f;
  problem.q_deviation = view(q_off);
  problem.k_deviation = view(k_off);
  const exact::Score score = exact::ScoreOf(problem, DefaultContract(DType::kF32), 0, 0, 0, 0);
  double worst = 0;
  for (int ends = 0; ends < 1 << 2 * D; ++ends) {
    double t = 0;
    for (int64_t d = 0; d < D; ++d) {
      const double mine = q[d] + (ends >> d & 1 ? q_off[d] : -q_off[d]);
      const double its = k[d] + (ends >> (D + d) & 1 ? k_off[d] : -k_off[d]);
      t += 0.5 * mine * its;
    }
    worst = std::max(worst, std::fabs(t - score.t));
  }
  EXPECT_GE(score.x, worst);
  EXPECT_LE(score.x, worst * 1.001 + 1e-4);
}

}  // namespace
}  // namespace bitanchor
