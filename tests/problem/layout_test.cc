#include "lib/problem/layout.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/problem/brute_force.h"
#include "tests/problem/input_error.h"

namespace bitanchor {
namespace {

using Ids = std::vector<int64_t>;
using test::ExpectInputError;

Mask SelfAttention(const DocumentLayout& layout) {
  const int64_t S = static_cast<int64_t>(layout.document_ids.size());
  return {{layout.rule}, 1, S, S, layout.document_ids, layout.document_ids};
}

// The packings of arXiv 2411.13476's two engines, documents of 3, 1 and 2 tokens, by hand.
TEST(Layout, SharedAnchorByHand) {
  const DocumentLayout layout = SharedAnchor({3, 1, 2});
  EXPECT_EQ(layout.rule, MaskRule::kAnchor);
  EXPECT_EQ(layout.document_ids, (Ids{0, 1, 1, 1, 2, 3, 3}));
  EXPECT_EQ(layout.position_ids, (Ids{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_TRUE(layout.cu_seqlens.empty());
}

TEST(Layout, AnchorCopiesByHand) {
  const DocumentLayout layout = AnchorCopies({3, 1, 2});
  EXPECT_EQ(layout.rule, MaskRule::kDocument);
  EXPECT_EQ(layout.document_ids, (Ids{0, 0, 0, 0, 1, 1, 2, 2, 2}));
  EXPECT_EQ(layout.position_ids, (Ids{0, 1, 2, 3, 0, 5, 0, 7, 8}));
  EXPECT_EQ(layout.cu_seqlens, (std::vector<int32_t>{0, 4, 6, 9}));
}

TEST(Layout, IntraDocumentByHand) {
  const DocumentLayout kept = IntraDocument({3, 1, 2}, false);
  EXPECT_EQ(kept.rule, MaskRule::kDocument);
  EXPECT_EQ(kept.document_ids, (Ids{0, 0, 0, 1, 2, 2}));
  EXPECT_EQ(kept.position_ids, (Ids{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(kept.cu_seqlens, (std::vector<int32_t>{0, 3, 4, 6}));
  const DocumentLayout reset = IntraDocument({3, 1, 2}, true);
  EXPECT_EQ(reset.rule, MaskRule::kDocument);
  EXPECT_EQ(reset.document_ids, kept.document_ids);
  EXPECT_EQ(reset.position_ids, (Ids{0, 1, 2, 0, 0, 1}));
  EXPECT_EQ(reset.cu_seqlens, kept.cu_seqlens);
}

TEST(Layout, InterleavedChunksByHand) {
  const DocumentLayout layout =
      InterleavedChunks({3, 2}, {{1, 0, 1}, {0, 0, 2}, {1, 1, 1}, {0, 2, 1}});
  EXPECT_EQ(layout.rule, MaskRule::kAnchor);
  EXPECT_EQ(layout.document_ids, (Ids{0, 2, 1, 1, 2, 1}));
  EXPECT_EQ(layout.position_ids, (Ids{0, 1, 2, 3, 4, 5}));
  EXPECT_TRUE(layout.cu_seqlens.empty());
}

TEST(Layout, InterleavedChunksInOrderIsSharedAnchor) {
  const DocumentLayout got = InterleavedChunks({3, 1, 2}, {{0, 0, 3}, {1, 0, 1}, {2, 0, 2}});
  const DocumentLayout want = SharedAnchor({3, 1, 2});
  EXPECT_EQ(got.document_ids, want.document_ids);
  EXPECT_EQ(got.position_ids, want.position_ids);
}

// A token is known by (document, place in it), the anchor or a copy of it by (-1, 0).
using Token = std::pair<int64_t, int64_t>;
constexpr Token kAnchor = {-1, 0};

std::vector<Token> TokensOf(const Ids& lengths, bool copies) {
  std::vector<Token> tokens;
  if (!copies) tokens.push_back(kAnchor);
  for (size_t n = 0; n < lengths.size(); ++n) {
    if (copies) tokens.push_back(kAnchor);
    for (int64_t t = 0; t < lengths[n]; ++t) tokens.emplace_back(n, t);
  }
  return tokens;
}

// What the query at `i` sees, as a list of tokens in the order of the keys.
std::vector<Token> TokensSeen(const Mask& mask, const std::vector<Token>& tokens, int64_t i) {
  std::vector<Token> seen;
  for (int64_t j = 0; j < mask.Skv; ++j) {
    if (mask.Visible(0, i, j)) seen.push_back(tokens[j]);
  }
  return seen;
}

// The paper's equivalence: row by row, the shared anchor shows a query the tokens that the copies
// show it, in the same order, its document's copy standing for the anchor.
TEST(Layout, SharedAnchorSeesWhatAnchorCopiesSee) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    std::mt19937_64 random(seed);
    Ids lengths;
    for (int64_t n = test::Pick(random, 1, 6); n > 0; --n) {
      lengths.push_back(test::Pick(random, 1, 9));
    }
    const Mask shared = SelfAttention(SharedAnchor(lengths));
    const Mask copies = SelfAttention(AnchorCopies(lengths));
    const std::vector<Token> shared_tokens = TokensOf(lengths, false);
    const std::vector<Token> copied_tokens = TokensOf(lengths, true);
    ASSERT_EQ(shared_tokens.size(), shared.k_ids.size());
    ASSERT_EQ(copied_tokens.size(), copies.k_ids.size());
    size_t i = 0;  // the token's place in the shared packing
    for (size_t c = 0; c < copied_tokens.size(); ++c) {
      const std::vector<Token> seen = TokensSeen(copies, copied_tokens, static_cast<int64_t>(c));
      if (copied_tokens[c] == kAnchor) {
        ASSERT_EQ(seen, std::vector<Token>{kAnchor}) << "seed " << seed << ", copy at " << c;
        ASSERT_EQ(TokensSeen(shared, shared_tokens, 0), seen);
        continue;
      }
      ++i;
      ASSERT_EQ(shared_tokens[i], copied_tokens[c]);
      ASSERT_EQ(TokensSeen(shared, shared_tokens, static_cast<int64_t>(i)), seen)
          << "seed " << seed << ", row " << i;
    }
    ASSERT_EQ(i + 1, shared_tokens.size());
  }
}

// As coded the two engines part in positions: each copy consumes an index, so document k, counted
// from 1, is k - 1 further from the anchor.
TEST(Layout, CopiesPushLaterDocumentsAway) {
  const Ids lengths = {4, 2, 5};
  const DocumentLayout shared = SharedAnchor(lengths);
  const DocumentLayout copies = AnchorCopies(lengths);
  size_t c = 0;
  for (size_t i = 1; i < shared.document_ids.size(); ++i) {
    while (copies.position_ids[++c] == 0) {
    }
    EXPECT_EQ(copies.position_ids[c] - shared.position_ids[i], shared.document_ids[i] - 1) << i;
  }
}

TEST(Layout, RefusesLengths) {
  const auto refuse = [](const Ids& lengths, const std::string& got, const std::string& want) {
    const auto ask = [&](const auto& call) { ExpectInputError(call, "documents", got, want); };
    ask([&] { SharedAnchor(lengths); });
    ask([&] { AnchorCopies(lengths); });
    ask([&] { IntraDocument(lengths, false); });
    ask([&] { InterleavedChunks(lengths, {}); });
  };
  refuse({}, "no document", "at least one length");
  refuse({3, 0}, "length 0 for document 1", "lengths >= 1");
  refuse({-5}, "length -5 for document 0", "lengths >= 1");
  refuse({5, INT64_MAX}, "lengths that sum past document 1 to more than 2^31 - 1 tokens",
         "at most 2^31 - 1 tokens in all");
  refuse({1 << 30, 1 << 30}, "lengths that sum past document 1 to more than 2^31 - 1 tokens",
         "at most 2^31 - 1 tokens in all");
}

TEST(Layout, RefusesChunks) {
  const auto refuse = [](const std::vector<Chunk>& order, const std::string& got,
                         const std::string& want) {
    ExpectInputError([&] { InterleavedChunks({3, 2}, order); }, "chunks", got, want);
  };
  refuse({{2, 0, 1}}, "tokens [0, 0 + 1) of document 2", "a document in 0..1");
  refuse({{-1, 0, 1}}, "tokens [0, 0 + 1) of document -1", "a document in 0..1");
  refuse({{0, 1, 2}}, "tokens [1, 1 + 2) of document 0", "a piece that begins at 0 and ends by 3");
  refuse({{0, 0, 0}}, "tokens [0, 0 + 0) of document 0", "a piece that begins at 0 and ends by 3");
  refuse({{0, 0, 2}, {0, 1, 2}}, "tokens [1, 1 + 2) of document 0",
         "a piece that begins at 2 and ends by 3");
  refuse({{0, 0, 2}, {0, 2, INT64_MAX}}, "tokens [2, 2 + 9223372036854775807) of document 0",
         "a piece that begins at 2 and ends by 3");
  refuse({{0, 0, 3}, {1, 0, 1}}, "1 tokens of document 1", "all 2");
  refuse({{0, 0, 3}}, "0 tokens of document 1", "all 2");
}

TEST(Layout, IdsFromCuSeqlensByHand) {
  EXPECT_EQ(IdsFromCuSeqlens({0, 2, 2, 5}, 5), (Ids{0, 0, 2, 2, 2}));
  EXPECT_EQ(IdsFromCuSeqlens({0, 1}, 1), (Ids{0}));
  EXPECT_EQ(IdsFromCuSeqlens({0, 0, 1, 1}, 1), (Ids{1}));
}

TEST(Layout, IdsFromCuSeqlensUndoesTheLayouts) {
  for (const DocumentLayout& layout : {AnchorCopies({3, 1, 2}), IntraDocument({3, 1, 2}, true)}) {
    const Ids cu_seqlens(layout.cu_seqlens.begin(), layout.cu_seqlens.end());
    EXPECT_EQ(IdsFromCuSeqlens(cu_seqlens, static_cast<int64_t>(layout.document_ids.size())),
              layout.document_ids);
  }
}

TEST(Layout, RefusesCuSeqlens) {
  const auto refuse = [](const Ids& cu_seqlens, const std::string& got, const std::string& want) {
    ExpectInputError([&] { IdsFromCuSeqlens(cu_seqlens, 5); }, "cu_seqlens", got, want);
  };
  refuse({}, "no entry", "0 first and the token count last");
  refuse({1, 5}, "1 first", "0 first");
  refuse({-1, 5}, "-1 first", "0 first");
  refuse({0, 3, 2, 5}, "2 after 3 at [2]", "entries that never fall");
  refuse({0, 3, 4}, "4 last", "5 last, the number of tokens");
  refuse({0, 6}, "6 last", "5 last, the number of tokens");
  refuse({0}, "0 last", "5 last, the number of tokens");
}

}  // namespace
}  // namespace bitanchor
