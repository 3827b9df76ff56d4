// What memory allows here: memcpy, timed in turn with the operation that is compared with it, so
// that both see the same machine.
#ifndef BITANCHOR_BENCH_COPY_RATE_H_
#define BITANCHOR_BENCH_COPY_RATE_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <vector>

#include "simd/options.h"
#include "simd/parallel.h"

namespace bitanchor::bench {

inline double SecondsNow() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// One memcpy for each thread, each its slice.
inline void Copy(const std::byte* in, size_t bytes, int threads, std::byte* out) {
  simd::EngineOptions options;
  options.threads = threads;
  const size_t slice = (bytes / static_cast<size_t>(threads) + 63) / 64 * 64;
  simd::ParallelFor(options, threads, [&](int64_t task, int /*worker*/) {
    const size_t begin = std::min(bytes, static_cast<size_t>(task) * slice);
    std::memcpy(out + begin, in + begin, std::min(slice, bytes - begin));
  });
}

struct Rates {
  double operation = 0;  // GB/s, bytes read and bytes written both counted
  double of_copy = 0;    // over memcpy's GB/s: the median of the ratios of neighbouring runs
};

// Medians of `repeats` runs of operation(), which reads and writes `operation_bytes` in all, and of
// as many copies of `copy_bytes` from `in` to `out`.
template <typename Operation>
Rates InTurn(int repeats, size_t operation_bytes, const Operation& operation, const std::byte* in,
             size_t copy_bytes, int threads, std::byte* out) {
  std::vector<double> rates, ratios;
  for (int n = 0; n < repeats + 1; ++n) {
    double start = SecondsNow();
    operation();
    const double rate = static_cast<double>(operation_bytes) / (SecondsNow() - start) / 1e9;
    start = SecondsNow();
    Copy(in, copy_bytes, threads, out);
    const double copy_rate = 2 * static_cast<double>(copy_bytes) / (SecondsNow() - start) / 1e9;
    if (n == 0) continue;  // pages touched, threads started
    rates.push_back(rate);
    ratios.push_back(rate / copy_rate);
  }
  return {Median(rates), Median(ratios)};
}

}  // namespace bitanchor::bench

#endif  // BITANCHOR_BENCH_COPY_RATE_H_
