// A packing as a file, and its mask read back.
#include "lib/file/packed_file.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/file/test_files.h"

namespace bitanchor::test {
namespace {

Packing Example(PackingEngine engine) {
  const std::vector<SourceDocument> documents = {{0, 9, 0, 0}, {9, 4, 1, 2}, {13, 5, 0, 2}};
  PackingOptions options;
  options.engine = engine;
  options.sequence_length = 11;
  return Pack(documents, options);
}

TEST(PackedFile, MaskComesBack) {
  const TempDir folder;
  for (const PackingEngine engine : {PackingEngine::kFlex, PackingEngine::kFlash}) {
    const Packing packing = Example(engine);
    const PackedTensors tensors = TensorsOf(packing);
    const Mask want = MaskOf(packing, tensors);
    WritePacked(folder / "p", packing, tensors, {}, MakeFlexBlockMask(want, 4, 4));
    const SafetensorsFile file = SafetensorsFile::Open(folder / "p");
    ASSERT_TRUE(IsPacked(file));
    const Mask got = ReadPackedMask(file);
    EXPECT_EQ(got.spec.rule, want.spec.rule);
    EXPECT_EQ(got.B, 3);
    for (int64_t b = 0; b < 3; ++b) {
      for (int64_t i = 0; i < 11; ++i) {
        for (int64_t j = 0; j < 11; ++j) {
          ASSERT_EQ(got.Visible(b, i, j), want.Visible(b, i, j)) << b << " " << i << " " << j;
        }
      }
    }
    EXPECT_NE(file.Find("kv_num_blocks"), nullptr);
    EXPECT_EQ(file.Find("cu_seqlens") != nullptr, engine == PackingEngine::kFlash);
  }
}

// Starts of all windows end to end: each window's, moved by what lies before it.
TEST(PackedFile, StartsOfAllWindows) {
  const PackedTensors tensors = TensorsOf(Example(PackingEngine::kFlash));
  EXPECT_EQ(tensors.cu_seqlens, (std::vector<int32_t>{0, 10, 11, 17, 22, 28, 33}));
  for (size_t n = 0; n + 1 < tensors.cu_seqlens.size(); ++n) {
    EXPECT_EQ(tensors.position_ids[tensors.cu_seqlens[n]], 0);
  }
}

TEST(PackedFile, TokensOfEachOrigin) {
  const std::vector<int64_t> input = {10, 11, 12, 13, 14, 15, 16, 17, 18,  // the first document
                                      1,  20, 21, 22,                      // its BOS is stripped
                                      30, 31, 32, 33, 34};
  const std::vector<int64_t> tag = {7, 8}, other = {5, 6};
  const Packing packing = Example(PackingEngine::kFlex);
  const PackedTensors tensors = TensorsOf(packing);
  EXPECT_EQ(TokenIds(packing, tensors, input, {1, 0, {{}, tag, other}}),
            (std::vector<int64_t>{1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 0,   //
                                  1, 7,  8,  20, 21, 22, 5,  6,  30, 31, 32,  //
                                  1, 5,  6,  33, 34, 0,  0,  0,  0,  0,  0}));
}

TEST(PackedFile, RefusesAnotherMask) {
  const auto refusal = [](const std::function<void(TestFile&)>& change) {
    TestFile file;
    file.metadata = R"({"mask": {"rule": "anchor"}})";
    file.tensors["document_ids"] = I64({1, 3}, {0, 1, 1});
    change(file);
    const std::string bytes = file.Build();
    return Refusal([&] { ReadPackedMask(SafetensorsFile::Parse(AsBytes(bytes), "x")); });
  };
  EXPECT_EQ(refusal([](TestFile&) {}), "");
  EXPECT_NE(refusal([](TestFile& file) { file.metadata.reset(); }), "");
  EXPECT_NE(refusal([](TestFile& file) { file.metadata = "{\"mask\": {\"rule\": \"x\"}}"; }), "");
  EXPECT_NE(refusal([](TestFile& file) { file.tensors.clear(); }), "");
  EXPECT_NE(refusal([](TestFile& file) {
              file.tensors["document_ids"] = I64({3}, {0, 1, 1});
            }),
            "");
  EXPECT_NE(refusal([](TestFile& file) { file.tensors["document_ids"] = I64({1, 0}, {}); }), "");
  EXPECT_NE(refusal([](TestFile& file) {
              file.tensors["document_ids"] = I64({1, 3}, {0, -1, 1});
            }),
            "");
  EXPECT_NE(refusal([](TestFile& file) {
              file.tensors["document_ids"] = CountF32({1, 3}, 0);
            }),
            "");
}

}  // namespace
}  // namespace bitanchor::test
