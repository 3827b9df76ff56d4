// Rows in which mistakes show: where documents start and end, at the edges of blocks, the last
// ones, and a spread.
#ifndef BITANCHOR_TOOLS_TELLING_ROWS_H_
#define BITANCHOR_TOOLS_TELLING_ROWS_H_

#include <cstdint>
#include <vector>

#include "lib/exact/mistaken_attention.h"
#include "lib/problem/attention_problem.h"

namespace bitanchor::tools {

// At most `most` rows of o, all different, of all heads alike; the same ones for the same problem.
std::vector<exact::RowPlace> TellingRows(const AttentionProblem& problem, size_t most);

// Likewise, but a fair sample: for what is said of all rows on average.
std::vector<exact::RowPlace> SpreadRows(const AttentionProblem& problem, size_t most);

// At most n of `from`, in its order, the first and the last among them.
template <typename T>
std::vector<T> Evenly(const std::vector<T>& from, size_t n) {
  if (from.size() <= n) return from;
  std::vector<T> chosen;
  for (size_t k = 0; k < n; ++k)
    chosen.push_back(from[k * (from.size() - 1) / (n > 1 ? n - 1 : 1)]);
  return chosen;
}

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_TELLING_ROWS_H_
