// AnchorContext (haonan3/AnchorContext at 3af89f2), the reference code of arXiv 2411.13476, has
// seven habits that its paper does not speak of. What bitanchor does in their place, one test each.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "lib/file/document_list.h"
#include "lib/file/packed_file.h"
#include "lib/problem/chunks.h"
#include "lib/problem/packing.h"
#include "tests/file/test_files.h"
#include "tests/support/packed_attention.h"

namespace bitanchor {
namespace {

using Ids = std::vector<int64_t>;

DocumentList Lengths(const Ids& lengths) { return {lengths, {}, false, {}}; }

PackingOptions Options(PackingEngine engine, int64_t S) {
  PackingOptions options;
  options.engine = engine;
  options.sequence_length = S;
  return options;
}

// The tokens of the input that windows hold, in their order.
Ids Packed(const Packing& packing) {
  Ids all;
  for (size_t w = 0; w < packing.windows.size(); ++w) {
    for (const int64_t from : TokensOf(packing, static_cast<int64_t>(w)).source) {
      if (from >= 0) all.push_back(from);
    }
  }
  return all;
}

Ids Iota(int64_t n) {
  Ids ids(n);
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

// 1. Without gradient checkpointing, as in evaluation, it drops mask and positions. Here they are
// in the file: what a forward pass reads back gives each document what it has alone.
TEST(ReferenceQuirks, Quirk1_EvaluationKeepsTheMask) {
  const std::vector<SourceDocument> documents = SourceDocuments(Lengths({6, 9, 4}), -1);
  const test::TempDir folder;
  for (const PackingEngine engine : {PackingEngine::kFlex, PackingEngine::kFlash}) {
    const Packing packing = Pack(documents, Options(engine, 24));
    ASSERT_EQ(packing.windows.size(), 1u);
    const PackedTensors tensors = TensorsOf(packing);
    const std::string path = folder / "packed.safetensors";
    WritePacked(path, packing, tensors, {}, std::nullopt);
    const Mask mask = ReadPackedMask(SafetensorsFile::Open(path));
    const auto together = test::OutputBySource(mask, tensors.position_ids, tensors.source_index);
    std::map<int64_t, std::vector<uint16_t>> alone;
    for (size_t n = 0; n < 3; ++n) {
      // The anchor and the document, at the positions they have in the window.
      Ids source = {kFromAnchor}, positions = {0};
      for (size_t s = 0; s < tensors.source_index.size(); ++s) {
        const int64_t at = tensors.source_index[s] - documents[n].begin;
        if (at < 0 || at >= documents[n].length) continue;
        source.push_back(tensors.source_index[s]);
        positions.push_back(tensors.position_ids[s]);
      }
      const int64_t S = static_cast<int64_t>(source.size());
      alone.merge(test::OutputBySource({{}, 1, S, S, {}, {}}, positions, source));
    }
    EXPECT_EQ(together, alone) << Name(engine);
    const auto plain_causal =
        test::OutputBySource({{}, 1, 24, 24, {}, {}}, tensors.position_ids, tensors.source_index);
    EXPECT_NE(together, plain_causal) << Name(engine);
  }
}

// 2. It copies the window's beginning into every chunk and sorts first chunks before second ones.
TEST(ReferenceQuirks, Quirk2_ChunksHoldTheirDocumentsInAnyOrder) {
  const std::vector<SourceDocument> documents = SourceDocuments(Lengths({300, 80, 1000, 64}), -1);
  bool second_before_a_first = false;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    PackingOptions options = Options(PackingEngine::kFlex, 0);
    options.interleave = true;
    options.seed = seed;
    const Packing packing = Pack(documents, options);
    Ids packed = Packed(packing);
    std::ranges::sort(packed);
    ASSERT_EQ(packed, Iota(1444)) << "seed " << seed;  // each token once
    std::set<int64_t> begun;
    for (const Chunk& chunk : packing.windows[0].chunks) {
      second_before_a_first |= chunk.begin > 0 && begun.size() < 4;
      begun.insert(chunk.document);
    }
  }
  EXPECT_TRUE(second_before_a_first);
}

// 3. Raw text with flex gives windows of M + 1 tokens and then keeps those of M.
TEST(ReferenceQuirks, Quirk3_WindowsHaveTheLengthAskedFor) {
  const std::vector<SourceDocument> documents = SourceDocuments(Lengths({100, 50, 200, 33}), -1);
  for (const PackingEngine engine : {PackingEngine::kFlex, PackingEngine::kFlash}) {
    const Packing packing = Pack(documents, Options(engine, 64));
    EXPECT_EQ(packing.windows.size(), 7u);  // 383 tokens, 63 or 62 and fewer a window
    for (size_t w = 0; w < packing.windows.size(); ++w) {
      EXPECT_EQ(TokensOf(packing, static_cast<int64_t>(w)).source.size(), 64u);
    }
  }
}

// 4. A document that fills a window leaves it without boundaries, and so plain causal.
TEST(ReferenceQuirks, Quirk4_ADocumentThatFillsAWindowKeepsItsBoundaries) {
  const std::vector<SourceDocument> documents = SourceDocuments(Lengths({15, 15, 5, 9}), -1);
  const Packing flash = Pack(documents, Options(PackingEngine::kFlash, 16));
  EXPECT_EQ(TensorsOf(flash).cu_seqlens, (std::vector<int32_t>{0, 16, 32, 38, 48}));
  const Packing flex = Pack(documents, Options(PackingEngine::kFlex, 16));
  const WindowTokens first = TokensOf(flex, 0);
  EXPECT_EQ(MaskOf(flex, first).spec.rule, MaskRule::kAnchor);
  EXPECT_EQ(first.layout.document_ids, (Ids{0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}));
}

// 5. A document cut by a window's end gets a fresh anchor under flash that pushes out its last
// token, and its rest may be a lone anchor.
TEST(ReferenceQuirks, Quirk5_ACutLosesNoTokenAndLeavesNoLoneAnchor) {
  for (int64_t S = 3; S < 38; ++S) {
    const std::vector<SourceDocument> documents = SourceDocuments(Lengths({37, 3, 29, 1, 44}), -1);
    const Packing packing = Pack(documents, Options(PackingEngine::kFlash, S));
    ASSERT_EQ(Packed(packing), Iota(114)) << "S " << S;
    const PackedTensors tensors = TensorsOf(packing);
    for (size_t n = 1; n < tensors.cu_seqlens.size(); ++n) {
      const int32_t begin = tensors.cu_seqlens[n - 1], end = tensors.cu_seqlens[n];
      if (tensors.source_index[begin] == kFromPadding) continue;
      ASSERT_EQ(tensors.source_index[begin], kFromAnchor) << "S " << S;
      ASSERT_GE(end - begin, 2) << "S " << S;
    }
    // And it says so. With S 3 all but the document of 1 token are cut.
    const int64_t cut_documents = S == 3 ? 4 : S == 37 ? 2 : packing.cut_documents;
    ASSERT_EQ(packing.cut_documents, cut_documents);
  }
}

// 6. Documents of 2 tokens or fewer are skipped without a word.
TEST(ReferenceQuirks, Quirk6_ShortDocumentsStayOrAreCounted) {
  const std::vector<SourceDocument> documents = SourceDocuments(Lengths({1, 5, 2, 0, 3}), -1);
  PackingOptions options = Options(PackingEngine::kFlex, 0);
  const Packing all = Pack(documents, options);
  EXPECT_EQ(Packed(all), Iota(11));
  EXPECT_EQ(all.short_documents, 1);  // the empty one
  EXPECT_EQ(all.short_tokens, 0);
  options.min_length = 3;
  const Packing longer = Pack(documents, options);
  EXPECT_EQ(Packed(longer), (Ids{1, 2, 3, 4, 5, 8, 9, 10}));
  EXPECT_EQ(longer.short_documents, 3);
  EXPECT_EQ(longer.short_tokens, 3);
}

// 7. With EOS for an anchor it stops at documents that contain EOS. Here a token's id makes no
// anchor: one at a document's beginning is its BOS, all others are text.
TEST(ReferenceQuirks, Quirk7_AnEosInsideADocumentIsAToken) {
  constexpr int64_t kEos = 2;
  const DocumentList list = {{4, 3}, {5, kEos, 6, kEos, kEos, kEos, 7}, true, {}};
  const Packing packing = Pack(SourceDocuments(list, kEos), Options(PackingEngine::kFlex, 0));
  const PackedTensors tensors = TensorsOf(packing);
  EXPECT_EQ(TokenIds(packing, tensors, list.tokens, {kEos, 0, {}}),
            (Ids{kEos, 5, kEos, 6, kEos, kEos, 7}));
  EXPECT_EQ(tensors.document_ids, (Ids{0, 1, 1, 1, 1, 2, 2}));
  EXPECT_EQ(packing.stripped_bos, 1);
  const Packing flash = Pack(SourceDocuments(list, kEos), Options(PackingEngine::kFlash, 0));
  EXPECT_EQ(TensorsOf(flash).cu_seqlens, (std::vector<int32_t>{0, 5, 8}));
}

}  // namespace
}  // namespace bitanchor
