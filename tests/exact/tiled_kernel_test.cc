// Tiled kernels against attention over the whole row, against their own loop written once more from
// the paper's recurrence, and against derivatives by differences.
#include "lib/exact/tiled_kernel.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "lib/number/least_squares.h"
#include "tests/support/random_problem.h"

namespace bitanchor {
namespace {

using exact::GatheredRow;
using exact::Quantum;
using exact::RescaleFault;
using exact::RowAnswer;
using exact::TiledKernel;

constexpr int64_t kD = 8;
constexpr double kInf = std::numeric_limits<double>::infinity();

// n keys among 200, ascending.
GatheredRow MakeRow(int64_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  GatheredRow row;
  row.D = kD;
  row.n = n;
  row.scale = 0.5;
  const auto draw = [&](std::vector<float>& x, int64_t count) {
    for (int64_t at = 0; at < count; ++at)
      x.push_back(testing::Draw(testing::Values::kNormal, random));
  };
  draw(row.q, kD);
  draw(row.k, n * kD);
  draw(row.v, n * kD);
  for (int64_t j = 0; j < n; ++j) row.keys.push_back(200 * j / n);
  return row;
}

double Score(const GatheredRow& row, int64_t n) {
  double s = 0;
  for (int64_t d = 0; d < kD; ++d) s += static_cast<double>(row.q[d]) * row.k[n * kD + d];
  return s * row.scale;
}

void ExpectSame(const RowAnswer& got, const RowAnswer& want, double within) {
  for (int64_t d = 0; d < kD; ++d) EXPECT_NEAR(got.o[d], want.o[d], within);
  if (std::isinf(want.lse)) {
    EXPECT_EQ(got.lse, want.lse);
  } else {
    EXPECT_NEAR(got.lse, want.lse, within);
  }
}

std::vector<TiledKernel> Schedules() {
  std::vector<TiledKernel> all = {{}};
  for (const int64_t tile : {1, 16, 64, 128, 256}) {
    for (const bool descending : {false, true}) {
      all.push_back({});
      all.back().tile = tile;
      all.back().descending = descending;
    }
  }
  return all;
}

TEST(TiledKernel, RightSchedulesAnswerAsTheWholeRow) {
  for (const int64_t n : {0, 1, 2, 63, 150}) {
    const GatheredRow row = MakeRow(n, 1);
    const RowAnswer want = exact::Centre(row, std::nullopt);
    for (const TiledKernel& kernel : Schedules())
      ExpectSame(exact::Answer(kernel, row), want, 1e-13);
  }
}

TEST(TiledKernel, ScoresThatAreMinusInfinity) {
  GatheredRow row = MakeRow(60, 2);
  row.q.assign(kD, 1);
  for (int64_t n = 0; n < 60; ++n) {
    if (n % 20 < 12) row.k[n * kD] = -std::numeric_limits<float>::infinity();
  }
  const RowAnswer want = exact::Centre(row, std::nullopt);
  ASSERT_TRUE(std::isfinite(want.lse));
  for (const TiledKernel& kernel : Schedules()) ExpectSame(exact::Answer(kernel, row), want, 1e-13);
}

// The recurrence over tiles of 64 ascending, with every factor in the open.
struct ByHand {
  double m = -kInf, l = 0;
  std::vector<double> o = std::vector<double>(kD);
};

template <typename Body>
RowAnswer Recurrence(const GatheredRow& row, const Body& tile_body) {
  ByHand state;
  for (int64_t tile = 0; tile < 4; ++tile) {
    std::vector<int64_t> keys;
    double m = state.m;
    for (int64_t n = 0; n < row.n; ++n) {
      if (row.keys[n] / 64 != tile) continue;
      keys.push_back(n);
      m = std::max(m, Score(row, n));
    }
    if (!keys.empty()) tile_body(tile, keys, m, state);
  }
  for (double& x : state.o) x /= state.l;
  return {state.o, state.m + std::log(state.l)};
}

// factors: what o and l are multiplied with; reference: what the tile's weights are relative to.
void Visit(const GatheredRow& row, const std::vector<int64_t>& keys, double m, double f_o,
           double f_l, double reference, ByHand& state) {
  state.m = m;
  state.l *= f_l;
  for (double& x : state.o) x *= f_o;
  for (const int64_t n : keys) {
    const double p = std::exp(Score(row, n) - reference);
    state.l += p;
    for (int64_t d = 0; d < kD; ++d) state.o[d] += p * row.v[n * kD + d];
  }
}

TEST(TiledKernel, RescaleFaults) {
  const GatheredRow row = MakeRow(150, 5);
  const RowAnswer right = exact::Centre(row, std::nullopt);
  constexpr RescaleFault kFaults[] = {RescaleFault::kOutput, RescaleFault::kSum,
                                      RescaleFault::kBoth, RescaleFault::kStaleMaximum};
  int differ = 0;
  for (const RescaleFault fault : kFaults) {
    for (const std::optional<int64_t> at :
         {std::optional<int64_t>{}, std::optional<int64_t>{1}, std::optional<int64_t>{2}}) {
      TiledKernel kernel;
      kernel.tile = 64;
      kernel.fault = fault;
      kernel.faulty_tile = at;
      const RowAnswer want = Recurrence(row, [&](int64_t tile, const std::vector<int64_t>& keys,
                                                 double m, ByHand& state) {
        const bool here = !at || *at == tile;
        const double f = std::isinf(state.m) ? 0 : std::exp(state.m - m);
        const bool no_o = here && (fault == RescaleFault::kOutput || fault == RescaleFault::kBoth);
        const bool no_l = here && (fault == RescaleFault::kSum || fault == RescaleFault::kBoth);
        const bool stale = here && fault == RescaleFault::kStaleMaximum && !std::isinf(state.m);
        Visit(row, keys, m, no_o ? 1 : f, no_l ? 1 : f, stale ? state.m : m, state);
      });
      const RowAnswer got = exact::Answer(kernel, row);
      ExpectSame(got, want, 1e-12);
      differ += std::fabs(got.o[0] - right.o[0]) > 1e-3;
    }
  }
  EXPECT_GE(differ, 6);  // this row's maximum grows in some tiles only
}

TEST(TiledKernel, RoundingsStandWhereTheyAreNamed) {
  const GatheredRow row = MakeRow(150, 7);
  const Quantum bf16{kFormatBF16, Rounding::kTowardZero};
  const auto cut = [&](double x) { return exact::Quantised(bf16, x); };
  double m = -kInf;
  for (int64_t n = 0; n < row.n; ++n) m = std::max(m, Score(row, n));
  // Whole rows by hand: with each of the roundings in its place.
  const auto want = [&](bool weights, bool summed, bool scores, bool scaled, bool output) {
    const auto t = [&](int64_t n) {
      const double s = Score(row, n) / row.scale;
      const double x = (scores ? cut(s) : s) * row.scale;
      return scaled ? cut(x) : x;
    };
    double most = -kInf, l = 0;
    for (int64_t n = 0; n < row.n; ++n) most = std::max(most, t(n));
    std::vector<double> o(kD);
    for (int64_t n = 0; n < row.n; ++n) {
      const double p = std::exp(t(n) - most);
      l += summed ? cut(p) : p;
      for (int64_t d = 0; d < kD; ++d) o[d] += (weights ? cut(p) : p) * row.v[n * kD + d];
    }
    for (double& x : o) x = output ? cut(x / l) : x / l;
    return RowAnswer{o, most + std::log(l)};
  };
  for (int which = 0; which < 5; ++which) {
    TiledKernel kernel;
    std::optional<Quantum>* const places[] = {&kernel.weights, &kernel.summed, &kernel.scores,
                                              &kernel.scaled_scores, &kernel.output};
    *places[which] = bf16;
    SCOPED_TRACE(which);
    ExpectSame(exact::Answer(kernel, row),
               want(which == 0, which == 1, which == 2, which == 3, which == 4), 1e-12);
  }
  // After every two dimensions of a score; after every tile of o.
  TiledKernel grouped;
  grouped.scores = bf16;
  grouped.score_group = 2;
  GatheredRow one = MakeRow(1, 8);
  double s = 0;
  for (int64_t d = 0; d < kD; d += 2) {
    s = cut(s + static_cast<double>(one.q[d]) * one.k[d] +
            static_cast<double>(one.q[d + 1]) * one.k[d + 1]);
  }
  EXPECT_NEAR(exact::Answer(grouped, one).lse, s * one.scale, 1e-14);
  TiledKernel running;
  running.tile = 64;
  running.running = bf16;
  ExpectSame(exact::Answer(running, row),
             Recurrence(row,
                        [&](int64_t, const std::vector<int64_t>& keys, double most, ByHand& state) {
                          const double f = std::exp(state.m - most);
                          Visit(row, keys, most, f, f, most, state);
                          for (double& x : state.o) x = cut(x);
                        }),
             1e-12);
}

TEST(TiledKernel, Constants) {
  const GatheredRow row = MakeRow(150, 9);
  double m = -kInf;
  for (int64_t n = 0; n < row.n; ++n) m = std::max(m, Score(row, n));
  for (const TiledKernel& schedule : Schedules()) {
    TiledKernel kernel = schedule;
    kernel.scale = 1.25;
    GatheredRow scaled = row;
    scaled.scale *= 1.25;
    ExpectSame(exact::Answer(kernel, row), exact::Centre(scaled, std::nullopt), 1e-12);
    kernel = schedule;
    kernel.exponent = 1.25;  // the same weights; LSE has the maximum as it was
    RowAnswer want = exact::Centre(scaled, std::nullopt);
    want.lse -= 0.25 * m;
    ExpectSame(exact::Answer(kernel, row), want, 1e-12);
    kernel = schedule;
    kernel.row_sum = 1.25;
    want = exact::Centre(row, std::nullopt);
    for (double& x : want.o) x /= 1.25;
    want.lse += std::log(1.25);
    ExpectSame(exact::Answer(kernel, row), want, 1e-12);
  }
}

TEST(TiledKernel, ExpErrors) {
  const GatheredRow row = MakeRow(150, 11);
  constexpr int64_t kNodes = 8;
  for (const TiledKernel& schedule : Schedules()) {
    const std::vector<double> slopes =
        exact::LseByExpErrors(schedule, row, exact::DotsOf(schedule, row), kNodes);
    for (int64_t n = 0; n < kNodes; ++n) {
      TiledKernel above = schedule, below = schedule;
      above.exp_errors.assign(kNodes, 0);
      below.exp_errors.assign(kNodes, 0);
      above.exp_errors[n] = 1e-6;
      below.exp_errors[n] = -1e-6;
      const double slope = (exact::Answer(above, row).lse - exact::Answer(below, row).lse) / 2e-6;
      EXPECT_NEAR(slope, slopes[n], 1e-6 * std::max(1.0, slope));
    }
    // Keys that weigh nothing change nothing.
    GatheredRow more = row;
    for (int64_t n = 0; n < more.n; n += 3) {
      for (int64_t d = 0; d < kD; ++d)
        more.k[n * kD + d] = more.q[d] > 0 ? -std::numeric_limits<float>::infinity() : 0;
    }
    for (const double slope :
         exact::LseByExpErrors(schedule, more, exact::DotsOf(schedule, more), kNodes))
      EXPECT_TRUE(std::isfinite(slope));
    // The same error everywhere is a factor of every weight, once where there is one tile.
    if (schedule.tile == 0) {
      TiledKernel kernel;
      kernel.exp_errors.assign(kNodes, 1e-3);
      EXPECT_NEAR(exact::Answer(kernel, row).lse - exact::Centre(row, std::nullopt).lse,
                  std::log1p(1e-3), 1e-12);
    }
  }
}

// The largest weight a hair below 1 is truncated to the bf16 number below.
TEST(TiledKernel, LargestWeightNotQuiteOne) {
  const GatheredRow row = MakeRow(1, 13);
  TiledKernel kernel;
  kernel.weights = Quantum{kFormatBF16, Rounding::kTowardZero};
  EXPECT_NEAR(exact::Answer(kernel, row).o[0], row.v[0], 1e-12);
  kernel.largest_error = -0x1p-22;
  EXPECT_NEAR(exact::Answer(kernel, row).o[0], row.v[0] * (1 - 0x1p-8), 1e-6);
}

TEST(Quantised, AgreesWithConversions) {
  std::mt19937_64 random(17);
  for (int n = 0; n < 20000; ++n) {
    double x = testing::Draw(testing::Values::kWide, random);
    if (n % 3 == 0) x = std::ldexp(x, -100);
    for (const Rounding mode :
         {Rounding::kNearestEven, Rounding::kTowardZero, Rounding::kUp, Rounding::kDown}) {
      ASSERT_EQ(exact::Quantised({kFormatBF16, mode}, x), ToF32(ToBF16(x, mode))) << x;
      ASSERT_EQ(exact::Quantised({kFormatF16, mode}, x), ToF32(ToF16(x, mode))) << x;
      ASSERT_EQ(exact::Quantised({kFormatF32, mode}, x), RoundToF32(x, mode)) << x;
    }
  }
  EXPECT_EQ(exact::Quantised({kFormatBF16}, kInf), kInf);
  EXPECT_EQ(exact::Quantised({kFormatF16}, -1e9), -kInf);
  EXPECT_TRUE(std::isnan(exact::Quantised({kFormatF16}, std::nan(""))));
}

TEST(LeastSquares, FindsWhatMadeTheEquations) {
  std::mt19937_64 random(19);
  std::normal_distribution<double> normal;
  const std::vector<double> want = {3, -1, 0.5, 1e-3};
  number::LeastSquares fit(want.size());
  for (int n = 0; n < 40; ++n) {
    std::vector<double> a;
    double y = 0;
    for (const double x : want) {
      a.push_back(normal(random));
      y += a.back() * x;
    }
    fit.Add(a, y);
  }
  const std::vector<double> got = fit.Solve();
  for (size_t n = 0; n < want.size(); ++n) EXPECT_NEAR(got[n], want[n], 1e-7);
  // Unknowns that no equation has, and no equation at all.
  number::LeastSquares half(2);
  half.Add({2, 0}, 6);
  EXPECT_NEAR(half.Solve()[0], 3, 1e-7);
  EXPECT_EQ(half.Solve()[1], 0);
  EXPECT_EQ(number::LeastSquares(2).Solve(), std::vector<double>(2));
}

}  // namespace
}  // namespace bitanchor
