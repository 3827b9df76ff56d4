#include "lib/problem/chunks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <vector>

namespace bitanchor {
namespace {

using Cuts = std::vector<int64_t>;

constexpr int64_t kDraws = 20000;

TEST(Chunks, CutsStayWhereTheyMay) {
  for (const int64_t length : {64, 65, 79, 100, 511, 2047, 2048}) {
    SCOPED_TRACE(length);
    const int64_t low = length / 5, high = length * 4 / 5;
    std::set<int64_t> singles, firsts, gaps, lasts;
    int64_t of_two = 0, widest = 0;
    for (int64_t n = 0; n < kDraws; ++n) {
      const Cuts cuts = DrawCuts(length, 11, n / 100, n % 100);
      ASSERT_TRUE(cuts.size() == 1 || cuts.size() == 2);
      if (cuts.size() == 1) {
        ++of_two;
        singles.insert(cuts[0]);
      } else {
        firsts.insert(cuts[0]);
        gaps.insert(cuts[1] - cuts[0]);
        lasts.insert(cuts[1]);
        widest = std::max(widest, cuts[1] - cuts[0]);
      }
    }
    // A fair coin: 5 standard deviations of kDraws throws.
    EXPECT_NEAR(static_cast<double>(of_two), kDraws / 2, 5 * std::sqrt(kDraws) / 2);
    EXPECT_GE(*singles.begin(), low);
    EXPECT_LT(*singles.rbegin(), high);
    EXPECT_GE(*firsts.begin(), low);
    EXPECT_LE(*firsts.rbegin(), high - 12);
    EXPECT_EQ(*gaps.begin(), 12);
    EXPECT_LE(*lasts.rbegin(), high);
    if (length > 100) continue;  // of short ones every place is met
    EXPECT_EQ(static_cast<int64_t>(singles.size()), high - low);
    EXPECT_EQ(static_cast<int64_t>(firsts.size()), high - 12 - low + 1);
    EXPECT_EQ(*lasts.rbegin(), high);
    if (length <= 65) {  // both ends at once: one draw in some 1600
      EXPECT_EQ(widest, high - low);
    }
  }
}

TEST(Chunks, ShortAndLongDocumentsStayWhole) {
  for (const int64_t length : {1, 2, 63, 2049, 100000})
    EXPECT_TRUE(DrawCuts(length, 1, 0, 0).empty());
}

TEST(Chunks, DrawsDependOnAllTheirKeys) {
  const Cuts cuts = DrawCuts(2000, 1, 2, 3);
  EXPECT_EQ(DrawCuts(2000, 1, 2, 3), cuts);
  EXPECT_NE(DrawCuts(2000, 2, 2, 3), cuts);
  EXPECT_NE(DrawCuts(2000, uint64_t{1} << 32 | 1, 2, 3), cuts);
  EXPECT_NE(DrawCuts(2000, 1, 3, 3), cuts);
  EXPECT_NE(DrawCuts(2000, 1, 2, 2), cuts);
}

// Two documents of two chunks and one of one: 5! / (2! 2!) = 30 orders, each as often as another to
// within 5 standard deviations of a binomial count.
TEST(Chunks, EveryOrderIsAsLikely) {
  std::map<Cuts, int64_t> counts;
  for (uint64_t seed = 0; seed < kDraws; ++seed) {
    Cuts order;
    std::map<int64_t, int64_t> next;
    for (const Chunk& chunk : InterleavedOrder({10, 20, 30}, {{4}, {}, {7}}, seed, 5)) {
      ASSERT_EQ(chunk.begin, next[chunk.document]);
      next[chunk.document] += chunk.length;
      order.push_back(chunk.document);
    }
    ASSERT_EQ(next, (std::map<int64_t, int64_t>{{0, 10}, {1, 20}, {2, 30}}));
    ++counts[order];
  }
  ASSERT_EQ(counts.size(), 30u);
  const double mean = kDraws / 30.0, sigma = std::sqrt(mean * 29 / 30);
  for (const auto& [order, count] : counts) {
    EXPECT_NEAR(static_cast<double>(count), mean, 5 * sigma);
  }
}

}  // namespace
}  // namespace bitanchor
