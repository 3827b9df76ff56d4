// Matrix units on lanes against plain f32 FMA, timed in the same run. Bits are verified before
// anything is timed. Counters: GFs, 2 M N K a second; of_fma, the share of this core's FMA rate on
// the same target (times threads); of_definition, how many times the definition's rate. The best of
// seven, as FMA's rate is.
#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "bench/copy_rate.h"
#include "bench/peaks.h"
#include "simd/matrix_unit.h"
#include "simd/targets.h"

namespace bitanchor {
namespace {

using matrix_unit::MatMul;
using matrix_unit::Model;

constexpr int kRepeats = 7;

// Normal numbers.
struct Problem {
  std::vector<std::byte> a, b, d, undetermined;
  MatMul product;

  Problem(const Model& model, int64_t M, int64_t N, int64_t K) {
    std::mt19937 random(1);
    std::normal_distribution<double> normal;
    const size_t width = DTypeBytes(model.dtype);
    const auto fill = [&](std::vector<std::byte>& to, int64_t count) {
      to.resize(static_cast<size_t>(count) * width);
      for (size_t n = 0; n < to.size(); n += width) {
        const uint32_t bits = RoundBits(model.format, normal(random), Rounding::kNearestEven, 0);
        std::memcpy(&to[n], &bits, width);
      }
    };
    fill(a, M * K);
    fill(b, K * N);
    d.resize(static_cast<size_t>(M * N) * 4);
    undetermined.resize(static_cast<size_t>(M * N));
    product.model = &model;
    product.result = &model.f32;
    product.M = M;
    product.N = N;
    product.K = K;
    product.a = a.data();
    product.b = b.data();
  }
  double Flop() const {
    return 2.0 * static_cast<double>(product.M) * static_cast<double>(product.N) *
           static_cast<double>(product.K);
  }
  void Run(const simd::EngineOptions& options) {
    simd::MatMul(product, options, d.data(), undetermined.data());
  }
  void Define() {
    PredictBlock(product, {0, 0, 0, product.M, product.N}, d.data(), undetermined.data());
  }
};

double ThreadSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// One thread's by its own clock, which other programs' turns do not move.
template <typename Body>
double BestSeconds(int repeats, int threads, const Body& body) {
  double (*const now)() = threads == 1 ? &ThreadSeconds : &bench::SecondsNow;
  double best = std::numeric_limits<double>::infinity();
  for (int n = 0; n < repeats; ++n) {
    const double start = now();
    body();
    best = std::min(best, now() - start);
  }
  return best;
}

// The definition's GF/s, on one thread.
double Verify(const Model& model, const simd::EngineOptions& options) {
  Problem problem(model, 40, 150, 300);
  const double seconds = BestSeconds(1, 1, [&] { problem.Define(); });
  const std::vector<std::byte> want = problem.d;
  problem.Run(options);
  if (problem.d != want) {
    std::fprintf(stderr, "the engine's bits are not the definition's: nothing is timed\n");
    std::exit(1);
  }
  return problem.Flop() / seconds / 1e9;
}

void BM_MatrixUnit(benchmark::State& state, const Model& model, int64_t target, int64_t size,
                   int threads) {
  simd::EngineOptions options;
  options.threads = threads;
  options.target = target;
  const double definition = Verify(model, options);
  Problem problem(model, size, size, size);
  double rate = 0, fma = 0;
  for (auto _ : state) {
    fma = bench::FmaPeakGFs(target) * threads;
    rate = problem.Flop() / BestSeconds(kRepeats, threads, [&] { problem.Run(options); }) / 1e9;
    fma = std::max(fma, bench::FmaPeakGFs(target) * threads);
  }
  state.counters["GFs"] = rate;
  state.counters["of_fma"] = rate / fma;
  state.counters["fma_GFs"] = fma;
  state.counters["of_definition"] = rate / definition;
}

void Register(const std::string& unit, DType dtype, int64_t target, int64_t size, int threads) {
  const Model& model = *matrix_unit::FindModel(unit, dtype);
  const std::string name = unit + "/" + std::string(model.input) + "/" +
                           simd::RunningTarget(target) + "/" + std::to_string(size) +
                           "/threads:" + std::to_string(threads);
  benchmark::RegisterBenchmark(name.c_str(), BM_MatrixUnit, model, target, size, threads)
      ->Iterations(1)
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

void RegisterAll() {
  for (const int threads : {1, simd::Workers({})}) {
    for (const int64_t size : {256, 1024}) Register("hopper", DType::kBF16, 0, size, threads);
  }
  for (const char* unit : {"volta", "ampere", "hopper"}) Register(unit, DType::kF16, 0, 1024, 1);
  for (const char* unit : {"ampere", "hopper"}) Register(unit, DType::kF32, 0, 1024, 1);
  for (const simd::Target& target : simd::Targets()) {
    Register("hopper", DType::kBF16, target.bit, 256, 1);
  }
}

}  // namespace
}  // namespace bitanchor

int main(int argc, char** argv) {
  bitanchor::RegisterAll();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
