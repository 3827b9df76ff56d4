// The metadata of a capture: what it may say and what the error names.
#include "lib/file/capture_metadata.h"

#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "tests/file/test_files.h"

namespace bitanchor::test {
namespace {

constexpr int64_t kHeadDim = 16;

CaptureSpec Read(const std::string& text) { return ReadCaptureSpec(text, kHeadDim); }

// Through a whole file with every id in it, so that only the metadata can be at fault.
std::string MetadataRefusal(const std::string& text) {
  TestFile file = SmallProblem(1, 4, 4, 2, 1, kHeadDim);
  file.tensors["document_ids"] = I32({1, 4}, {0, 1, 1, 2});
  file.metadata = text;
  return RefusalOf(file);
}

std::string WithRope(const std::string& fields) {
  const std::string recipe = R"("recipe": "hf-llama")";
  return R"({"rope": {)" + recipe + (fields.empty() ? "" : ", ") + fields + "}}";
}

std::string RopeRefusal(const std::string& fields) { return MetadataRefusal(WithRope(fields)); }

RopeConfig ReadRope(const std::string& fields) { return *Read(WithRope(fields)).rope; }

struct Case {
  const char* text;
  const char* refusal;
};

TEST(CaptureMetadata, RefusesAndNamesTheField) {
  const Case cases[] = {
      {"[]", "__metadata__.bitanchor: got an array, want an object"},
      {"null", "__metadata__.bitanchor: got null, want an object"},
      {R"({"versions": 1})",
       "versions: got a key of this name, want one of version, kernel, layout, mask, "
       "softmax_scale, rope, lse"},
      {R"({"\u001b": 1})",
       "\\x1b: got a key of this name, want one of version, kernel, layout, mask, softmax_scale, "
       "rope, lse"},
      {R"({"version": 2})", "version: got 2, want 1"},
      {R"({"version": 0})", "version: got 0, want 1"},
      {R"({"version": 1.0})", "version: got 1.0, want an integer"},
      {R"({"version": "1"})", "version: got \"1\", want an integer"},
      {R"({"version": null})", "version: got null, want an integer"},
      {R"({"version": 18446744073709551617})",
       "version: got 1.8446744073709552e+19, want an integer"},
      {R"({"version": 9223372036854775809})", "version: got 9223372036854775809, want an integer"},
      {R"({"version": 1, "version": 1})",
       "version: got the same key twice in one object, want it once"},
      {R"({"kernel": 3})", "kernel: got 3, want a string"},
      {R"({"layout": "sbhd"})", "layout: got \"sbhd\", want one of bshd, bhsd, thd"},
      {R"({"layout": "BSHD"})", "layout: got \"BSHD\", want one of bshd, bhsd, thd"},
      {R"({"layout": 3})", "layout: got 3, want a string"},
      {R"({"mask": "anchor"})", "mask: got \"anchor\", want an object"},
      {R"({"mask": null})", "mask: got null, want an object"},
      {R"({"mask": {"rules": "anchor"}})",
       "mask.rules: got a key of this name, want one of rule, causal, window_keys, corner"},
      {R"({"mask": {"rule": "anchored"}})",
       "mask.rule: got \"anchored\", want one of full, document, anchor"},
      {R"({"mask": {"rule": ["full"]}})", "mask.rule: got an array, want a string"},
      {R"({"mask": {"rule": "full", "rule": "full"}})",
       "mask.rule: got the same key twice in one object, want it once"},
      {R"({"mask": {"causal": 1}})", "mask.causal: got 1, want true or false"},
      {R"({"mask": {"causal": "true"}})", "mask.causal: got \"true\", want true or false"},
      {R"({"mask": {"window_keys": 0}})", "mask.window_keys: got 0, want null or >= 1"},
      {R"({"mask": {"window_keys": -1}})", "mask.window_keys: got -1, want null or >= 1"},
      {R"({"mask": {"window_keys": 2.5}})", "mask.window_keys: got 2.5, want an integer"},
      {R"({"mask": {"window_keys": 4.0}})", "mask.window_keys: got 4.0, want an integer"},
      {R"({"mask": {"window_keys": "4"}})", "mask.window_keys: got \"4\", want an integer"},
      {R"({"mask": {"window_keys": true}})", "mask.window_keys: got true, want an integer"},
      {R"({"mask": {"window_keys": 1e400}})", nullptr},
      {R"({"mask": {"corner": "top_left"}})",
       "mask.corner: got \"top_left\", want one of top-left, bottom-right"},
      {R"({"softmax_scale": "0.1"})", "softmax_scale: got \"0.1\", want a number"},
      {R"({"softmax_scale": null})", "softmax_scale: got null, want a number"},
      {R"({"softmax_scale": 0})",
       "softmax_scale: got 0, want a number that is finite and > 0 as F32"},
      {R"({"softmax_scale": -0.5})",
       "softmax_scale: got -0.5, want a number that is finite and > 0 as F32"},
      {R"({"softmax_scale": 1e39})",
       "softmax_scale: got 1e+39, want a number that is finite and > 0 as F32"},
      {R"({"softmax_scale": 7e-46})",
       "softmax_scale: got 7e-46, want a number that is finite and > 0 as F32"},
      {R"({"softmax_scale": 1e999})", nullptr},
      {R"({"softmax_scale": NaN})", nullptr},
      {R"({"softmax_scale": Infinity})", nullptr},
      {R"({"lse": 1})", "lse: got 1, want an object"},
      {R"({"lse": {"bases": "e"}})",
       "lse.bases: got a key of this name, want one of base, scaled, empty"},
      {R"({"lse": {"base": "10"}})", "lse.base: got \"10\", want \"e\" or \"2\""},
      {R"({"lse": {"base": 10}})", "lse.base: got 10, want \"e\" or \"2\""},
      {R"({"lse": {"base": null}})", "lse.base: got null, want \"e\" or \"2\""},
      {R"({"lse": {"scaled": "yes"}})", "lse.scaled: got \"yes\", want true or false"},
      {R"({"lse": {"empty": "inf"}})",
       "lse.empty: got \"inf\", want \"-inf\", \"+inf\", \"nan\" or a number that is finite as "
       "F32"},
      {R"({"lse": {"empty": 1e39}})",
       "lse.empty: got 1e+39, want \"-inf\", \"+inf\", \"nan\" or a number that is finite as F32"},
      {R"({"lse": {"empty": null}})",
       "lse.empty: got null, want \"-inf\", \"+inf\", \"nan\" or a number that is finite as F32"},
      {"", nullptr},
      {"{", nullptr},
      {"{} {}", nullptr},
      {"{'version': 1}", nullptr},
      {"\xef\xbb\xbf{}", nullptr},
  };
  ASSERT_EQ(MetadataRefusal("{}"), "");
  for (const auto& [text, want] : cases) {
    SCOPED_TRACE(text);
    const std::string got = MetadataRefusal(text);
    if (want != nullptr) {
      EXPECT_EQ(got, want);
    } else {
      EXPECT_EQ(got.find("__metadata__.bitanchor: got "), 0u) << got;
    }
  }
  EXPECT_NE(MetadataRefusal(std::string("{}\0", 3)), "");
  std::string deep;
  for (int n = 0; n < 100'000; ++n) deep += "{\"mask\":";
  EXPECT_NE(MetadataRefusal(deep), "");
}

TEST(CaptureMetadata, ChecksTheWindowBeforeAnyProblemIsBuilt) {
  EXPECT_EQ(Refusal([] { Read(R"({"mask": {"window_keys": 0}})"); }),
            "mask.window_keys: got 0, want null or >= 1");
  EXPECT_EQ(Read(R"({"mask": {"window_keys": 1}})").mask.window_keys, 1);
}

// A case without an expectation is refused for a key's name.
void ExpectRopeRefusals(std::span<const Case> cases) {
  for (const auto& [text, want] : cases) {
    SCOPED_TRACE(text);
    const std::string got = RopeRefusal(text);
    if (want != nullptr) {
      EXPECT_EQ(got, want);
    } else {
      EXPECT_NE(got.find(": got a key of this name, want one of "), std::string::npos) << got;
    }
  }
}

TEST(CaptureMetadata, RefusesRopeAndNamesTheField) {
  const Case cases[] = {
      {R"("thetas": 1)", nullptr},
      {R"("rope_theta": "10000")", "rope.rope_theta: got \"10000\", want a number"},
      {R"("rope_theta": 0)", "rope.rope_theta: got 0, want finite and > 0 as F32"},
      {R"("rope_theta": -1.5)", "rope.rope_theta: got -1.5, want finite and > 0 as F32"},
      {R"("rope_theta": 1e39)", "rope.rope_theta: got 1e+39, want finite and > 0 as F32"},
      {R"("rotary_dim": 3)", "rope.rotary_dim: got 3, want an even number in 2..16"},
      {R"("rotary_dim": 0)", "rope.rotary_dim: got 0, want an even number in 2..16"},
      {R"("rotary_dim": -2)", "rope.rotary_dim: got -2, want an even number in 2..16"},
      {R"("rotary_dim": 18)", "rope.rotary_dim: got 18, want an even number in 2..16"},
      {R"("rotary_dim": 8.0)", "rope.rotary_dim: got 8.0, want an integer"},
      {R"("pairing": "halves")", "rope.pairing: got \"halves\", want half or interleaved"},
      {R"("pairing": true)", "rope.pairing: got true, want a string"},
      {R"("rope_type": "ntk", "factor": 4.0)",
       "rope.rope_type: got \"ntk\", want one of default, linear, dynamic, yarn, longrope, llama3"},
      {R"("rope_type": "yarn", "factor": 4.0)",
       "rope.original_max_position_embeddings: got no value, want one, as rope_type yarn needs it"},
      {R"("rope_type": "yarn", "original_max_position_embeddings": 32)",
       "rope.factor: got no value, want one, or max_position_embeddings, with rope_type yarn"},
      {R"("rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32,
          "mscale": -1)",
       "rope.mscale: got -1, want finite and > 0 as F32"},
      {R"("rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32,
          "truncate": 1)",
       "rope.truncate: got 1, want true or false"},
      {R"("mscale": 1)", "rope.mscale: got 1, want no such field with rope_type default"},
      {R"("rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32,
          "long_factor": [1])",
       "rope.long_factor: got an array, want no such field with rope_type yarn"},
      {R"("type": "dynamic", "factor": 2.0)",
       "rope.max_position_embeddings: got no value, want one, as rope_type dynamic needs it"},
      {R"("rope_scaling": {"type": "longrope", "short_factor": [1], "long_factor": [1]})",
       "rope.original_max_position_embeddings: got no value, want one, as rope_type longrope needs "
       "it"},
      {R"("rope_scaling": {"type": "longrope", "short_factor": [1], "long_factor": [1]},
          "original_max_position_embeddings": 4096)",
       "rope.factor: got no value, want one, or attention_factor or max_position_embeddings, with "
       "rope_type longrope"},
      {R"("type": "longrope", "factor": 2, "short_factor": [1, "2"], "long_factor": [1],
          "original_max_position_embeddings": 4096)",
       "rope.short_factor: got an array, want an array of numbers"},
      {R"("rope_type": "linear", "type": "llama3")",
       "rope.type: got \"llama3\", want \"linear\", as rope.rope_type says"},
      {R"("rope_type": "linear")",
       "rope.factor: got no value, want one, as rope_type linear needs it"},
      {R"("rope_type": "linear", "factor": 0)", "rope.factor: got 0, want finite and > 0 as F32"},
      {R"("rope_type": "linear", "factor": "2")", "rope.factor: got \"2\", want a number"},
      {R"("rope_type": "linear", "factor": 2, "low_freq_factor": 1)",
       "rope.low_freq_factor: got 1, want no such field with rope_type linear"},
      {R"("factor": 2.0)", "rope.factor: got 2.0, want no such field with rope_type default"},
      {R"("rope_scaling": {"beta_fast": 32})",
       "rope.rope_scaling.beta_fast: got 32, want no such field with rope_type default"},
      {R"("rope_type": "llama3", "low_freq_factor": 1, "high_freq_factor": 4,
           "original_max_position_embeddings": 8192)",
       "rope.factor: got no value, want one, as rope_type llama3 needs it"},
      {R"("rope_type": "llama3", "factor": 8, "high_freq_factor": 4,
           "original_max_position_embeddings": 8192)",
       "rope.low_freq_factor: got no value, want one, as rope_type llama3 needs it"},
      {R"("rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
           "original_max_position_embeddings": 8192)",
       "rope.high_freq_factor: got no value, want one, as rope_type llama3 needs it"},
      {R"("rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4)",
       "rope.original_max_position_embeddings: got no value, want one, as rope_type llama3 needs "
       "it"},
      {R"("original_max_position_embeddings": 0)",
       "rope.original_max_position_embeddings: got 0, want >= 1"},
      {R"("original_max_position_embeddings": 8192.0)",
       "rope.original_max_position_embeddings: got 8192.0, want an integer"},
      {R"("max_position_embeddings": 0)", "rope.max_position_embeddings: got 0, want >= 1"},
      {R"("max_position_embeddings": "4096")",
       "rope.max_position_embeddings: got \"4096\", want an integer"},
      {R"("partial_rotary_factor": 0.4, "rotary_dim": 8)",
       "rope.rotary_dim: got 8, want 6, as rope.partial_rotary_factor says"},
      {R"("partial_rotary_factor": 0.2)",
       "rope.partial_rotary_factor: got 0.2, that is 3 dimensions, want an even number of the 16 "
       "dimensions, 2 or more"},
      {R"("partial_rotary_factor": 0.01)",
       "rope.partial_rotary_factor: got 0.01, that is 0 dimensions, want an even number of the 16 "
       "dimensions, 2 or more"},
      {R"("partial_rotary_factor": 0)",
       "rope.partial_rotary_factor: got 0.0, want a number in (0, 1]"},
      {R"("partial_rotary_factor": 1.5)",
       "rope.partial_rotary_factor: got 1.5, want a number in (0, 1]"},
      {R"("partial_rotary_factor": "0.5")",
       "rope.partial_rotary_factor: got \"0.5\", want a number"},
      {R"("rope_theta": 10000, "rope_parameters": {"rope_theta": 500000.0})",
       "rope.rope_parameters.rope_theta: got 500000.0, want 10000.0, as rope.rope_theta says"},
      {R"("rope_scaling": {"type": "linear", "factor": 2}, "rope_parameters": {"factor": 4})",
       "rope.rope_scaling.factor: got 2, want 4.0, as rope.rope_parameters.factor says"},
      {R"("rope_scaling": [])", "rope.rope_scaling: got an array, want an object"},
      {R"("rope_parameters": "x")", "rope.rope_parameters: got \"x\", want an object"},
      {R"("rope_scaling": {"recipe": "hf-llama"})", nullptr},
      {R"("rope_scaling": {"rope_scaling": null})", nullptr},
      {R"("rope_theta": 1, "rope_theta": 1)",
       "rope.rope_theta: got the same key twice in one object, want it once"},
      {R"("rope_scaling": {"factor": 1, "factor": 1})",
       "rope.rope_scaling.factor: got the same key twice in one object, want it once"},
  };
  ASSERT_EQ(RopeRefusal(""), "");
  ExpectRopeRefusals(cases);
}

TEST(CaptureMetadata, RopeNeedsARecipe) {
  const std::string want = ", want one of hf-llama,";
  for (const auto& [rope, beginning] :
       {std::pair<std::string, std::string>{"{}", "rope.recipe: got no value" + want},
        {R"({"rope_theta": 10000})", "rope.recipe: got no value" + want},
        {R"({"recipe": "hf"})", "rope.recipe: got \"hf\"" + want},
        {R"({"recipe": ""})", "rope.recipe: got \"\"" + want},
        {R"({"recipe": 1})", "rope.recipe: got 1, want a string"},
        {"null", "rope: got null, want an object"},
        {"true", "rope: got true, want an object"}}) {
    const std::string got = MetadataRefusal("{\"rope\": " + rope + "}");
    EXPECT_EQ(got.substr(0, beginning.size()), beginning) << got;
  }
}

TEST(CaptureMetadata, ReadsRopeAsConfigsHaveIt) {
  const RopeConfig plain = ReadRope("");
  EXPECT_EQ(plain.recipe, "hf-llama");
  EXPECT_EQ(plain.type, RopeType::kDefault);
  EXPECT_EQ(plain.rope_theta, 10000.0);
  EXPECT_EQ(plain.rotary_dim, kHeadDim);
  EXPECT_EQ(plain.pairing, RopePairing::kHalf);

  // config.json of meta-llama/Llama-3.1-8B: theta flat, the rest nested.
  const std::string nested = R"("factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 8192, "rope_type": "llama3")";
  const auto expect_llama = [](const RopeConfig& rope) {
    EXPECT_EQ(rope.type, RopeType::kLlama3);
    EXPECT_EQ(rope.rope_theta, 500000.0);
    EXPECT_EQ(rope.factor, 8.0);
    EXPECT_EQ(rope.low_freq_factor, 1.0);
    EXPECT_EQ(rope.high_freq_factor, 4.0);
    EXPECT_EQ(rope.original_max_position_embeddings, 8192);
  };
  expect_llama(ReadRope(R"("max_position_embeddings": 131072, "rope_theta": 500000.0,
      "rope_scaling": {)" +
                        nested + "}"));
  // The same as transformers 5 writes it, and flat.
  expect_llama(ReadRope(R"("rope_parameters": {"rope_theta": 500000.0, )" + nested + "}"));
  expect_llama(ReadRope(R"("rope_theta": 500000.0, )" + nested));
  // The same said in every place is no conflict.
  expect_llama(ReadRope(R"("rope_theta": 500000, "type": "llama3", "rope_scaling": {)" + nested +
                        R"(}, "rope_parameters": {"rope_theta": 5e5, "type": "llama3", )" + nested +
                        "}"));

  const RopeConfig other = ReadRope(R"("type": "llama3", "factor": 3, "low_freq_factor": 1.5,
      "high_freq_factor": 2.5, "original_max_position_embeddings": 4096)");
  EXPECT_EQ(other.factor, 3.0);
  EXPECT_EQ(other.low_freq_factor, 1.5);
  EXPECT_EQ(other.high_freq_factor, 2.5);
  EXPECT_EQ(other.original_max_position_embeddings, 4096);

  const RopeConfig linear = ReadRope(R"("rope_scaling": {"type": "linear", "factor": 2.5})");
  EXPECT_EQ(linear.type, RopeType::kLinear);
  EXPECT_EQ(linear.factor, 2.5);
  // Qwen2.5's README, Phi-3's config and Llama 2's long variants.
  const RopeConfig yarn = ReadRope(R"("max_position_embeddings": 32768, "rope_scaling": {
      "factor": 4.0, "original_max_position_embeddings": 32768, "type": "yarn"})");
  EXPECT_EQ(yarn.type, RopeType::kYarn);
  EXPECT_EQ(yarn.factor, 4.0);
  EXPECT_EQ(yarn.original_max_position_embeddings, 32768);
  EXPECT_EQ(yarn.beta_fast, 32.0);
  EXPECT_EQ(yarn.beta_slow, 1.0);
  EXPECT_FALSE(yarn.attention_factor);
  const RopeConfig given = ReadRope(R"("rope_parameters": {"rope_type": "yarn", "factor": 4,
      "original_max_position_embeddings": 4096, "attention_factor": 0.5, "beta_fast": 16,
      "beta_slow": 2})");
  EXPECT_EQ(given.attention_factor, 0.5);
  EXPECT_EQ(given.beta_fast, 16.0);
  EXPECT_EQ(given.beta_slow, 2.0);
  // DeepSeek-V3's mscale, gpt-oss's truncate, and a factor that is the ratio of two lengths.
  const RopeConfig deepseek = ReadRope(R"("max_position_embeddings": 163840, "rope_scaling": {
      "beta_fast": 32, "beta_slow": 0, "mscale": 1.0, "mscale_all_dim": 0.5, "truncate": false,
      "original_max_position_embeddings": 4096, "type": "yarn"})");
  EXPECT_EQ(deepseek.factor, 40.0);
  EXPECT_EQ(deepseek.beta_slow, 1.0);  // 0 is as good as absent
  EXPECT_EQ(deepseek.mscale, 1.0);
  EXPECT_EQ(deepseek.mscale_all_dim, 0.5);
  EXPECT_FALSE(deepseek.truncate);
  EXPECT_TRUE(yarn.truncate);
  const RopeConfig longrope = ReadRope(R"("max_position_embeddings": 131072,
      "original_max_position_embeddings": 4096, "rope_scaling": {"type": "longrope",
      "short_factor": [1, 1.25], "long_factor": [2, 64.5]})");
  EXPECT_EQ(longrope.type, RopeType::kLongrope);
  EXPECT_EQ(longrope.factor, 32.0);  // the ratio of the two lengths
  EXPECT_EQ(longrope.short_factor, (std::vector<double>{1, 1.25}));
  EXPECT_EQ(longrope.long_factor, (std::vector<double>{2, 64.5}));
  const RopeConfig dynamic = ReadRope(R"("max_position_embeddings": 4096, "rope_scaling": {
      "type": "dynamic", "factor": 2.0})");
  EXPECT_EQ(dynamic.type, RopeType::kDynamic);
  EXPECT_EQ(dynamic.max_position_embeddings, 4096);
  EXPECT_EQ(ReadRope(R"("rope_scaling": null, "rope_parameters": null)").type, RopeType::kDefault);
  EXPECT_EQ(ReadRope(R"("rope_scaling": {"rope_type": "default"})").type, RopeType::kDefault);
}

TEST(CaptureMetadata, RefusesRopeTypesThatARecipeDoesNotHave) {
  const auto with = [](const char* type) {
    return MetadataRefusal(std::string(R"({"rope": {"recipe": "ggml-cpu", "factor": 2,
        "rope_type": ")") + type +
                           "\"}}");
  };
  EXPECT_EQ(with("linear"), "rope.rope_type: got \"linear\", want default with recipe ggml-cpu");
  EXPECT_EQ(with("default"), "rope.factor: got 2, want no such field with rope_type default");
}

// Whole files as they lie beside weights, shortened; head_dim 16.
TEST(CaptureMetadata, ReadsRopeOutOfAConfigJson) {
  const RopeConfig llama = ReadRope(R"("config": {"architectures": ["LlamaForCausalLM"],
      "hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 131072,
      "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0,
      "tie_word_embeddings": false})");
  EXPECT_EQ(llama.type, RopeType::kLlama3);
  EXPECT_EQ(llama.rope_theta, 500000.0);
  EXPECT_EQ(llama.rotary_dim, 16);
  EXPECT_EQ(llama.original_max_position_embeddings, 8192);

  // GPT-NeoX's own names.
  const RopeConfig neox = ReadRope(R"("config": {"hidden_size": 64, "num_attention_heads": 4,
      "rotary_pct": 0.25, "rotary_emb_base": 20000, "rope_scaling": null})");
  EXPECT_EQ(neox.rotary_dim, 4);
  EXPECT_EQ(neox.rope_theta, 20000.0);

  // Gemma 3, where layers differ: by transformers 4, and by transformers 5.
  const auto gemma = [](const std::string& layer, const std::string& parameters) {
    return ReadRope("\"layer_type\": \"" + layer +
                    R"(", "config": {"model_type": "gemma3", "vision_config": {"rope_theta": 3},
                    "text_config": {"head_dim": 16, )" +
                    parameters + "}}");
  };
  const std::string old = R"("rope_theta": 1e6, "rope_local_base_freq": 1e4,
      "rope_scaling": {"factor": 8.0, "rope_type": "linear"})";
  const std::string nested = R"("rope_parameters": {
      "full_attention": {"rope_theta": 1e6, "rope_type": "linear", "factor": 8.0},
      "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"}})";
  for (const std::string& parameters : {old, nested}) {
    const RopeConfig full = gemma("full_attention", parameters);
    EXPECT_EQ(full.type, RopeType::kLinear);
    EXPECT_EQ(full.rope_theta, 1e6);
    EXPECT_EQ(full.factor, 8.0);
    const RopeConfig sliding = gemma("sliding_attention", parameters);
    EXPECT_EQ(sliding.type, RopeType::kDefault);
    EXPECT_EQ(sliding.rope_theta, 1e4);
  }
  EXPECT_EQ(ReadRope(R"("layer_type": "a", "rope_parameters": {"a": {"rope_theta": 5},
      "b": {"rope_theta": 6}})")
                .rope_theta,
            5);
}

TEST(CaptureMetadata, RefusesAConfigJsonAndNamesTheField) {
  const Case cases[] = {
      {R"("config": [])", "rope.config: got an array, want an object"},
      {R"("config": {"head_dim": 128})", "rope.config.head_dim: got 128, want 16, as q has"},
      {R"("config": {"text_config": {"hidden_size": 64, "num_attention_heads": 2}})",
       "rope.config.text_config.head_dim: got 32, want 16, as q has"},
      {R"("config": {"rope_theta": "1"})", "rope.config.rope_theta: got \"1\", want a number"},
      {R"("rope_theta": 5, "config": {"rope_theta": 6})",
       "rope.config.rope_theta: got 6, want 5.0, as rope.rope_theta says"},
      {R"("config": {"rope_scaling": {"type": "default", "mrope_section": [2, 3, 3]}})", nullptr},
      {R"("config": {"rope_local_base_freq": 1e4})",
       "rope.layer_type: got no value, want one of full_attention, sliding_attention, as "
       "rope.config.rope_local_base_freq is there"},
      {R"("rope_parameters": {"a": {}, "b": {}})",
       "rope.layer_type: got no value, want one of a, b, as in rope.rope_parameters"},
      {R"("layer_type": "c", "config": {"rope_parameters": {"a": {}, "b": {}}})",
       "rope.layer_type: got \"c\", want one of a, b, as in rope.config.rope_parameters"},
      {R"("layer_type": "a", "rope_parameters": {"a": {"factor": 2}})",
       "rope.rope_parameters.a.factor: got 2, want no such field with rope_type default"},
  };
  ExpectRopeRefusals(cases);
}

TEST(CaptureMetadata, ReadsTheRotaryDimension) {
  EXPECT_EQ(ReadRope(R"("rotary_dim": 8)").rotary_dim, 8);
  EXPECT_EQ(ReadRope(R"("partial_rotary_factor": 0.25)").rotary_dim, 4);
  EXPECT_EQ(ReadRope(R"("partial_rotary_factor": 1)").rotary_dim, 16);
  EXPECT_EQ(ReadRope(R"("partial_rotary_factor": 0.4)").rotary_dim, 6);  // int(6.4)
  EXPECT_EQ(ReadRope(R"("partial_rotary_factor": 0.5, "rotary_dim": 8)").rotary_dim, 8);
  EXPECT_EQ(ReadRope(R"("rope_parameters": {"partial_rotary_factor": 0.5})").rotary_dim, 8);
}

TEST(CaptureMetadata, RoundsTheScaleOnceFromF64) {
  EXPECT_EQ(Read(R"({"softmax_scale": 0.1})").softmax_scale, 0.1f);
  EXPECT_EQ(Read(R"({"softmax_scale": 1})").softmax_scale, 1.0f);
  EXPECT_EQ(Read(R"({"softmax_scale": 1e-45})").softmax_scale, 0x1p-149f);
  EXPECT_EQ(Read(R"({"softmax_scale": 3.4028235e38})").softmax_scale, 0x1.fffffep127f);
  EXPECT_EQ(Read("{}").softmax_scale, 0.25f);
}

TEST(CaptureMetadata, ReadsTheLsesConventions) {
  const LseSpec plain = Read("{}").lse;
  EXPECT_EQ(plain.base, LseBase::kE);
  EXPECT_TRUE(plain.scaled);
  EXPECT_EQ(plain.empty, -INFINITY);
  EXPECT_EQ(Read(R"({"lse": {"base": "e"}})").lse.base, LseBase::kE);
  EXPECT_EQ(Read(R"({"lse": {"base": "2"}})").lse.base, LseBase::k2);
  EXPECT_EQ(Read(R"({"lse": {"base": 2}})").lse.base, LseBase::k2);
  EXPECT_FALSE(Read(R"({"lse": {"scaled": false}})").lse.scaled);
  EXPECT_EQ(Read(R"({"lse": {"empty": "-inf"}})").lse.empty, -INFINITY);
  EXPECT_EQ(Read(R"({"lse": {"empty": "+inf"}})").lse.empty, INFINITY);
  EXPECT_TRUE(std::isnan(Read(R"({"lse": {"empty": "nan"}})").lse.empty));
  EXPECT_EQ(Read(R"({"lse": {"empty": -1e30}})").lse.empty, -1e30f);
  EXPECT_EQ(Read(R"({"lse": {"empty": 0}})").lse.empty, 0.0f);
}

TEST(CaptureMetadata, NamesTheDefaultsOfRopeAndLse) {
  const CaptureSpec spec = Read(R"({"version": 1, "layout": "bhsd", "softmax_scale": 1,
      "mask": {"rule": "full", "causal": true, "corner": "top-left", "window_keys": null},
      "rope": {"recipe": "flash-attn"}})");
  EXPECT_EQ(spec.defaults,
            (std::vector<std::string>{"rope.rope_type: default (default)",
                                      "rope.rope_theta: 10000 (default)",
                                      "rope.rotary_dim: 16 (default, the head dimension)",
                                      "rope.pairing: half (default, that of flash-attn)"}));
  EXPECT_EQ(spec.lse_defaults,
            (std::vector<std::string>{"lse.base: e (default)", "lse.scaled: true (default)",
                                      "lse.empty: -inf (default)"}));
  // Of interest only where there is an lse.
  TestFile file = SmallProblem();
  const auto count = [&] {
    const std::string bytes = file.Build();
    return ReadBytes(bytes).defaults.size();
  };
  const size_t without = count();
  file.tensors["lse"] = CountF32({1, 2, 4}, 0);
  EXPECT_EQ(count(), without + 3);
}

}  // namespace
}  // namespace bitanchor::test
