#include "lib/file/capture_writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/file/test_files.h"

namespace bitanchor::test {
namespace {

// Reads `file`, writes what was read, reads that: nothing may have been lost, and nothing may be
// left to a default.
struct RoundTrip {
  explicit RoundTrip(const TestFile& file, const std::string& kernel = "k\n\"\xc3\xa9\"")
      : bytes(file.Build()), first(ReadBytes(bytes)) {
    const AttentionProblem& problem = first.problem;
    std::vector<OutTensor> tensors = ProblemTensors(problem, first.layout);
    if (const TensorEntry* cu = first.file.Find("cu_seqlens")) {
      tensors.push_back({"cu_seqlens", cu->dtype, cu->shape, {cu->data, cu->bytes}});
    }
    if (first.o) tensors.push_back(OutView("o", first.o, first.layout));
    std::vector<float> lse(
        static_cast<size_t>(problem.shape.B * problem.shape.Hq * problem.shape.Sq));
    for (size_t n = 0; n < lse.size(); ++n) lse[n] = static_cast<float>(n);
    tensors.push_back(OutLse(lse, problem.shape, first.layout));
    WriteSafetensors(
        dir / "c", tensors,
        {{kCaptureKey, CaptureMetadata(problem, first.layout, kernel, first.lse_spec)}});
    again = ReadCapture(dir / "c");
    EXPECT_EQ(again.defaults, std::vector<std::string>());
    EXPECT_EQ(again.kernel, kernel);
    ExpectSame();
  }

  void ExpectSame() {
    const AttentionProblem &want = first.problem, &got = again.problem;
    EXPECT_EQ(got.dtype, want.dtype);
    EXPECT_EQ(got.mask.spec.rule, want.mask.spec.rule);
    EXPECT_EQ(got.mask.spec.causal, want.mask.spec.causal);
    EXPECT_EQ(got.mask.spec.window_keys, want.mask.spec.window_keys);
    EXPECT_EQ(got.mask.spec.corner, want.mask.spec.corner);
    EXPECT_EQ(got.mask.k_ids, want.mask.k_ids);
    EXPECT_EQ(got.mask.q_ids, want.mask.q_ids);
    EXPECT_EQ(got.k_positions, want.k_positions);
    EXPECT_EQ(got.q_positions, want.q_positions);
    EXPECT_EQ(got.softmax_scale, want.softmax_scale);
    EXPECT_EQ(again.layout, first.layout);
    EXPECT_EQ(again.lse_spec.base, first.lse_spec.base);
    EXPECT_EQ(again.lse_spec.scaled, first.lse_spec.scaled);
    EXPECT_EQ(std::isnan(again.lse_spec.empty), std::isnan(first.lse_spec.empty));
    if (!std::isnan(first.lse_spec.empty)) {
      EXPECT_EQ(again.lse_spec.empty, first.lse_spec.empty);
    }
    ExpectSameView(got.q, want.q);
    ExpectSameView(got.k, want.k);
    ExpectSameView(got.v, want.v);
    EXPECT_EQ(static_cast<bool>(again.o), static_cast<bool>(first.o));
    if (first.o) ExpectSameView(again.o, first.o);
    const auto [B, Sq, Skv, Hq, Hkv, D] = want.shape;
    EXPECT_EQ(again.lse.At(B - 1, Hq - 1, Sq - 1), static_cast<float>(B * Hq * Sq - 1));
    ASSERT_EQ(got.rope.has_value(), want.rope.has_value());
    if (want.rope) ExpectSameRope(*got.rope, *want.rope);
  }

  static void ExpectSameView(const TensorView& got, const TensorView& want) {
    ASSERT_EQ(got.dtype, want.dtype);
    ASSERT_EQ(got.shape, want.shape);
    ASSERT_EQ(got.stride, want.stride);
    EXPECT_EQ(std::memcmp(got.data, want.data,
                          static_cast<size_t>(want.Elements()) * DTypeBytes(want.dtype)),
              0);
  }

  static void ExpectSameRope(const RopeConfig& got, const RopeConfig& want) {
    EXPECT_EQ(got.recipe, want.recipe);
    EXPECT_EQ(got.type, want.type);
    EXPECT_EQ(got.rope_theta, want.rope_theta);
    EXPECT_EQ(got.rotary_dim, want.rotary_dim);
    EXPECT_EQ(got.pairing, want.pairing);
    EXPECT_EQ(got.factor, want.factor);
    EXPECT_EQ(got.low_freq_factor, want.low_freq_factor);
    EXPECT_EQ(got.high_freq_factor, want.high_freq_factor);
    EXPECT_EQ(got.original_max_position_embeddings, want.original_max_position_embeddings);
    EXPECT_EQ(got.inv_freq, want.inv_freq);
    EXPECT_EQ(got.cos, want.cos);
    EXPECT_EQ(got.sin, want.sin);
  }

  TempDir dir;
  std::string bytes;
  Capture first, again;
};

TEST(CaptureWriter, RoundTripsAPlainProblem) {
  TestFile file = SmallProblem(2, 4, 5, 2, 1, 8);
  RoundTrip plain(file);
  file.tensors["o"] = CountBF16({2, 4, 2, 8}, 0x3c00);
  file.metadata = R"({"softmax_scale": 0.1, "mask": {"causal": false, "window_keys": 7},
                      "lse": {"base": "2", "scaled": false, "empty": "+inf"}})";
  RoundTrip answered(file);
  file.metadata = R"({"lse": {"empty": "nan"}})";
  RoundTrip nan(file);
  file.metadata = R"({"lse": {"empty": -1e-30}})";
  RoundTrip number(file, "");
}

TEST(CaptureWriter, RoundTripsIdsPositionsAndRope) {
  TestFile file = SmallProblem(2, 2, 4, 2, 1, 8);
  file.tensors["document_ids"] = I64({2, 4}, {0, 1, 1, INT64_MAX, 0, 0, 0, 5});
  file.tensors["position_ids"] = I32({2, 4}, {0, 1, 2, 0, 0, 3, 2, 1});
  file.metadata = R"({"mask": {"rule": "anchor", "corner": "bottom-right"}, "rope":
      {"recipe": "meta-llama", "rotary_dim": 4, "rope_theta": 12345.678, "rope_type": "llama3",
       "factor": 8.1, "low_freq_factor": 1.25, "high_freq_factor": 4.5,
       "original_max_position_embeddings": 4096}})";
  RoundTrip llama3(file);
  file.tensors["cos"] = CountF32({4, 2}, 0.5f);
  file.tensors["sin"] = CountF32({4, 2}, 0.25f);
  file.tensors["inv_freq"] = CountF32({2}, 1);
  file.metadata = R"({"mask": {"rule": "document"}, "rope":
      {"recipe": "hf-llama", "rotary_dim": 4, "type": "linear", "factor": 2,
       "pairing": "interleaved"}})";
  RoundTrip linear(file);
}

TEST(CaptureWriter, RoundTripsTheOtherLayouts) {
  TestFile file;
  file.tensors["q"] = CountBF16({2, 4, 3, 8}, 0x3f00);
  file.tensors["k"] = CountBF16({2, 2, 5, 8}, 0x3e00);
  file.tensors["v"] = CountBF16({2, 2, 5, 8}, 0x3d00);
  file.metadata = R"({"layout": "bhsd"})";
  RoundTrip bhsd(file);
  file.tensors["q"] = CountBF16({4, 2, 8}, 0x3f00);
  file.tensors["k"] = CountBF16({4, 1, 8}, 0x3e00);
  file.tensors["v"] = CountBF16({4, 1, 8}, 0x3d00);
  file.tensors["cu_seqlens"] = I32({3}, {0, 1, 4});
  file.metadata =
      R"({"layout": "thd", "mask": {"rule": "document"}, "rope": {"recipe": "hf-llama"}})";
  RoundTrip thd(file);
}

TEST(CaptureWriter, WritesTheMetadataInFull) {
  const std::string bytes = SmallProblem().Build();
  const Capture capture = ReadBytes(bytes);
  EXPECT_EQ(CaptureMetadata(capture.problem, Layout::kBSHD, "mine"),
            R"({"version":1,"kernel":"mine","layout":"bshd","mask":{"rule":"full","causal":true,)"
            R"("window_keys":null,"corner":"top-left"},"softmax_scale":0.3535533845424652,)"
            R"("lse":{"base":"e","scaled":true,"empty":"-inf"}})");
  EXPECT_EQ(Refusal([&] { CaptureMetadata(capture.problem, Layout::kBSHD, "\xff"); }),
            "kernel: got text that is not UTF-8, want UTF-8");
}

}  // namespace
}  // namespace bitanchor::test
