// Which rows of an output are judged, and by whom in parallel.
#ifndef BITANCHOR_TOOLS_JUDGE_ROWS_H_
#define BITANCHOR_TOOLS_JUDGE_ROWS_H_

#include <array>
#include <cstdint>
#include <vector>

#include "lib/file/capture.h"
#include "lib/recipe/interval.h"
#include "lib/verdict/census.h"
#include "simd/options.h"
#include "simd/parallel.h"

namespace bitanchor::tools {

struct SampleOptions {
  // Rows (a token of a head) of o, lse, delta and each gradient that are judged; 0: all. RoPE is
  // judged whole.
  int64_t rows = 0;
  uint64_t seed = 0;
};

// Consecutive tokens of one head.
struct RowBlock {
  int64_t b, h, s0, rows;
};

// The rows of a tensor [B, S, H, D] that `sample` asks for.
std::vector<RowBlock> RowBlocks(int64_t B, int64_t H, int64_t S, const SampleOptions& sample);

// Runs tasks, each with a census per output of its own, and merges them; the order does not matter
// to a Census.
template <size_t N, typename Body>
std::array<Census, N> Judged(const simd::EngineOptions& options, int64_t tasks,
                             const std::array<Census, N>& empty, const Body& body) {
  std::vector<std::array<Census, N>> partial(simd::Workers(options), empty);
  simd::ParallelFor(options, tasks, [&](int64_t task, int worker) { body(task, partial[worker]); });
  std::array<Census, N> merged = empty;
  for (const auto& part : partial) {
    for (size_t n = 0; n < N; ++n) merged[n].Merge(part[n]);
  }
  return merged;
}

// body(b, h, s, censuses) for every row of the blocks, in parallel.
template <size_t N, typename Body>
std::array<Census, N> JudgedRows(const simd::EngineOptions& options,
                                 const std::vector<RowBlock>& blocks,
                                 const std::array<Census, N>& empty, const Body& body) {
  return Judged<N>(options, static_cast<int64_t>(blocks.size()), empty,
                   [&](int64_t task, std::array<Census, N>& mine) {
                     const auto& [b, h, s0, rows] = blocks[task];
                     for (int64_t s = s0; s < s0 + rows; ++s) body(b, h, s, mine);
                   });
}

// The kernel's LSE as a natural, scaled one with -inf for rows that see nothing. An empty row must
// hold the value that the capture says empty rows have.
float NaturalLse(const LseSpec& spec, float got, float scale, bool row_is_empty);

// How far that may be from what the kernel meant, relative to its size: converting costs it and us
// a rounding or two more.
double LseConversion(const LseSpec& spec);
void WidenForConversion(const LseSpec& spec, Interval& lse);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_JUDGE_ROWS_H_
