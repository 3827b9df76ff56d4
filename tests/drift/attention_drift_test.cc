// The sums of drift against their definition written out pair by pair, on masks that leave ragged
// lanes: windows, interleaved documents, anchors.
#include "lib/drift/attention_drift.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace bitanchor::drift {
namespace {

struct Problem {
  HeadProblem head;
  std::vector<Panels> keys;
  std::vector<std::vector<double>> k;  // of each shift, [T, D]
  std::vector<double> v;               // [T, D]
};

void Fill(Problem& problem, const Mask& mask, int64_t T, int64_t D, bool with_v,
          std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  const auto draw = [&] {
    std::vector<double> x(static_cast<size_t>(T * D));
    for (double& value : x) value = 2 * normal(random);
    return x;
  };
  problem.head.T = T;
  problem.head.D = D;
  problem.head.mask = &mask;
  problem.keys.assign(3, Panels(D, T));
  problem.head.rotated.resize(3);
  for (size_t side = 0; side < 3; ++side) {
    problem.k.push_back(draw());
    problem.head.rotated[side].q = draw();
    problem.head.rotated[side].keys = &problem.keys[side];
    for (int64_t n = 0; n < T * D; ++n) problem.keys[side].At(n % D, n / D) = problem.k[side][n];
  }
  problem.head.pairs = {{0, 1}, {2, 1}, {2, 2}};
  problem.v = draw();
  if (!with_v) return;
  problem.head.v = Panels(T, D);
  for (int64_t n = 0; n < T * D; ++n) problem.head.v.At(n / D, n % D) = problem.v[n];
}

// Logits and weights of one query; 0 where it does not see the key.
void Row(const Problem& problem, size_t side, int64_t i, std::vector<double>& A,
         std::vector<double>& w) {
  const int64_t T = problem.head.T, D = problem.head.D;
  A.assign(static_cast<size_t>(T), 0);
  w = A;
  double sum = 0;
  for (int64_t j = 0; j < T; ++j) {
    if (!problem.head.mask->Visible(0, i, j)) continue;
    for (int64_t d = 0; d < D; ++d) {
      A[j] += problem.head.rotated[side].q[i * D + d] * problem.k[side][j * D + d];
    }
    w[j] = std::exp(A[j] / std::sqrt(static_cast<double>(D)));
    sum += w[j];
  }
  for (double& x : w) x /= sum;
}

Drift Defined(const Problem& problem, const ShiftPair& pair, int64_t T, int64_t batch) {
  const int64_t D = problem.head.D;
  std::vector<double> abs(T), sign(T), logit(T), A, A_other, w, w_other;
  Drift want;
  for (int64_t i = 0; i < T; ++i) {
    Row(problem, pair.one, i, A, w);
    Row(problem, pair.other, i, A_other, w_other);
    double squares = 0;
    for (int64_t d = 0; d < D; ++d) {
      double o = 0;
      for (int64_t j = 0; j < T; ++j) o += (w[j] - w_other[j]) * problem.v[j * D + d];
      squares += o * o;
    }
    want.D_output += std::sqrt(squares) / static_cast<double>(T * batch);
    for (int64_t j = 0; j < T; ++j) {
      abs[j] += std::fabs(w[j] - w_other[j]);
      sign[j] += w[j] - w_other[j];
      logit[j] += std::fabs(A[j] - A_other[j]);
    }
  }
  for (int64_t j = 0; j < T; ++j) {
    const double n = 1 / static_cast<double>((T - j) * batch),
                 t = 1 / static_cast<double>(T * batch);
    want.keys.push_back({n * abs[j], n * std::fabs(sign[j]), t * logit[j], t * abs[j]});
    want.D_abs += n * abs[j];
    want.D_signed += n * std::fabs(sign[j]);
  }
  return want;
}

void ExpectNear(const Drift& got, const Drift& want, bool with_v, const std::string& what) {
  constexpr double kRelative = 1e-12, kFloor = 1e-14;  // of sums of some hundred terms in f64
  const auto near = [&](double a, double b, const char* name) {
    EXPECT_NEAR(a, b, kRelative * std::fabs(b) + kFloor) << what << ": " << name;
  };
  near(got.D_abs, want.D_abs, "D_abs");
  near(got.D_signed, want.D_signed, "D_signed");
  near(got.D_output, with_v ? want.D_output : 0, "D_output");
  ASSERT_EQ(got.keys.size(), want.keys.size());
  for (size_t j = 0; j < want.keys.size(); ++j) {
    near(got.keys[j].D_abs, want.keys[j].D_abs, "D_abs of a key");
    near(got.keys[j].D_signed, want.keys[j].D_signed, "D_signed of a key");
    near(got.keys[j].D_logit, want.keys[j].D_logit, "D_logit of a key");
    near(got.keys[j].D_attention, want.keys[j].D_attention, "D_attention of a key");
  }
}

Mask RandomMask(MaskRule rule, int64_t T, bool window, std::mt19937_64& random) {
  Mask mask{{rule}, 1, T, T, {}, {}};
  if (window) mask.spec.window_keys = 1 + static_cast<int64_t>(random() % 12);
  if (rule == MaskRule::kFull) return mask;
  for (int64_t j = 0; j < T; ++j) {
    mask.k_ids.push_back(j == 0 ? 0 : static_cast<int64_t>(random() % 4));  // interleaved
  }
  mask.q_ids = mask.k_ids;
  return mask;
}

TEST(AttentionDrift, IsItsDefinitionOnRaggedMasks) {
  std::mt19937_64 random(1);
  for (const int64_t T : {1, 2, 7, 8, 9, 16, 17, 41}) {
    for (const MaskRule rule : {MaskRule::kFull, MaskRule::kDocument, MaskRule::kAnchor}) {
      for (const bool window : {false, true}) {
        const int64_t D = 1 + static_cast<int64_t>(random() % 20);
        const bool with_v = random() % 2 == 0;
        const Mask mask = RandomMask(rule, T, window, random);
        Problem problem;
        Fill(problem, mask, T, D, with_v, random);
        RowScratch scratch(problem.head);
        std::vector<QuerySums> sums(3, QuerySums(T)), block = sums;
        for (int64_t begin = 0; begin < T; begin += 5) {
          const int64_t end = std::min(T, begin + 5);
          AddQueries(problem.head, begin, end, scratch, block);
          for (size_t n = 0; n < 3; ++n) sums[n].Take(block[n], end);
        }
        for (size_t n = 0; n < 3; ++n) {
          Drift got;
          got.AddHead(sums[n], T, 2);
          const std::string what = "T " + std::to_string(T) + " D " + std::to_string(D) + " " +
                                   InWords(mask) + " pair " + std::to_string(n);
          ExpectNear(got, Defined(problem, problem.head.pairs[n], T, 2), with_v, what);
        }
      }
    }
  }
}

// A logit that is NaN makes NaN of the keys that its query sees, and of no other.
TEST(AttentionDrift, NaNStaysWhereItIsSeen) {
  std::mt19937_64 random(2);
  const Mask mask{{}, 1, 20, 20, {}, {}};
  Problem problem;
  Fill(problem, mask, 20, 4, true, random);
  problem.head.rotated[0].q[9 * 4] = std::numeric_limits<double>::quiet_NaN();
  RowScratch scratch(problem.head);
  std::vector<QuerySums> sums(3, QuerySums(20));
  AddQueries(problem.head, 0, 20, scratch, sums);
  for (size_t j = 0; j < 20; ++j) {
    EXPECT_EQ(std::isnan(sums[0].attention_abs[j]), j <= 9) << j;
    EXPECT_EQ(std::isnan(sums[0].logit_abs[j]), j <= 9) << j;
    EXPECT_FALSE(std::isnan(sums[1].attention_abs[j])) << j;
  }
}

}  // namespace
}  // namespace bitanchor::drift
