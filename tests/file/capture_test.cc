// Captures that are right: what each feature of the format gives.
#include "lib/file/capture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/file/test_files.h"

namespace bitanchor::test {
namespace {

using Numbers = std::vector<int64_t>;

bool Has(const std::vector<std::string>& defaults, const std::string& text) {
  return std::ranges::find(defaults, text) != defaults.end();
}

// The element's bits in CountBF16's tensor.
uint16_t Bits(const TensorView& view, int64_t b, int64_t s, int64_t h, int64_t d) {
  uint16_t bits;
  std::memcpy(&bits, view.Row(b, s, h) + 2 * d, sizeof bits);
  return bits;
}

TEST(Capture, TakesAndNamesEveryDefault) {
  const std::string bytes = SmallProblem(2, 4, 4, 4, 2, 8).Build();
  const Capture capture = ReadBytes(bytes);
  const AttentionShape& shape = capture.problem.shape;
  EXPECT_EQ((Numbers{shape.B, shape.Sq, shape.Skv, shape.Hq, shape.Hkv, shape.D}),
            (Numbers{2, 4, 4, 4, 2, 8}));
  EXPECT_EQ(capture.problem.dtype, DType::kBF16);
  EXPECT_EQ(capture.problem.softmax_scale, DefaultSoftmaxScale(8));
  EXPECT_FALSE(capture.problem.rope);
  EXPECT_FALSE(capture.HasAnswer());
  EXPECT_EQ(capture.kernel, "");
  EXPECT_EQ(capture.defaults,
            (std::vector<std::string>{
                "version: 1 (default)", "layout: bshd (default)", "mask.rule: full (default)",
                "mask.causal: true (default)", "mask.corner: top-left (default)",
                "mask.window_keys: null (default)",
                "softmax_scale: 0.35355338 (default, 1/sqrt(8) rounded to F32)"}));
  // Element [1, 2, 3, 4] of [2, 4, 4, 8].
  EXPECT_EQ(Bits(capture.problem.q, 1, 2, 3, 4), 0x3f00 + ((1 * 4 + 2) * 4 + 3) * 8 + 4);
  EXPECT_EQ(Bits(capture.problem.k, 1, 3, 1, 7), 0x3e00 + ((1 * 4 + 3) * 2 + 1) * 8 + 7);
}

TEST(Capture, TakesNoDefaultWhereAllIsSaid) {
  TestFile file = SmallProblem();
  file.tensors["document_ids"] = I32({1, 4}, {0, 1, 1, 2});
  file.tensors["q_document_ids"] = I64({1, 4}, {0, 1, 1, 2});
  file.tensors["position_ids"] = I32({1, 4}, {0, 1, 2, 3});
  file.tensors["q_position_ids"] = I64({1, 4}, {0, 1, 2, 2147483647});
  file.tensors["lse"] = CountF32({1, 2, 4}, 0);
  file.metadata = R"({"version": 1, "kernel": "free \"text\"", "layout": "bshd",
      "mask": {"rule": "anchor", "causal": false, "window_keys": 3, "corner": "bottom-right"},
      "softmax_scale": 0.1,
      "rope": {"rope_type": "default", "rope_theta": 500000, "rotary_dim": 4,
               "pairing": "interleaved", "recipe": "hf-llama"},
      "lse": {"base": "2", "scaled": false, "empty": "+inf"}})";
  const std::string bytes = file.Build();
  const Capture capture = ReadBytes(bytes);
  EXPECT_EQ(capture.defaults, std::vector<std::string>());
  EXPECT_EQ(capture.kernel, "free \"text\"");
  const AttentionProblem& problem = capture.problem;
  EXPECT_EQ(problem.mask.spec.rule, MaskRule::kAnchor);
  EXPECT_FALSE(problem.mask.spec.causal);
  EXPECT_EQ(problem.mask.spec.window_keys, 3);
  EXPECT_EQ(problem.mask.spec.corner, Corner::kBottomRight);
  EXPECT_EQ(problem.mask.k_ids, (Numbers{0, 1, 1, 2}));
  EXPECT_EQ(problem.mask.q_ids, (Numbers{0, 1, 1, 2}));
  EXPECT_EQ(problem.q_positions, (Numbers{0, 1, 2, 2147483647}));
  EXPECT_EQ(problem.k_positions, (Numbers{0, 1, 2, 3}));
  EXPECT_EQ(problem.softmax_scale, 0.1f);
  ASSERT_TRUE(problem.rope);
  EXPECT_EQ(problem.rope->recipe, "hf-llama");
  EXPECT_EQ(problem.rope->rope_theta, 500000.0);
  EXPECT_EQ(problem.rope->rotary_dim, 4);
  EXPECT_EQ(problem.rope->pairing, RopePairing::kInterleaved);
  EXPECT_EQ(capture.lse_spec.base, LseBase::k2);
  EXPECT_FALSE(capture.lse_spec.scaled);
  EXPECT_EQ(capture.lse_spec.empty, INFINITY);
}

TEST(Capture, SeesBhsdAsBshd) {
  TestFile file;
  file.tensors["q"] = CountBF16({2, 4, 3, 8}, 0x3f00);  // [B, H, S, D]
  file.tensors["k"] = CountBF16({2, 2, 5, 8}, 0x3e00);
  file.tensors["v"] = CountBF16({2, 2, 5, 8}, 0x3d00);
  file.tensors["o"] = CountBF16({2, 4, 3, 8}, 0x3c00);
  file.tensors["lse"] = CountF32({2, 4, 3}, 0);
  file.metadata = R"({"layout": "bhsd"})";
  const std::string bytes = file.Build();
  const Capture capture = ReadBytes(bytes);
  const AttentionShape& shape = capture.problem.shape;
  EXPECT_EQ((Numbers{shape.B, shape.Sq, shape.Skv, shape.Hq, shape.Hkv, shape.D}),
            (Numbers{2, 3, 5, 4, 2, 8}));
  EXPECT_EQ(Bits(capture.problem.q, 1, 2, 3, 4), 0x3f00 + ((1 * 4 + 3) * 3 + 2) * 8 + 4);
  EXPECT_EQ(Bits(capture.problem.v, 1, 4, 1, 7), 0x3d00 + ((1 * 2 + 1) * 5 + 4) * 8 + 7);
  EXPECT_EQ(Bits(capture.o, 0, 2, 3, 4), 0x3c00 + (3 * 3 + 2) * 8 + 4);
  EXPECT_EQ(capture.lse.At(1, 3, 2), static_cast<float>((1 * 4 + 3) * 3 + 2));
}

TEST(Capture, ReadsThd) {
  TestFile file;
  file.tensors["q"] = CountBF16({6, 2, 8}, 0x3f00);  // [T, H, D]
  file.tensors["k"] = CountBF16({6, 1, 8}, 0x3e00);
  file.tensors["v"] = CountBF16({6, 1, 8}, 0x3d00);
  file.tensors["dq"] = CountBF16({6, 2, 8}, 0x3c00);
  file.tensors["do"] = CountBF16({6, 2, 8}, 0x3b00);
  file.tensors["lse"] = CountF32({2, 6}, 0);
  file.tensors["cu_seqlens"] = I32({5}, {0, 1, 4, 4, 6});
  file.tensors["position_ids"] = I64({6}, {0, 0, 1, 2, 0, 1});
  file.metadata =
      R"({"layout": "thd", "mask": {"rule": "document"}, "rope": {"recipe": "meta-llama"}})";
  const std::string bytes = file.Build();
  const Capture capture = ReadBytes(bytes);
  const AttentionShape& shape = capture.problem.shape;
  EXPECT_EQ((Numbers{shape.B, shape.Sq, shape.Skv, shape.Hq, shape.Hkv, shape.D}),
            (Numbers{1, 6, 6, 2, 1, 8}));
  EXPECT_EQ(capture.layout, Layout::kTHD);
  EXPECT_EQ(capture.problem.mask.k_ids, (Numbers{0, 1, 1, 1, 3, 3}));
  EXPECT_EQ(capture.problem.mask.q_ids, (Numbers{0, 1, 1, 1, 3, 3}));
  EXPECT_EQ(capture.problem.k_positions, (Numbers{0, 0, 1, 2, 0, 1}));
  EXPECT_EQ(capture.problem.q_positions, (Numbers{0, 0, 1, 2, 0, 1}));
  EXPECT_EQ(Bits(capture.problem.q, 0, 5, 1, 7), 0x3f00 + (5 * 2 + 1) * 8 + 7);
  EXPECT_EQ(capture.lse.At(0, 1, 5), 11.0f);
  EXPECT_EQ(capture.problem.rope->pairing, RopePairing::kInterleaved);  // meta-llama's
  EXPECT_TRUE(Has(capture.defaults, "rope.pairing: interleaved (default, that of meta-llama)"));
  EXPECT_TRUE(Has(capture.defaults, "q_document_ids: document_ids[i] for query i (default)"));
  // thd cannot do without cu_seqlens: document_ids may say the same, and nothing else.
  file.tensors["document_ids"] = I32({6}, {0, 1, 1, 1, 3, 3});
  const std::string with_ids = file.Build();
  EXPECT_EQ(ReadBytes(with_ids).problem.mask.k_ids, (Numbers{0, 1, 1, 1, 3, 3}));
  file.tensors["document_ids"] = I32({6}, {0, 1, 1, 1, 2, 2});
  EXPECT_EQ(RefusalOf(file),
            "document_ids: got a tensor besides cu_seqlens, want none, or the ids that cu_seqlens "
            "gives");
}

TEST(Capture, TakesCuSeqlensInsteadOfDocumentIds) {
  TestFile file = SmallProblem(1, 4, 4);
  file.tensors["cu_seqlens"] = I32({3}, {0, 1, 4});
  file.metadata = R"({"mask": {"rule": "anchor"}})";
  const std::string bytes = file.Build();
  EXPECT_EQ(ReadBytes(bytes).problem.mask.k_ids, (Numbers{0, 1, 1, 1}));
}

TEST(Capture, TakesTheQueriesEntriesFromTheKeysAsTheCornerSays) {
  TestFile file = SmallProblem(2, 2, 5);
  file.tensors["document_ids"] = I32({2, 5}, {0, 1, 2, 3, 4, 10, 11, 12, 13, 14});
  file.tensors["position_ids"] = I32({2, 5}, {9, 8, 7, 6, 5, 4, 3, 2, 1, 0});
  file.metadata = R"({"mask": {"rule": "document"}, "rope": {"recipe": "hf-llama"}})";
  const std::string top_left = file.Build();
  const Capture first = ReadBytes(top_left);
  EXPECT_EQ(first.problem.mask.q_ids, (Numbers{0, 1, 10, 11}));
  EXPECT_EQ(first.problem.q_positions, (Numbers{9, 8, 4, 3}));
  file.metadata =
      R"({"mask": {"rule": "document", "corner": "bottom-right"}, "rope": {"recipe": "hf-llama"}})";
  const std::string bottom_right = file.Build();
  const Capture last = ReadBytes(bottom_right);
  EXPECT_EQ(last.problem.mask.q_ids, (Numbers{3, 4, 13, 14}));
  EXPECT_EQ(last.problem.q_positions, (Numbers{6, 5, 1, 0}));
  EXPECT_TRUE(Has(last.defaults, "q_document_ids: document_ids[i + 3] for query i (default)"));
  EXPECT_TRUE(Has(last.defaults, "q_position_ids: position_ids[i + 3] for query i (default)"));
}

TEST(Capture, CountsPositionsWhereNoneAreGiven) {
  TestFile file = SmallProblem(2, 2, 3);
  file.metadata = R"({"mask": {"corner": "bottom-right"}, "rope": {"recipe": "hf-llama"}})";
  const std::string bytes = file.Build();
  const Capture capture = ReadBytes(bytes);
  EXPECT_EQ(capture.problem.k_positions, (Numbers{0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(capture.problem.q_positions, (Numbers{1, 2, 1, 2}));
  EXPECT_TRUE(Has(capture.defaults, "position_ids: 0..2 (default)"));
}

TEST(Capture, NeedsNoEntriesForQueriesThatNeedNone) {
  // More queries than keys: only rules and RoPE ask what stands at query i.
  TestFile file = SmallProblem(1, 5, 2);
  file.tensors["document_ids"] = I32({1, 2}, {0, 1});
  const std::string bytes = file.Build();
  const Capture capture = ReadBytes(bytes);
  EXPECT_EQ(capture.problem.mask.k_ids, (Numbers{0, 1}));
  EXPECT_TRUE(capture.problem.mask.q_ids.empty());
  file.metadata = R"({"mask": {"rule": "document"}})";
  EXPECT_EQ(RefusalOf(file),
            "q_document_ids: got no tensor, want one, as queries stand at keys 0..4 and not all "
            "within 0..1");
  file.tensors["q_document_ids"] = I32({1, 5}, {0, 0, 1, 1, 7});
  const std::string given = file.Build();
  EXPECT_EQ(ReadBytes(given).problem.mask.q_ids, (Numbers{0, 0, 1, 1, 7}));
  file.metadata = R"({"rope": {"recipe": "hf-llama"}, "mask": {"corner": "bottom-right"}})";
  EXPECT_EQ(RefusalOf(file),
            "q_position_ids: got no tensor, want one, as queries stand at keys -3..1 and not all "
            "within 0..1");
}

TEST(Capture, FindsEveryAnswer) {
  const TestFile problem = SmallProblem(1, 4, 5, 2, 1, 8);
  const std::string rope = R"({"rope": {"recipe": "hf-llama"}})";
  const auto answered = [&](const std::string& name, const TestTensor& tensor) {
    TestFile file = problem;
    file.metadata = rope;
    if (name[0] == 'd') file.tensors["do"] = CountBF16({1, 4, 2, 8}, 0x3c00);
    file.tensors[name] = tensor;
    const std::string bytes = file.Build();
    return ReadBytes(bytes).HasAnswer();
  };
  EXPECT_TRUE(answered("o", CountBF16({1, 4, 2, 8}, 0x3c00)));
  EXPECT_TRUE(answered("lse", CountF32({1, 2, 4}, 0)));
  EXPECT_TRUE(answered("q_rope", CountBF16({1, 4, 2, 8}, 0x3c00)));
  EXPECT_TRUE(answered("q_rope", CountF32({1, 4, 2, 8}, 0)));
  EXPECT_TRUE(answered("k_rope", CountF32({1, 5, 1, 8}, 0)));
  EXPECT_TRUE(answered("dq", CountBF16({1, 4, 2, 8}, 0x3c00)));
  EXPECT_TRUE(answered("dk", CountBF16({1, 5, 1, 8}, 0x3c00)));
  EXPECT_TRUE(answered("dv", CountF32({1, 5, 1, 8}, 0)));
  EXPECT_TRUE(answered("delta", CountF32({1, 2, 4}, 0)));
  EXPECT_FALSE(answered("do", CountBF16({1, 4, 2, 8}, 0x3c00)));
}

TEST(Capture, WidensTheKernelsTables) {
  TestFile file = SmallProblem();
  file.metadata = R"({"rope": {"recipe": "hf-llama", "rotary_dim": 4}})";
  file.tensors["cos"] = {"BF16", {4, 2}, Pack(std::vector<uint16_t>(8, 0x3f80))};
  file.tensors["sin"] = {"F16", {4, 2}, Pack(std::vector<uint16_t>(8, 0x3800))};
  file.tensors["inv_freq"] = CountF32({2}, 1);
  const std::string bytes = file.Build();
  const Capture capture = ReadBytes(bytes);
  EXPECT_EQ(capture.problem.rope->cos, std::vector<float>(8, 1.0f));
  EXPECT_EQ(capture.problem.rope->sin, std::vector<float>(8, 0.5f));
  EXPECT_EQ(capture.problem.rope->inv_freq, (std::vector<float>{1, 2}));
}

TEST(Capture, IsReadFromAPathAndSurvivesMoves) {
  const TempDir dir;
  Spill(dir / "c", SmallProblem().Build());
  Capture capture = ReadCapture(dir / "c");
  const Capture moved = std::move(capture);
  EXPECT_EQ(Bits(moved.problem.q, 0, 3, 1, 7), 0x3f00 + 63);
}

TEST(Capture, LeavesOtherToolsMetadataAlone) {
  TestFile file = SmallProblem();
  std::string bytes = file.Build();
  const std::string header = bytes.substr(8, bytes.find("}}") + 2 - 8);
  const std::string data = bytes.substr(8 + header.size());
  const std::string with = "{\"__metadata__\":{\"format\":\"pt\"}," + header.substr(1);
  const std::string whole = RawFile(with, data);
  EXPECT_FALSE(ReadBytes(whole).HasAnswer());
}

}  // namespace
}  // namespace bitanchor::test
