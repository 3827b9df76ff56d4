#include "lib/problem/packing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "lib/problem/packing_summary.h"
#include "tests/problem/brute_force.h"
#include "tests/problem/input_error.h"
#include "tests/support/packed_attention.h"

namespace bitanchor {
namespace {

using Ids = std::vector<int64_t>;
using Starts = std::vector<int32_t>;
using test::ExpectInputError;

// Documents of these lengths end to end, without BOS or tags.
std::vector<SourceDocument> Documents(const Ids& lengths) {
  std::vector<SourceDocument> documents;
  int64_t begin = 0;
  for (const int64_t length : lengths) {
    documents.push_back({begin, length, 0, 0});
    begin += length;
  }
  return documents;
}

PackingOptions Flex(int64_t S = 0) {
  PackingOptions options;
  options.sequence_length = S;
  return options;
}

PackingOptions Flash(int64_t S = 0) {
  PackingOptions options = Flex(S);
  options.engine = PackingEngine::kFlash;
  return options;
}

PackingOptions Intra(int64_t S = 0) {
  PackingOptions options = Flex(S);
  options.anchor = false;
  return options;
}

// Documents of 5, 4 and 2 tokens in windows of 8, by hand. The second one is cut.
TEST(Packing, FlexByHand) {
  const Packing packing = Pack(Documents({5, 4, 2}), Flex(8));
  ASSERT_EQ(packing.windows.size(), 2u);
  const WindowTokens first = TokensOf(packing, 0), second = TokensOf(packing, 1);
  EXPECT_EQ(first.layout.document_ids, (Ids{0, 1, 1, 1, 1, 1, 2, 2}));
  EXPECT_EQ(first.layout.position_ids, (Ids{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(first.source, (Ids{-1, 0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(second.layout.document_ids, (Ids{0, 1, 1, 2, 2, 3, 3, 3}));
  EXPECT_EQ(second.layout.position_ids, (Ids{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(second.source, (Ids{-1, 7, 8, 9, 10, -2, -2, -2}));
  EXPECT_TRUE(first.layout.cu_seqlens.empty());
  EXPECT_EQ(MaskOf(packing, first).spec.rule, MaskRule::kAnchor);
  EXPECT_EQ(packing.documents, 3);
  EXPECT_EQ(packing.cut_documents, 1);
}

TEST(Packing, FlashByHand) {
  const Packing packing = Pack(Documents({5, 4, 2}), Flash(8));
  ASSERT_EQ(packing.windows.size(), 2u);
  const WindowTokens first = TokensOf(packing, 0), second = TokensOf(packing, 1);
  // After the first document 2 places are left: a copy and one token.
  EXPECT_EQ(first.layout.document_ids, (Ids{0, 0, 0, 0, 0, 0, 1, 1}));
  EXPECT_EQ(first.layout.position_ids, (Ids{0, 1, 2, 3, 4, 5, 0, 7}));
  EXPECT_EQ(first.layout.cu_seqlens, (Starts{0, 6, 8}));
  EXPECT_EQ(first.source, (Ids{-1, 0, 1, 2, 3, 4, -1, 5}));
  EXPECT_EQ(second.layout.document_ids, (Ids{0, 0, 0, 0, 1, 1, 1, 2}));
  EXPECT_EQ(second.layout.position_ids, (Ids{0, 1, 2, 3, 0, 5, 6, 0}));
  EXPECT_EQ(second.layout.cu_seqlens, (Starts{0, 4, 7, 8}));
  EXPECT_EQ(second.source, (Ids{-1, 6, 7, 8, -1, 9, 10, -2}));
  EXPECT_EQ(MaskOf(packing, first).spec.rule, MaskRule::kDocument);
}

// Where there is no room for a copy and a token behind it, the window ends in padding.
TEST(Packing, FlashLeavesNoLoneCopy) {
  const Packing packing = Pack(Documents({6, 2}), Flash(8));
  ASSERT_EQ(packing.windows.size(), 2u);
  EXPECT_EQ(TokensOf(packing, 0).source, (Ids{-1, 0, 1, 2, 3, 4, 5, -2}));
  EXPECT_EQ(TokensOf(packing, 0).layout.cu_seqlens, (Starts{0, 7, 8}));
  EXPECT_EQ(TokensOf(packing, 1).source, (Ids{-1, 6, 7, -2, -2, -2, -2, -2}));
  EXPECT_EQ(packing.cut_documents, 0);
}

TEST(Packing, IntraDocumentByHand) {
  PackingOptions options = Intra(8);
  std::vector<SourceDocument> documents = Documents({5, 4, 2});
  for (SourceDocument& document : documents) document.bos = 1;  // stays where there is no anchor
  const Packing packing = Pack(documents, options);
  EXPECT_EQ(TokensOf(packing, 0).layout.document_ids, (Ids{0, 0, 0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(TokensOf(packing, 0).layout.position_ids, (Ids{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(TokensOf(packing, 0).layout.cu_seqlens, (Starts{0, 5, 8}));
  EXPECT_EQ(TokensOf(packing, 1).source, (Ids{8, 9, 10, -2, -2, -2, -2, -2}));
  EXPECT_EQ(packing.stripped_bos, 0);
  options.reset_positions = true;
  const Packing reset = Pack(documents, options);
  EXPECT_EQ(TokensOf(reset, 0).layout.position_ids, (Ids{0, 1, 2, 3, 4, 0, 1, 2}));
  EXPECT_EQ(TokensOf(reset, 1).layout.position_ids, (Ids{0, 0, 1, 0, 1, 2, 3, 4}));
}

TEST(Packing, ResetBehindAnAnchorBeginsAtOne) {
  PackingOptions flex = Flex(), flash = Flash();
  flex.reset_positions = flash.reset_positions = true;
  EXPECT_EQ(TokensOf(Pack(Documents({3, 2}), flex), 0).layout.position_ids,
            (Ids{0, 1, 2, 3, 1, 2}));
  EXPECT_EQ(TokensOf(Pack(Documents({3, 2}), flash), 0).layout.position_ids,
            (Ids{0, 1, 2, 3, 0, 1, 2}));
}

// The tag stands behind the anchor, before each part of its document.
TEST(Packing, TagsByHand) {
  std::vector<SourceDocument> documents = Documents({3, 4});
  documents[0].tag_length = 1;
  documents[1].tag_length = 2;
  const Packing flex = Pack(documents, Flex(8));
  EXPECT_EQ(TokensOf(flex, 0).source, (Ids{-1, -3, 0, 1, 2, -3, -4, 3}));
  EXPECT_EQ(TokensOf(flex, 0).layout.document_ids, (Ids{0, 1, 1, 1, 1, 2, 2, 2}));
  EXPECT_EQ(TokensOf(flex, 1).source, (Ids{-1, -3, -4, 4, 5, 6, -2, -2}));
  const Packing flash = Pack(documents, Flash(8));
  EXPECT_EQ(TokensOf(flash, 0).source, (Ids{-1, -3, 0, 1, 2, -2, -2, -2}));
  EXPECT_EQ(TokensOf(flash, 1).source, (Ids{-1, -3, -4, 3, 4, 5, 6, -2}));
}

TEST(Packing, StripsOneBOS) {
  std::vector<SourceDocument> documents = Documents({3, 1, 2});
  for (SourceDocument& document : documents) document.bos = 1;
  const Packing packing = Pack(documents, Flex());
  EXPECT_EQ(TokensOf(packing, 0).source, (Ids{-1, 1, 2, 5}));
  EXPECT_EQ(packing.stripped_bos, 2);
  EXPECT_EQ(packing.short_documents, 1);  // nothing but its BOS
  EXPECT_EQ(packing.short_tokens, 1);
  EXPECT_EQ(packing.documents, 2);
}

TEST(Packing, InterleavedKeepsTheTagInFront) {
  std::vector<SourceDocument> documents = Documents({100, 100});
  documents[0].tag_length = documents[1].tag_length = 3;
  PackingOptions options = Flex();
  options.interleave = true;
  bool runs_differ = false;
  for (options.seed = 0; options.seed < 20; ++options.seed) {
    const Packing packing = Pack(documents, options);
    const WindowTokens tokens = TokensOf(packing, 0);
    EXPECT_TRUE(tokens.layout.cu_seqlens.empty());
    Ids next = {-3, -3};  // what each document must show next
    for (size_t s = 1; s < tokens.source.size(); ++s) {
      const int64_t id = tokens.layout.document_ids[s];
      int64_t& want = next[id - 1];
      ASSERT_EQ(tokens.source[s], want) << "seed " << options.seed << " at " << s;
      want = want == -5 ? documents[id - 1].begin : want < 0 ? want - 1 : want + 1;
    }
    EXPECT_EQ(next, (Ids{100, 200}));
    runs_differ |= !std::ranges::is_sorted(tokens.layout.document_ids);
  }
  EXPECT_TRUE(runs_differ);
}

TEST(Packing, InterleavedWithoutAnAnchor) {
  PackingOptions options = Intra();
  options.interleave = true;
  options.seed = 3;
  const Packing packing = Pack(Documents({100, 200}), options);
  const WindowTokens tokens = TokensOf(packing, 0);
  ASSERT_EQ(tokens.source.size(), 300u);
  for (size_t s = 0; s < 300; ++s) {
    EXPECT_EQ(tokens.layout.document_ids[s], tokens.source[s] < 100 ? 0 : 1);
    EXPECT_EQ(tokens.layout.position_ids[s], static_cast<int64_t>(s));
  }
  EXPECT_EQ(tokens.layout.rule, MaskRule::kDocument);
  EXPECT_EQ(MaskOf(packing, tokens).spec.rule, MaskRule::kDocument);
}

struct Drawn {
  std::vector<SourceDocument> documents;
  PackingOptions options;
};

Drawn Draw(uint64_t seed) {
  std::mt19937_64 random(seed);
  Drawn drawn;
  Ids lengths;
  for (int64_t n = test::Pick(random, 1, 9); n > 0; --n)
    lengths.push_back(test::Pick(random, 1, 90));
  drawn.documents = Documents(lengths);
  PackingOptions& options = drawn.options;
  options.engine = static_cast<PackingEngine>(test::Pick(random, 0, 1));
  options.anchor = test::Pick(random, 0, 3) != 0;
  options.interleave = options.engine == PackingEngine::kFlex && test::Pick(random, 0, 1) == 1;
  options.reset_positions = test::Pick(random, 0, 1) == 1;
  options.seed = seed;
  for (SourceDocument& document : drawn.documents) {
    document.bos = test::Pick(random, 0, 1);
    document.tag_length = options.anchor ? test::Pick(random, 0, 3) : 0;
  }
  options.sequence_length = test::Pick(random, 5, 150);
  options.min_length = test::Pick(random, 1, 4);
  return drawn;
}

bool HasLongEnough(const std::vector<SourceDocument>& documents, const PackingOptions& options) {
  return std::ranges::any_of(documents, [&](const SourceDocument& document) {
    return document.length - document.bos >= options.min_length;
  });
}

// Every token that is not dropped is packed once, in its document's order; every window has S
// tokens, every segment one of its document at least.
TEST(Packing, LosesNothing) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    const auto [documents, options] = Draw(seed);
    Ids want;
    int64_t short_documents = 0;
    for (const SourceDocument& document : documents) {
      if (document.length - document.bos < options.min_length) {
        ++short_documents;
        continue;
      }
      const int64_t stripped = options.anchor ? document.bos : 0;
      for (int64_t t = stripped; t < document.length; ++t) want.push_back(document.begin + t);
    }
    if (want.empty()) continue;
    const Packing packing = Pack(documents, options);
    EXPECT_EQ(packing.short_documents, short_documents);
    Ids got;
    for (size_t w = 0; w < packing.windows.size(); ++w) {
      const WindowTokens tokens = TokensOf(packing, static_cast<int64_t>(w));
      ASSERT_EQ(static_cast<int64_t>(tokens.source.size()), options.sequence_length);
      Ids of_window;
      std::ranges::copy_if(tokens.source, std::back_inserter(of_window),
                           [](int64_t from) { return from >= 0; });
      std::ranges::sort(of_window);  // chunks are mixed, but only within their window
      got.insert(got.end(), of_window.begin(), of_window.end());
      for (const Segment& segment : packing.windows[w].segments) ASSERT_GE(segment.length, 1);
    }
    ASSERT_EQ(got, want);
  }
}

// The mask, from the tokens' origin alone: a token sees what lies before it (or is it) and is an
// anchor that its document has, or comes from its own document's part in the window.
TEST(Packing, MaskIsTheDocuments) {
  int64_t cases = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    Drawn drawn = Draw(seed);
    std::vector<SourceDocument>& documents = drawn.documents;
    const PackingOptions& options = drawn.options;
    for (SourceDocument& document : documents) document.tag_length = 0;  // tags have no origin
    if (!HasLongEnough(documents, options)) continue;
    ++cases;
    const Packing packing = Pack(documents, options);
    const auto document_of = [&](int64_t from) {
      int64_t n = 0;
      while (from >= documents[n].begin + documents[n].length) ++n;
      return n;
    };
    const WindowTokens tokens = TokensOf(packing, 0);
    const Mask mask = MaskOf(packing, tokens);
    // The copy of the anchor that a query's document has: the last one before the query.
    Ids copy_before;
    for (size_t s = 0; s < tokens.source.size(); ++s) {
      const bool copy = tokens.source[s] == kFromAnchor;
      copy_before.push_back(copy ? static_cast<int64_t>(s) : s == 0 ? -1 : copy_before.back());
    }
    for (int64_t i = 0; i < packing.S; ++i) {
      for (int64_t j = 0; j < packing.S; ++j) {
        const int64_t q = tokens.source[i], k = tokens.source[j];
        bool want = j <= i;
        if (k == kFromAnchor) {
          want = want && j == copy_before[i] &&
                 (q != kFromPadding || options.engine == PackingEngine::kFlex);
        } else if (q < 0 || k < 0) {
          want = want && q == k;  // padding sees padding, an anchor no document
        } else {
          want = want && document_of(q) == document_of(k);
        }
        ASSERT_EQ(mask.Visible(0, i, j), want) << i << ", " << j;
      }
    }
  }
  EXPECT_GE(cases, 50);
}

// The equivalence of the paper as bits: with equal positions a token's attention is the same
// behind a shared anchor and behind a copy; with the engines' own positions it is not.
TEST(Packing, EnginesGiveTheSameBits) {
  const std::vector<SourceDocument> documents = Documents({7, 1, 12, 5});
  for (const bool reset : {true, false}) {
    PackingOptions flex = Flex(), flash = Flash();
    flex.reset_positions = flash.reset_positions = reset;
    const Packing shared = Pack(documents, flex), copies = Pack(documents, flash);
    const WindowTokens of_shared = TokensOf(shared, 0), of_copies = TokensOf(copies, 0);
    const auto shared_rows = test::OutputBySource(MaskOf(shared, of_shared),
                                                  of_shared.layout.position_ids, of_shared.source);
    const auto copied_rows = test::OutputBySource(MaskOf(copies, of_copies),
                                                  of_copies.layout.position_ids, of_copies.source);
    ASSERT_EQ(shared_rows.size(), 25u);
    ASSERT_EQ(copied_rows.size(), 25u);
    if (reset) {
      EXPECT_EQ(shared_rows, copied_rows);
      continue;
    }
    // The first document stands alike; of the others some row at least differs.
    for (int64_t t = 0; t < 7; ++t) EXPECT_EQ(shared_rows.at(t), copied_rows.at(t)) << t;
    EXPECT_NE(shared_rows, copied_rows);
  }
}

TEST(Packing, SummaryCountsPairByPair) {
  int64_t cases = 0;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE(seed);
    const auto [documents, options] = Draw(seed);
    if (!HasLongEnough(documents, options)) continue;
    ++cases;
    const Packing packing = Pack(documents, options);
    const PackingSummary sum = Summarise(packing, 16, 16);
    int64_t kept = 0, anchors = 0, padding = 0, tags = 0, visited = 0;
    for (int64_t w = 0; w < sum.windows; ++w) {
      const WindowTokens tokens = TokensOf(packing, w);
      const Mask mask = MaskOf(packing, tokens);
      for (int64_t q = 0; q < packing.S; q += 16) {
        for (int64_t k = 0; k < packing.S; k += 16) {
          int64_t in_block = 0;
          for (int64_t i = q; i < std::min(q + 16, packing.S); ++i) {
            for (int64_t j = k; j < std::min(k + 16, packing.S); ++j) {
              in_block += mask.Visible(0, i, j);
            }
          }
          kept += in_block;
          visited += in_block > 0;
        }
      }
      for (const int64_t from : tokens.source) {
        anchors += from == kFromAnchor;
        padding += from == kFromPadding;
        tags += from <= kFromTag;
      }
    }
    EXPECT_EQ(sum.work.kept_pairs, kept);
    EXPECT_EQ(sum.work.visited_blocks, visited);
    EXPECT_EQ(sum.full_causal.kept_pairs, sum.windows * packing.S * (packing.S + 1) / 2);
    EXPECT_EQ(sum.anchors, anchors);
    EXPECT_EQ(sum.padding, padding);
    EXPECT_EQ(sum.tags, tags);
  }
  EXPECT_GE(cases, 25);
}

TEST(Packing, DropsTheLastWindow) {
  PackingOptions options = Flex(8);
  options.drop_last = true;
  const Packing packing = Pack(Documents({5, 4, 2}), options);
  EXPECT_EQ(packing.windows.size(), 1u);
  EXPECT_EQ(packing.last_tokens, 4);
  EXPECT_EQ(packing.documents, 2);
  EXPECT_EQ(packing.cut_documents, 0);  // of its second part nothing is left
  EXPECT_EQ(Pack(Documents({7, 7}), options).windows.size(), 2u);  // a full one is no rest
}

TEST(Packing, Refuses) {
  const auto refuse = [](const std::vector<SourceDocument>& documents,
                         const PackingOptions& options, const std::string& field,
                         const std::string& got, const std::string& want) {
    ExpectInputError([&] { Pack(documents, options); }, field, got, want);
  };
  const std::string none = "none of at least 1 tokens", one = "at least one";
  refuse({}, Flex(), "documents", none, one);
  refuse(Documents({0, 0}), Flash(9), "documents", none, one);
  refuse(Documents({3}), Flex(1), "--sequence-length", "1",
         "at least 2, for an anchor, a tag and a token of the document");
  refuse(Documents({3}), Flex(-1), "--sequence-length", "-1", "1..2^26");
  refuse(Documents({3}), Flex((1 << 26) + 1), "--sequence-length", "67108865", "1..2^26");
  refuse(Documents({1 << 26}), Flex(), "documents", "more than 2^26 tokens in all", "at most 2^26");
  refuse(Documents({1 << 26}), Flex(1 << 20), "documents",
         "more than 2^26 tokens in all their windows", "at most 2^26");
  PackingOptions options = Flash();
  options.interleave = true;
  refuse(Documents({3}), options, "--interleave", "--engine flash",
         "--engine flex: no cu_seqlens expresses a document that lies in pieces");
  options = Flex(9);
  options.drop_last = true;
  refuse(Documents({3}), options, "documents", "no full window", "one, or the last window kept");
  options = Flex();
  options.min_length = 0;
  refuse(Documents({3}), options, "--min-length", "0", ">= 1");
  refuse({{0, 3, 0, 2}}, Intra(), "--domain-tag", "intra-document attention",
         "an anchor, which it follows");
}

}  // namespace
}  // namespace bitanchor
