// RoPE and the conversion to bf16 against memcpy, timed in turn in the same run. Bits are verified
// before anything is timed. Counters: GBs, bytes read and written; of_memcpy, the share of memcpy's
// GB/s over the same number of bytes. Medians of 31.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "bench/copy_rate.h"
#include "lib/number/format.h"
#include "lib/problem/generate.h"
#include "lib/scalar/rope.h"
#include "simd/convert.h"
#include "simd/rope.h"

namespace bitanchor {
namespace {

constexpr int kRepeats = 31;

// Bytes on a cache line's boundary, as allocators of tensors give.
class Bytes {
 public:
  explicit Bytes(size_t size)
      : size_(size), data_(static_cast<std::byte*>(std::aligned_alloc(64, (size + 63) / 64 * 64))) {
    std::memset(data_, 0, size);
  }
  ~Bytes() { std::free(data_); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  size_t size_;
  std::byte* data_;
};

size_t SizeBytes(DType dtype, const Shape4& shape) {
  return DTypeBytes(dtype) * static_cast<size_t>(shape[0] * shape[1] * shape[2] * shape[3]);
}

struct Rotation {
  RopeConfig config;
  const RopeRecipe& recipe;
  DType dtype;
  Shape4 shape;
  Bytes in, out;
  std::vector<int64_t> positions;

  Rotation(const char* name, RopePairing pairing, DType dtype_, const Shape4& shape_)
      : recipe(*FindRopeRecipe(name)),
        dtype(dtype_),
        shape(shape_),
        in(SizeBytes(dtype_, shape_)),
        out(SizeBytes(dtype_, shape_)) {
    config.recipe = name;
    config.pairing = pairing;
    config.rotary_dim = shape[3];
    config.rope_theta = 500000;
    FillGen1(1, Gen1Tensor::kQ, DenseView(dtype, in.data(), shape));
    for (int64_t s = 0; s < shape[1]; ++s) positions.push_back(s);
  }

  void Run(int threads) {
    simd::EngineOptions options;
    options.threads = threads;
    simd::ApplyRope(config, recipe, DenseView<const std::byte>(dtype, in.data(), shape), positions,
                    options, DenseView(dtype, out.data(), shape));
  }
};

[[noreturn]] void WrongBits() {
  std::fprintf(stderr, "the engine's bits are not the definition's: nothing is timed\n");
  std::exit(1);
}

void VerifyRope(const char* name, RopePairing pairing, DType dtype, int64_t D) {
  Rotation rotation(name, pairing, dtype, {1, 300, 3, D});
  rotation.Run(1);
  Bytes want(rotation.out.size());
  scalar::ApplyRope(rotation.config, rotation.recipe,
                    DenseView<const std::byte>(dtype, rotation.in.data(), rotation.shape),
                    rotation.positions, DenseView(dtype, want.data(), rotation.shape));
  if (std::memcmp(want.data(), rotation.out.data(), want.size()) != 0) WrongBits();
}

void Report(benchmark::State& state, const bench::Rates& rates) {
  state.counters["GBs"] = rates.operation;
  state.counters["of_memcpy"] = rates.of_copy;
}

void BM_Rope(benchmark::State& state, const char* recipe, RopePairing pairing, DType dtype) {
  const int64_t H = state.range(0), D = state.range(1);
  const int threads = static_cast<int>(state.range(2));
  VerifyRope(recipe, pairing, dtype, D);
  Rotation rotation(recipe, pairing, dtype, {1, 8192, H, D});
  Bytes copied(rotation.in.size());
  bench::Rates rates;
  for (auto _ : state) {
    rates = bench::InTurn(
        kRepeats, 2 * rotation.in.size(), [&] { rotation.Run(threads); }, rotation.in.data(),
        rotation.in.size(), threads, copied.data());
  }
  Report(state, rates);
}

void BM_RoundToBF16(benchmark::State& state) {
  const size_t count = static_cast<size_t>(state.range(0));
  simd::EngineOptions options;
  options.threads = static_cast<int>(state.range(1));
  Bytes in(4 * count), out(2 * count);
  float* const x = reinterpret_cast<float*>(in.data());
  uint16_t* const y = reinterpret_cast<uint16_t*>(out.data());
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (size_t i = 0; i < count; ++i) x[i] = normal(random);
  simd::RoundToBF16({x, count}, {y, count}, options);
  for (size_t i = 0; i < count; ++i) {
    if (y[i] != ToBF16(x[i]).bits) WrongBits();
  }
  // memcpy of 3/4 of the input reads and writes as many bytes in all.
  Bytes copied(3 * count);
  bench::Rates rates;
  for (auto _ : state) {
    rates = bench::InTurn(
        kRepeats, 6 * count,
        [&] {
          simd::RoundToBF16({x, count}, {y, count}, options);
        },
        in.data(), 3 * count, options.threads, copied.data());
  }
  Report(state, rates);
}

void Shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"H", "D", "threads"})->Iterations(1)->Unit(benchmark::kMillisecond)->UseRealTime();
  for (const int threads : {1, simd::Workers({})}) {
    for (const int H : {8, 32}) {
      for (const int D : {64, 128}) b->Args({H, D, threads});
    }
  }
}

constexpr RopePairing kHalf = RopePairing::kHalf, kInterleaved = RopePairing::kInterleaved;
BENCHMARK_CAPTURE(BM_Rope, bf16_3r_half, "hf-llama", kHalf, DType::kBF16)->Apply(Shapes);
BENCHMARK_CAPTURE(BM_Rope, bf16_3r_interleaved, "hf-llama", kInterleaved, DType::kBF16)
    ->Apply(Shapes);
BENCHMARK_CAPTURE(BM_Rope, bf16_1r_half, "transformer-engine", kHalf, DType::kBF16)->Apply(Shapes);
BENCHMARK_CAPTURE(BM_Rope, bf16_1r_interleaved, "meta-llama", kInterleaved, DType::kBF16)
    ->Apply(Shapes);
BENCHMARK_CAPTURE(BM_Rope, bf16_1r_fma_half, "gemma-cpp", kHalf, DType::kBF16)->Apply(Shapes);
BENCHMARK_CAPTURE(BM_Rope, f32_half, "transformer-engine", kHalf, DType::kF32)->Apply(Shapes);
BENCHMARK_CAPTURE(BM_Rope, f32_interleaved, "meta-llama", kInterleaved, DType::kF32)->Apply(Shapes);
BENCHMARK_CAPTURE(BM_Rope, f16_3r_half, "hf-llama", kHalf, DType::kF16)->Apply(Shapes);

BENCHMARK(BM_RoundToBF16)
    ->ArgNames({"elements", "threads"})
    ->Args({1 << 25, 1})
    ->Args({1 << 25, simd::Workers({})})
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace bitanchor

BENCHMARK_MAIN();
