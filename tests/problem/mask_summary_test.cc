#include "lib/problem/mask_summary.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/problem/brute_force.h"

namespace bitanchor {
namespace {

// Blocks with a visible pair, counted pair by pair.
int64_t VisitedByCounting(const Mask& mask, int64_t b, int64_t block_q, int64_t block_k) {
  std::set<std::pair<int64_t, int64_t>> visited;
  for (int64_t i = 0; i < mask.Sq; ++i) {
    for (const int64_t j : test::KeysSeen(mask, b, i)) visited.insert({i / block_q, j / block_k});
  }
  return static_cast<int64_t>(visited.size());
}

TEST(MaskSummary, IsTheBruteForceCount) {
  int64_t blind = 0, unseen = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::mt19937_64 random(seed);
    const Mask mask = test::RandomMask(random, 50);
    const int64_t block_q = test::Pick(random, 1, 20), block_k = test::Pick(random, 1, 20);
    const int64_t b = mask.B - 1;
    const MaskSummary got =
        Summarise(mask, b, block_q, block_k, MapBlocks(mask, b, block_q, block_k));
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < mask.Sq; ++i) rows.push_back(test::KeysSeen(mask, b, i).size());
    const std::string says = std::to_string(seed) + ": " + test::Describe(mask);
    EXPECT_EQ(got.pairs, mask.Sq * mask.Skv) << says;
    EXPECT_EQ(got.work.kept_pairs, std::accumulate(rows.begin(), rows.end(), int64_t{0})) << says;
    EXPECT_EQ(got.work.visited_blocks, VisitedByCounting(mask, b, block_q, block_k)) << says;
    EXPECT_EQ(got.dense.kept_pairs, got.pairs) << says;
    EXPECT_EQ(got.blind_queries, std::count(rows.begin(), rows.end(), 0)) << says;
    ASSERT_EQ(got.first_blind.has_value(), got.blind_queries > 0) << says;
    if (got.first_blind) {
      EXPECT_EQ(*got.first_blind, std::find(rows.begin(), rows.end(), 0) - rows.begin()) << says;
    }
    blind += got.blind_queries;
    unseen += got.work.kept_pairs == 0;
    ASSERT_EQ(got.dense_causal.has_value(), mask.spec.causal) << says;
    if (!mask.spec.causal) continue;
    Mask dense = mask;
    dense.spec = {MaskRule::kFull, true, std::nullopt, mask.spec.corner};
    EXPECT_EQ(got.dense_causal->visited_blocks, VisitedByCounting(dense, b, block_q, block_k))
        << says;
    EXPECT_LE(got.work.kept_pairs, got.dense_causal->kept_pairs) << says;
  }
  EXPECT_GT(blind, 100);  // both were really met
  EXPECT_GT(unseen, 0);
}

TEST(MaskSummary, DocumentsAndAnchors) {
  Mask mask{{MaskRule::kAnchor}, 1, 6, 6, {0, 1, 1, 2, 1, 0}, {0, 1, 1, 2, 1, 0}};
  MaskSummary got = Summarise(mask, 0, 2, 2, MapBlocks(mask, 0, 2, 2));
  EXPECT_EQ(got.documents, 2);  // document 1 lies in two pieces
  EXPECT_EQ(got.anchors, 2);
  mask.spec.rule = MaskRule::kDocument;  // 0 is an id like any other
  got = Summarise(mask, 0, 2, 2, MapBlocks(mask, 0, 2, 2));
  EXPECT_EQ(got.documents, 3);
  EXPECT_EQ(got.anchors, 0);
}

TEST(MaskSummary, SpeedUp) {
  EXPECT_EQ(SpeedUp(10, 4), 2.5);
  EXPECT_EQ(SpeedUp(10, 0), std::nullopt);
}

}  // namespace
}  // namespace bitanchor
