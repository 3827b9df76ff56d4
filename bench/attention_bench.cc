// Attention against what this machine can do, measured in the same run. The problems stand
// in attention_shapes.txt; the engine's bits are verified against the definition before anything is
// timed. NAME/backward is the backward pass alone, given what it needs of the forward pass.
// Counters (a pair that a query sees counts 4 D floating-point operations, backward 10 D):
//   GFs           the median of a few runs, of which there were
//   runs
//   of_fma_peak   its share of the target's f32 FMA rate, times the threads
//   of_dot_peak   of the VDPBF16PS rate
//   of_mixed      forward: of the time that q.k at the VDPBF16PS rate and p.v at the FMA rate would
//                 take
//   of_causal     documents: rate over that of causal attention at the documents' own length
//   peak_MB       the most memory (2^20 bytes, resident) beyond inputs, outputs and what else the
//                 process held, in a run before the timed ones
//   GBs, of_read  few queries: bytes of k and v per second, and their share of the reading
//   bandwidth
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "bench/peak_memory.h"
#include "bench/peaks.h"
#include "lib/problem/blocks.h"
#include "lib/problem/generate.h"
#include "lib/scalar/attention.h"
#include "simd/attention.h"
#include "simd/targets.h"

namespace bitanchor {
namespace {

struct Shape {
  std::string name, dtype, recipe, target;
  int64_t Sq, Skv, Hq, Hkv, D, documents;
  bool backward = false;

  bool Decode() const { return Sq < 16; }
};

simd::EngineOptions Options(const Shape& s, int threads) {
  simd::EngineOptions options;
  options.threads = threads;
  if (s.target != "-") options.target = simd::TargetFromName(s.target);
  return options;
}

struct Problem {
  std::vector<std::byte> q, k, v, o;
  std::vector<float> lse;
  AttentionProblem problem;
  // Of a backward pass.
  std::vector<std::byte> dout, dq, dk, dv;
  simd::AttentionRows rows;

  explicit Problem(const Shape& s) {
    const DType dtype = s.dtype == "f32" ? DType::kF32 : DType::kBF16;
    problem.shape = {1, s.Sq, s.Skv, s.Hq, s.Hkv, s.D};
    problem.dtype = dtype;
    problem.softmax_scale = DefaultSoftmaxScale(s.D);
    const auto fill = [&](std::vector<std::byte>& tensor, Gen1Tensor which, const Shape4& shape) {
      tensor.resize(shape[1] * shape[2] * shape[3] * DTypeBytes(dtype));
      FillGen1(1, which, DenseView(dtype, tensor.data(), shape));
      return DenseView<const std::byte>(dtype, tensor.data(), shape);
    };
    problem.q = fill(q, Gen1Tensor::kQ, {1, s.Sq, s.Hq, s.D});
    problem.k = fill(k, Gen1Tensor::kK, {1, s.Skv, s.Hkv, s.D});
    problem.v = fill(v, Gen1Tensor::kV, {1, s.Skv, s.Hkv, s.D});
    o.resize(q.size());
    lse.resize(s.Hq * s.Sq);
    Mask& mask = problem.mask;
    mask.B = 1;
    mask.Sq = s.Sq;
    mask.Skv = s.Skv;
    mask.spec.corner = Corner::kBottomRight;
    if (s.documents > 0) {
      mask.spec.rule = MaskRule::kAnchor;
      for (int64_t j = 0; j < s.Skv; ++j)
        mask.k_ids.push_back(j == 0 ? 0 : 1 + j * s.documents / s.Skv);
      mask.q_ids = mask.k_ids;
    }
    if (!s.backward) return;
    fill(dout, Gen1Tensor::kDo, {1, s.Sq, s.Hq, s.D});
    dq.resize(q.size());
    dk.resize(k.size());
    dv.resize(v.size());
    rows = simd::AttentionForwardRows(problem, *FindAttentionRecipe(s.recipe), Options(s, 0));
  }

  TensorView Dout() const { return DenseView(problem.dtype, dout.data(), problem.q.shape); }
  AttentionGradients Gradients() {
    return {DenseView(problem.dtype, dq.data(), problem.q.shape),
            DenseView(problem.dtype, dk.data(), problem.k.shape),
            DenseView(problem.dtype, dv.data(), problem.v.shape)};
  }
  // All that a run wrote.
  std::vector<std::byte> Answer() const {
    std::vector<std::byte> all = o;
    const auto* bytes = reinterpret_cast<const std::byte*>(lse.data());
    all.insert(all.end(), bytes, bytes + lse.size() * sizeof(float));
    for (const auto* part : {&dq, &dk, &dv}) all.insert(all.end(), part->begin(), part->end());
    return all;
  }

  MutableTensorView Output() {
    return DenseView<std::byte>(problem.dtype, o.data(), problem.q.shape);
  }
  double Flops() const {
    return (dout.empty() ? 4.0 : 10.0) *
           static_cast<double>(CountVisible(problem.mask, 0) * problem.shape.D * problem.shape.Hq);
  }
  double KeyBytes() const { return static_cast<double>(k.size() + v.size()); }
};

double Seconds(Problem& problem, const Shape& s, int threads) {
  const simd::EngineOptions options = Options(s, threads);
  const AttentionRecipe& recipe = *FindAttentionRecipe(s.recipe);
  const auto start = std::chrono::steady_clock::now();
  if (s.backward) {
    simd::AttentionBackward(problem.problem, recipe, options, problem.rows, problem.Dout(),
                            problem.Gradients());
  } else {
    simd::AttentionForward(problem.problem, recipe, options, problem.Output(), problem.lse.data());
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Of a few runs, ascending.
std::vector<double> SortedSeconds(Problem& problem, const Shape& s, int threads) {
  std::vector<double> seconds = {Seconds(problem, s, threads)};
  const int runs = seconds[0] > 10 ? 1 : 7;
  while (static_cast<int>(seconds.size()) < runs) seconds.push_back(Seconds(problem, s, threads));
  std::sort(seconds.begin(), seconds.end());
  return seconds;
}

double MedianSeconds(const std::vector<double>& sorted) { return sorted[sorted.size() / 2]; }

// A small relative of the problem: the same recipe, dtype, target and kind of mask.
void VerifyBits(Shape s) {
  s.Skv = 300;
  s.Sq = s.Decode() ? s.Sq : 300;
  s.Hq = 2 * (s.Hq / s.Hkv);
  s.Hkv = 2;
  Problem problem(s);
  Seconds(problem, s, 1);
  const std::vector<std::byte> got = problem.Answer();
  const AttentionRecipe& recipe = *FindAttentionRecipe(s.recipe);
  if (s.backward) {
    scalar::AttentionBackward(problem.problem, recipe, problem.Dout(), problem.Gradients());
  } else {
    scalar::AttentionForward(problem.problem, recipe, problem.Output(), problem.lse.data());
  }
  if (got == problem.Answer()) return;
  std::fprintf(stderr, "%s: the engine's bits are not the definition's: nothing is timed\n",
               s.name.c_str());
  std::exit(1);
}

void Run(benchmark::State& state, const Shape& s, int threads) {
  VerifyBits(s);
  Problem problem(s);
  const int64_t target = s.target == "-" ? 0 : simd::TargetFromName(s.target);
  std::vector<double> runs;
  const double peak_mb = bench::PeakGrowthMB([&] { Seconds(problem, s, threads); });
  for (auto _ : state) {
    runs = SortedSeconds(problem, s, threads);
    state.SetIterationTime(MedianSeconds(runs));
  }
  const double seconds = MedianSeconds(runs);
  const double gfs = problem.Flops() / seconds / 1e9;
  const double fma = threads * bench::FmaPeakGFs(target), dot = threads * bench::DotPeakGFs();
  state.SetLabel(simd::RunningTarget(target));
  state.counters["GFs"] = gfs;
  state.counters["runs"] = static_cast<double>(runs.size());
  state.counters["peak_MB"] = peak_mb;
  state.counters["of_fma_peak"] = gfs / fma;
  if (dot > 0) {
    state.counters["of_dot_peak"] = gfs / dot;
    if (!s.backward) state.counters["of_mixed"] = gfs * (0.5 / dot + 0.5 / fma);
  }
  if (s.documents > 0) {
    Shape causal = s;
    causal.Sq = causal.Skv = s.Skv / s.documents;
    causal.documents = 0;
    Problem short_problem(causal);
    const double rate =
        short_problem.Flops() / MedianSeconds(SortedSeconds(short_problem, causal, threads)) / 1e9;
    state.counters["of_causal"] = gfs / rate;
  }
  if (s.Decode()) {
    const double rate = problem.KeyBytes() / seconds / 1e9;
    state.counters["GBs"] = rate;
    state.counters["of_read"] = rate / bench::ReadGBs(threads);
  }
}

std::vector<Shape> ReadShapes(const char* path) {
  std::ifstream file(path);
  if (!file) {
    std::fprintf(stderr, "%s: cannot be read\n", path);
    std::exit(2);
  }
  std::vector<Shape> shapes;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream in(line);
    Shape s;
    in >> s.name >> s.Sq >> s.Skv >> s.Hq >> s.Hkv >> s.D >> s.dtype >> s.documents >> s.recipe >>
        s.target;
    if (!in || FindAttentionRecipe(s.recipe) == nullptr) {
      std::fprintf(stderr, "%s: not a shape: %s\n", path, line.c_str());
      std::exit(2);
    }
    if (s.target != "-" && simd::TargetFromName(s.target) == 0) {
      std::fprintf(stderr, "%s: this CPU has no target %s: left out\n", s.name.c_str(),
                   s.target.c_str());
      continue;
    }
    shapes.push_back(s);
  }
  return shapes;
}

}  // namespace
}  // namespace bitanchor

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::vector<bitanchor::Shape> shapes;
  for (const bitanchor::Shape& shape : bitanchor::ReadShapes(BITANCHOR_SHAPES)) {
    shapes.push_back(shape);
    // What the forward pass shows at lengths and levels like these, it shows for both.
    if (shape.Decode() || shape.Skv > 20000 || shape.target == "SSE4") continue;
    shapes.push_back(shape);
    shapes.back().backward = true;
  }
  for (const bitanchor::Shape& shape : shapes) {
    for (const int threads : {1, cores}) {
      const std::string name =
          shape.name + (shape.backward ? "/backward" : "") + "/threads:" + std::to_string(threads);
      benchmark::RegisterBenchmark(
          name.c_str(),
          [shape, threads](benchmark::State& state) { bitanchor::Run(state, shape, threads); })
          ->Iterations(1)
          ->UseManualTime()
          ->Unit(benchmark::kMillisecond);
      if (cores == 1) break;
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
