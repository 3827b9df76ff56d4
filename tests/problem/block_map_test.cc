#include "lib/problem/block_map.h"

#include <gtest/gtest.h>

#include <numeric>

#include "lib/problem/layout.h"
#include "tests/problem/brute_force.h"

namespace bitanchor {
namespace {

using test::KeysSeen;
using test::RandomMask;

TEST(BlockMap, CountsAndRowsAreTheBruteForceOnes) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::mt19937_64 random(seed);
    const Mask mask = RandomMask(random, seed % 8 == 0 ? 150 : 40);
    const int64_t block_q = test::Pick(random, 1, 20), block_k = test::Pick(random, 1, 20);
    for (int64_t b = 0; b < mask.B; ++b) {
      std::vector<int64_t> want_rows;
      // visible[q][k]: pairs seen in block (q, k).
      const int64_t Mq = (mask.Sq + block_q - 1) / block_q, Mk = (mask.Skv + block_k - 1) / block_k;
      std::vector<int64_t> visible(Mq * Mk, 0);
      for (int64_t i = 0; i < mask.Sq; ++i) {
        const std::set<int64_t> keys = KeysSeen(mask, b, i);
        want_rows.push_back(static_cast<int64_t>(keys.size()));
        for (const int64_t j : keys) ++visible[i / block_q * Mk + j / block_k];
      }
      EXPECT_EQ(KeysSeenByQuery(mask, b), want_rows) << seed << ": " << test::Describe(mask);

      const BlockMap map = MapBlocks(mask, b, block_q, block_k);
      ASSERT_EQ(map.query_blocks, Mq);
      ASSERT_EQ(map.key_blocks, Mk);
      BlockCounts want;
      for (int64_t q = 0; q < Mq; ++q) {
        for (int64_t k = 0; k < Mk; ++k) {
          const int64_t pairs = (std::min((q + 1) * block_q, mask.Sq) - q * block_q) *
                                (std::min((k + 1) * block_k, mask.Skv) - k * block_k);
          const int64_t seen = visible[q * Mk + k];
          const BlockKind kind = seen == 0       ? BlockKind::kEmpty
                                 : seen == pairs ? BlockKind::kFull
                                                 : BlockKind::kPartial;
          ++(kind == BlockKind::kEmpty  ? want.empty
             : kind == BlockKind::kFull ? want.full
                                        : want.partial);
          ASSERT_EQ(map.At(q, k), kind) << seed << ": " << test::Describe(mask);
        }
      }
      const BlockCounts got = CountBlocks(map);
      EXPECT_EQ(got.full, want.full);
      EXPECT_EQ(got.partial, want.partial);
      EXPECT_EQ(got.empty, want.empty);
      EXPECT_EQ(got.All(), Mq * Mk);
    }
  }
}

TEST(BlockMap, CoarsenedIsTheMapOfLargerBlocks) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::mt19937_64 random(seed);
    const Mask mask = RandomMask(random, 60);
    const int64_t block_q = test::Pick(random, 1, 5), block_k = test::Pick(random, 1, 5);
    const BlockMap fine = MapBlocks(mask, 0, block_q, block_k);
    for (const int64_t by : {1, 2, 3, 7, 100}) {
      const BlockMap got = Coarsened(fine, by);
      const BlockMap want = MapBlocks(mask, 0, block_q * by, block_k * by);
      ASSERT_EQ(got.query_blocks, want.query_blocks);
      ASSERT_EQ(got.key_blocks, want.key_blocks);
      ASSERT_EQ(got.kinds, want.kinds) << seed << ": " << test::Describe(mask) << " by " << by;
    }
  }
}

TEST(BlockMap, RunsOfInterleavedDocuments) {
  const DocumentLayout layout = InterleavedChunks({5, 3}, {{0, 0, 2}, {1, 0, 3}, {0, 2, 3}});
  std::vector<std::array<int64_t, 3>> got;
  for (const DocumentRun& run : DocumentRuns(layout.document_ids)) {
    got.push_back({run.id, run.begin, run.end});
  }
  const std::vector<std::array<int64_t, 3>> want = {{0, 0, 1}, {1, 1, 3}, {2, 3, 6}, {1, 6, 9}};
  EXPECT_EQ(got, want);
  EXPECT_TRUE(DocumentRuns({}).empty());
}

TEST(BlockMap, IdsAreOfTheirBatchAndOfNoneWhereTheRuleIsFull) {
  const Mask documents{{MaskRule::kDocument}, 2, 2, 3, {1, 1, 2, 3}, {1, 1, 1, 2, 3, 3}};
  EXPECT_EQ(QueryIds(documents, 1)[0], 2);
  EXPECT_EQ(KeyIds(documents, 1).size(), 3u);
  EXPECT_EQ(KeyIds(documents, 1)[2], 3);
  Mask full = documents;  // a file may name documents that its rule does not look at
  full.spec.rule = MaskRule::kFull;
  EXPECT_TRUE(QueryIds(full, 1).empty());
  EXPECT_TRUE(KeyIds(full, 1).empty());
}

TEST(BlockMap, InWords) {
  Mask mask{{MaskRule::kAnchor, true, 64, Corner::kBottomRight}, 1, 8, 8, {}, {}};
  EXPECT_EQ(InWords(mask), "anchor, causal, window of 64 keys");
  mask.Sq = 4;
  EXPECT_EQ(InWords(mask), "anchor, causal, window of 64 keys, corner bottom-right");
  mask.spec = {MaskRule::kFull, false};
  EXPECT_EQ(InWords(mask), "full, not causal");
}

}  // namespace
}  // namespace bitanchor
