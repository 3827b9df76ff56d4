#include "lib/problem/chunks.h"

#include <cassert>
#include <utility>

#include "lib/number/philox.h"

namespace bitanchor {
namespace {

constexpr int64_t kShortest = 64, kLongest = 2048;  // that are split
constexpr int64_t kGap = 12;                        // between two cuts
constexpr uint32_t kCuts = 16, kOrder = 17;         // counters that gen-1 has no use for

PhiloxCounter Draw(uint64_t seed, int64_t n, int64_t window, uint32_t purpose) {
  return Philox4x32({static_cast<uint32_t>(n), static_cast<uint32_t>(window), purpose, 0},
                    {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
}

int64_t Below(int64_t m, uint32_t word) {
  return static_cast<int64_t>(uint64_t{word} * static_cast<uint64_t>(m) >> 32);
}

}  // namespace

std::vector<int64_t> DrawCuts(int64_t length, uint64_t seed, int64_t window, int64_t document) {
  if (length < kShortest || length > kLongest) return {};
  const int64_t low = length / 5, high = 4 * length / 5;
  const PhiloxCounter words = Draw(seed, document, window, kCuts);
  if (Below(2, words[0]) == 0) return {low + Below(high - low, words[1])};
  const int64_t first = low + Below(high - kGap - low + 1, words[1]);
  return {first, first + kGap + Below(high - kGap - first + 1, words[2])};
}

std::vector<Chunk> InterleavedOrder(const std::vector<int64_t>& lengths,
                                    const std::vector<std::vector<int64_t>>& cuts, uint64_t seed,
                                    int64_t window) {
  assert(cuts.size() == lengths.size());
  std::vector<int64_t> order;
  for (size_t n = 0; n < lengths.size(); ++n) {
    order.insert(order.end(), cuts[n].size() + 1, static_cast<int64_t>(n));
  }
  for (int64_t i = static_cast<int64_t>(order.size()) - 1; i > 0; --i) {
    std::swap(order[i], order[Below(i + 1, Draw(seed, i, window, kOrder)[0])]);
  }
  std::vector<size_t> next(lengths.size(), 0);  // of each document, its next chunk
  std::vector<Chunk> chunks;
  for (const int64_t document : order) {
    const std::vector<int64_t>& of_document = cuts[document];
    const size_t n = next[document]++;
    const int64_t begin = n == 0 ? 0 : of_document[n - 1];
    const int64_t end = n == of_document.size() ? lengths[document] : of_document[n];
    chunks.push_back({document, begin, end - begin});
  }
  return chunks;
}

}  // namespace bitanchor
