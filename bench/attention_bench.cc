// Attention forward against this machine's f32 FMA peak, measured in the same run. Bits are
// verified before anything is timed. Counters: GFs, of_fma_peak; for block-sparse masks of_causal:
// the time per kept pair against causal attention at the documents' own length.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "bench/fma_peak.h"
#include "lib/problem/blocks.h"
#include "lib/problem/generate.h"
#include "lib/scalar/attention.h"
#include "simd/attention.h"

namespace bitanchor {
namespace {

struct Problem {
  std::vector<uint16_t> q, k, v, o;
  std::vector<float> lse;
  AttentionProblem problem;

  Problem(int64_t S, int64_t H, int64_t D, int64_t documents) {
    const Shape4 shape = {1, S, H, D};
    for (auto* tensor : {&q, &k, &v, &o}) tensor->resize(S * H * D);
    lse.resize(H * S);
    problem.shape = {1, S, S, H, H, D};
    problem.dtype = DType::kBF16;
    problem.softmax_scale = DefaultSoftmaxScale(D);
    const auto fill = [&](std::vector<uint16_t>& tensor, Gen1Tensor which) {
      FillGen1(1, which,
               DenseView(DType::kBF16, reinterpret_cast<std::byte*>(tensor.data()), shape));
      return DenseView(DType::kBF16, reinterpret_cast<const std::byte*>(tensor.data()), shape);
    };
    problem.q = fill(q, Gen1Tensor::kQ);
    problem.k = fill(k, Gen1Tensor::kK);
    problem.v = fill(v, Gen1Tensor::kV);
    problem.mask.B = 1;
    problem.mask.Sq = problem.mask.Skv = S;
    if (documents == 0) return;
    problem.mask.spec.rule = MaskRule::kAnchor;
    for (int64_t j = 0; j < S; ++j)
      problem.mask.k_ids.push_back(j == 0 ? 0 : 1 + j * documents / S);
    problem.mask.q_ids = problem.mask.k_ids;
  }

  void Run(const AttentionRecipe& recipe, int threads) {
    simd::EngineOptions options;
    options.threads = threads;
    simd::AttentionForward(
        problem, recipe, options,
        DenseView(DType::kBF16, reinterpret_cast<std::byte*>(o.data()), problem.q.shape),
        lse.data());
  }

  double Flops() const {
    return 4.0 *
           static_cast<double>(CountVisible(problem.mask, 0) * problem.shape.D * problem.shape.Hq);
  }
};

double SecondsNow() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The median GF/s of a few runs.
double Rate(Problem& problem, const AttentionRecipe& recipe, int threads) {
  std::vector<double> rates;
  for (int n = 0; n < 5; ++n) {
    const double start = SecondsNow();
    problem.Run(recipe, threads);
    rates.push_back(problem.Flops() / (SecondsNow() - start) / 1e9);
  }
  std::sort(rates.begin(), rates.end());
  return rates[2];
}

void VerifyBits(const AttentionRecipe& recipe) {
  Problem problem(200, 2, 64, 3);
  problem.Run(recipe, 1);
  const std::vector<uint16_t> got = problem.o;
  scalar::AttentionForward(problem.problem, recipe,
                           DenseView(DType::kBF16, reinterpret_cast<std::byte*>(problem.o.data()),
                                     problem.problem.q.shape),
                           nullptr);
  if (got != problem.o) {
    std::fprintf(stderr, "the engine's bits are not the definition's: nothing is timed\n");
    std::exit(1);
  }
}

void BM_Forward(benchmark::State& state, const char* recipe_name) {
  const AttentionRecipe& recipe = *FindAttentionRecipe(recipe_name);
  VerifyBits(recipe);
  const int64_t S = state.range(0), D = state.range(1), documents = state.range(2);
  const int threads = static_cast<int>(state.range(3));
  Problem problem(S, 2, D, documents);
  double gfs = 0;
  for (auto _ : state) gfs = Rate(problem, recipe, threads);
  state.counters["GFs"] = gfs;
  state.counters["of_fma_peak"] = gfs / (threads * bench::FmaPeakGFs());
  if (documents > 0) {
    Problem causal(S / documents, 2, D, 0);
    state.counters["of_causal"] = gfs / Rate(causal, recipe, threads);
  }
}

void Shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"S", "D", "documents", "threads"})
      ->Iterations(1)
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
  for (const int threads : {1, 2}) {
    b->Args({1024, 128, 0, threads})->Args({4096, 128, 0, threads})->Args({4096, 64, 0, threads});
    b->Args({16384, 128, 16, threads})->Args({4096, 128, 4, threads});
  }
}

BENCHMARK_CAPTURE(BM_Forward, textbook_bf16p, "textbook-bf16p")->Apply(Shapes);
BENCHMARK_CAPTURE(BM_Forward, textbook, "textbook")->Apply(Shapes);

}  // namespace
}  // namespace bitanchor

BENCHMARK_MAIN();
