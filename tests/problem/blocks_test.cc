#include "lib/problem/blocks.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "lib/problem/layout.h"
#include "tests/problem/brute_force.h"

namespace bitanchor {
namespace {

// visible[b][i]: the keys that query i sees.
using Sets = std::vector<std::vector<std::set<int64_t>>>;

Sets AllSeen(const Mask& mask) {
  Sets sets(mask.B);
  for (int64_t b = 0; b < mask.B; ++b) {
    for (int64_t i = 0; i < mask.Sq; ++i) sets[b].push_back(test::KeysSeen(mask, b, i));
  }
  return sets;
}

BlockKind KindByCounting(const Mask& mask, const std::vector<std::set<int64_t>>& seen,
                         int64_t q_begin, int64_t block_q, int64_t k_begin, int64_t block_k) {
  int64_t visible = 0;
  int64_t pairs = 0;
  for (int64_t i = q_begin; i < std::min(q_begin + block_q, mask.Sq); ++i) {
    for (int64_t j = k_begin; j < std::min(k_begin + block_k, mask.Skv); ++j) {
      ++pairs;
      visible += seen[i].contains(j);
    }
  }
  if (visible == 0) return BlockKind::kEmpty;
  return visible == pairs ? BlockKind::kFull : BlockKind::kPartial;
}

// Compares every block of every batch; adds what it saw to `kinds`.
void CheckBlocks(const Mask& mask, const Sets& sets, int64_t block_q, int64_t block_k,
                 std::array<int64_t, 3>& kinds) {
  const BlockClassifier classifier(mask, block_q, block_k);
  int64_t query_blocks = 0;
  for (int64_t b = 0; b < mask.B; ++b) {
    query_blocks = 0;
    for (int64_t q = 0; q < mask.Sq; q += block_q, ++query_blocks) {
      const std::vector<BlockKind> row = classifier.ClassifyRow(b, query_blocks);
      ASSERT_EQ(static_cast<int64_t>(row.size()), classifier.KeyBlocks());
      int64_t key_blocks = 0;
      for (int64_t k = 0; k < mask.Skv; k += block_k, ++key_blocks) {
        const BlockKind want = KindByCounting(mask, sets[b], q, block_q, k, block_k);
        const BlockKind got = classifier.Classify(b, query_blocks, key_blocks);
        ASSERT_EQ(got, want) << "batch " << b << ", queries from " << q << ", keys from " << k;
        ASSERT_EQ(row[key_blocks], want)
            << "batch " << b << ", row of query " << q << ", key " << k;
        ++kinds[static_cast<size_t>(want)];
      }
      ASSERT_EQ(classifier.KeyBlocks(), key_blocks);
    }
  }
  ASSERT_EQ(classifier.QueryBlocks(), query_blocks);
}

TEST(Blocks, ClassifyIsTheBruteForceCount) {
  constexpr std::array<int64_t, 6> kSizes = {1, 3, 16, 64, 100, 1000};
  std::array<int64_t, 3> kinds = {};
  for (uint64_t seed = 0; seed < 400; ++seed) {
    std::mt19937_64 random(seed);
    const Mask mask = test::RandomMask(random, seed % 8 == 0 ? 150 : 40);
    const Sets sets = AllSeen(mask);
    for (const int64_t block_q : kSizes) {
      const int64_t block_k = kSizes[random() % kSizes.size()];
      CheckBlocks(mask, sets, block_q, block_k, kinds);
      ASSERT_FALSE(HasFailure()) << "seed " << seed << ": " << test::Describe(mask) << ", blocks "
                                 << block_q << " x " << block_k;
    }
  }
  for (const int64_t count : kinds) EXPECT_GT(count, 5000);  // each kind was really met
}

TEST(Blocks, CountVisibleIsTheBruteForceCount) {
  for (uint64_t seed = 1000; seed < 1600; ++seed) {
    std::mt19937_64 random(seed);
    const Mask mask = test::RandomMask(random, 40);
    for (int64_t b = 0; b < mask.B; ++b) {
      int64_t want = 0;
      for (int64_t i = 0; i < mask.Sq; ++i) {
        want += static_cast<int64_t>(test::KeysSeen(mask, b, i).size());
      }
      ASSERT_EQ(CountVisible(mask, b), want) << "seed " << seed << ": " << test::Describe(mask);
    }
  }
}

Mask SelfAttention(const DocumentLayout& layout) {
  const int64_t S = static_cast<int64_t>(layout.document_ids.size());
  return {{layout.rule}, 1, S, S, layout.document_ids, layout.document_ids};
}

TEST(Blocks, RaggedTailIsFullWhereAllItsPairsAreVisible) {
  // 130 tokens in blocks of 128: the last block has 2 x 128 real pairs, all of them visible.
  const Mask mask{{MaskRule::kFull}, 1, 130, 130, {}, {}};
  const BlockClassifier classifier(mask, 128, 128);
  EXPECT_EQ(classifier.QueryBlocks(), 2);
  EXPECT_EQ(classifier.Classify(0, 1, 0), BlockKind::kFull);
  EXPECT_EQ(classifier.Classify(0, 1, 1), BlockKind::kPartial);
  EXPECT_EQ(classifier.Classify(0, 0, 1), BlockKind::kEmpty);
}

TEST(Blocks, LargestBlockSizeDoesNotOverflow) {
  const Mask mask{{MaskRule::kFull, false}, 1, 3, 5, {}, {}};
  const BlockClassifier classifier(mask, INT64_MAX, INT64_MAX);
  EXPECT_EQ(classifier.QueryBlocks(), 1);
  EXPECT_EQ(classifier.KeyBlocks(), 1);
  EXPECT_EQ(classifier.Classify(0, 0, 0), BlockKind::kFull);
}

// Formulas, not brute force: an anchor and n documents of length L see
// 1 + n (L (L + 1) / 2 + L) pairs. At a million tokens this also shows that counting and
// classifying do not visit the pairs, of which there are 10^12.
TEST(Blocks, AMillionTokens) {
  constexpr int64_t kDocuments = 1000;
  constexpr int64_t kLength = 1000;
  const Mask mask = SelfAttention(SharedAnchor(std::vector<int64_t>(kDocuments, kLength)));
  EXPECT_EQ(CountVisible(mask, 0), 1 + kDocuments * (kLength * (kLength + 1) / 2 + kLength));

  const BlockClassifier classifier(mask, 128, 128);
  std::array<int64_t, 3> kinds = {};
  for (int64_t q = 0; q < classifier.QueryBlocks(); q += 7) {
    for (int64_t k = 0; k < classifier.KeyBlocks(); ++k) {
      const BlockKind kind = classifier.Classify(0, q, k);
      ++kinds[static_cast<size_t>(kind)];
      // Key block 0 holds the anchor; it and what follows the first document cannot be full.
      if (k == 0) {
        ASSERT_NE(kind, BlockKind::kEmpty) << q;
      }
    }
  }
  EXPECT_GT(kinds[static_cast<size_t>(BlockKind::kFull)], 0);
  EXPECT_GT(kinds[static_cast<size_t>(BlockKind::kPartial)], 0);
  EXPECT_GT(kinds[static_cast<size_t>(BlockKind::kEmpty)], 0);
}

}  // namespace
}  // namespace bitanchor
