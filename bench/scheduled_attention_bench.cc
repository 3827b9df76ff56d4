// A GPU's schedule replayed, beside the plain textbook forward pass of the same problem in the same
// run: causal, normal numbers. Rows are verified against the definition before anything is timed.
// GF/s count 4 D per pair that a query sees. Counters:
//   wall_s, cpu_s  of one replay: the clock's, and all threads' CPU time, which other programs'
//                  turns do not move; the best of a few
//   GFs_core       by cpu_s
//   textbook_GFs   the same of recipe textbook; times: how many of its times a replay takes
//   pinned         the share of o's elements whose set is one number
// NAME/rounded: special functions correctly rounded, so that nothing is a set.
#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "bench/copy_rate.h"
#include "lib/problem/generate.h"
#include "lib/replay/scheduled_attention.h"
#include "simd/attention.h"
#include "simd/parallel.h"
#include "simd/scheduled_attention.h"
#include "simd/targets.h"

namespace bitanchor {
namespace {

struct Problem {
  std::vector<std::byte> q, k, v, o;
  AttentionProblem attention;

  Problem(int64_t S, int64_t H, int64_t D, DType dtype) {
    const Shape4 shape = {1, S, H, D};
    attention.shape = {1, S, S, H, H, D};
    attention.dtype = dtype;
    const auto fill = [&](std::vector<std::byte>& bytes, Gen1Tensor which) {
      bytes.resize(static_cast<size_t>(2 * S * H * D));
      FillGen1(1, which, DenseView(dtype, bytes.data(), shape));
      return DenseView<const std::byte>(dtype, bytes.data(), shape);
    };
    attention.q = fill(q, Gen1Tensor::kQ);
    attention.k = fill(k, Gen1Tensor::kK);
    attention.v = fill(v, Gen1Tensor::kV);
    attention.softmax_scale = DefaultSoftmaxScale(D);
    attention.mask.B = 1;
    attention.mask.Sq = attention.mask.Skv = S;
    o.resize(q.size());
  }
  double Flop() const {
    const AttentionShape& shape = attention.shape;
    const double S = static_cast<double>(shape.Sq);
    return 4 * static_cast<double>(shape.D * shape.Hq) * S * (S + 1) / 2;
  }
  simd::ScheduledAnswer Replay(const Schedule& schedule, const replay::SpecialFunctions& functions,
                               const simd::EngineOptions& options) const {
    return ScheduledAttention(attention, schedule, functions, options);
  }
  void Textbook(const simd::EngineOptions& options) {
    AttentionForward(attention, *FindAttentionRecipe("textbook"), options,
                     DenseView(attention.dtype, o.data(), attention.q.shape), nullptr);
  }
};

double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Times {
  double wall = std::numeric_limits<double>::infinity(), cpu = wall;
};

template <typename Body>
Times BestOf(int repeats, const Body& body) {
  Times best;
  for (int n = 0; n < repeats; ++n) {
    const double wall = bench::SecondsNow(), cpu = CpuSeconds();
    body();
    best.wall = std::min(best.wall, bench::SecondsNow() - wall);
    best.cpu = std::min(best.cpu, CpuSeconds() - cpu);
  }
  return best;
}

// Some rows of the answer.
void Verify(const Problem& problem, const Schedule& schedule,
            const replay::SpecialFunctions& functions, const simd::ScheduledAnswer& got) {
  const AttentionShape& shape = problem.attention.shape;
  const DType dtype = problem.attention.dtype;
  const auto sequences = replay::SequencesOf(problem.attention, schedule);
  for (int64_t n = shape.Sq - 1; n >= 0; n -= shape.Sq / 5) {
    const int64_t h = n % shape.Hq;
    const auto want = AnswerOf(problem.attention, schedule, functions, sequences[0], h, n);
    for (int64_t d = 0; d < shape.D; ++d) {
      const size_t at = static_cast<size_t>((n * shape.Hq + h) * shape.D + d);
      const replay::Admissible& o = want.o[static_cast<size_t>(d)];
      const auto bits = [&](float x) {
        return dtype == DType::kBF16 ? ToBF16(x).bits : ToF16(x).bits;
      };
      if (got.o_low[at] == bits(o.low) && got.o_high[at] == bits(o.high)) continue;
      std::fprintf(stderr, "the engine's bits are not the definition's: nothing is timed\n");
      std::exit(1);
    }
  }
}

struct Setting {
  std::string schedule;
  DType dtype;
  int64_t S, H, D, target;
  int threads;
  bool rounded;
};

void BM_Replay(benchmark::State& state, const Setting& setting) {
  Problem problem(setting.S, setting.H, setting.D, setting.dtype);
  const Schedule& schedule = *FindSchedule(setting.schedule);
  simd::EngineOptions options;
  options.threads = setting.threads;
  options.target = setting.target;
  const replay::SpecialFunctions functions =
      setting.rounded ? replay::CorrectlyRounded() : replay::SpecialFunctions();
  const int repeats = setting.S > 1024 ? 2 : 5;
  const simd::ScheduledAnswer answer = problem.Replay(schedule, functions, options);
  Verify(problem, schedule, functions, answer);
  Times replay, textbook;
  for (auto _ : state) {
    replay = BestOf(repeats, [&] { problem.Replay(schedule, functions, options); });
    textbook = BestOf(repeats, [&] { problem.Textbook(options); });
  }
  int64_t pinned = 0;
  for (size_t n = 0; n < answer.o_low.size(); ++n) pinned += answer.o_low[n] == answer.o_high[n];
  state.counters["wall_s"] = replay.wall;
  state.counters["cpu_s"] = replay.cpu;
  state.counters["GFs_core"] = problem.Flop() / replay.cpu / 1e9;
  state.counters["textbook_GFs"] = problem.Flop() / textbook.cpu / 1e9;
  state.counters["times"] = replay.cpu / textbook.cpu;
  state.counters["pinned"] = static_cast<double>(pinned) / static_cast<double>(answer.o_low.size());
}

void Register(const Setting& setting) {
  const std::string name = setting.schedule + "/" + std::string(DTypeName(setting.dtype)) + "/" +
                           simd::RunningTarget(setting.target) + "/" + std::to_string(setting.S) +
                           "x" + std::to_string(setting.H) + "x" + std::to_string(setting.D) +
                           (setting.rounded ? "/rounded" : "") +
                           "/threads:" + std::to_string(setting.threads);
  benchmark::RegisterBenchmark(name.c_str(), BM_Replay, setting)
      ->Iterations(1)
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

void RegisterAll() {
  const int all = simd::Workers({});
  for (const std::string name : {"flash-attention-2/sm80", "flash-attention-2/sm90-mma"}) {
    Register({name, DType::kBF16, 4096, 8, 128, 0, all, false});
    Register({name, DType::kBF16, 4096, 8, 128, 0, all, true});
    Register({name, DType::kF16, 4096, 8, 128, 0, all, false});
    Register({name, DType::kBF16, 4096, 8, 64, 0, all, false});
    Register({name, DType::kBF16, 1024, 2, 128, 0, 1, false});
  }
  for (const simd::Target& target : simd::Targets()) {
    Register({"flash-attention-2/sm90-mma", DType::kBF16, 1024, 1, 128, target.bit, 1, false});
  }
}

}  // namespace
}  // namespace bitanchor

int main(int argc, char** argv) {
  bitanchor::RegisterAll();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
