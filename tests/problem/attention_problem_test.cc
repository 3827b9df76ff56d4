#include "lib/problem/attention_problem.h"

#include <gtest/gtest.h>
#include <mpfr.h>

#include <array>
#include <bit>
#include <functional>
#include <limits>
#include <vector>

#include "tests/problem/input_error.h"

namespace bitanchor {
namespace {

// Validation reads no element, so one byte stands for every tensor.
constexpr std::byte kMemory{};

// B=2, Sq=3, Skv=4, Hq=4, Hkv=2, D=8, every optional part present and right.
AttentionProblem Right() {
  AttentionProblem problem;
  problem.shape = {2, 3, 4, 4, 2, 8};
  problem.dtype = DType::kBF16;
  problem.q = DenseView(DType::kBF16, &kMemory, {2, 3, 4, 8});
  problem.k = DenseView(DType::kBF16, &kMemory, {2, 4, 2, 8}, Layout::kBHSD);
  problem.v = DenseView(DType::kBF16, &kMemory, {2, 4, 2, 8});
  problem.mask = {{MaskRule::kAnchor}, 2, 3, 4, {0, 1, 1, 0, 1, 2}, {0, 1, 1, 2, 0, 1, 2, 2}};
  problem.q_positions = {0, 1, 2, 0, 1, 2};
  problem.k_positions = {0, 1, 2, 3, 0, 1, 2, 3};
  problem.softmax_scale = 0.5f;
  RopeConfig rope;
  rope.recipe = "hf-llama";
  rope.rotary_dim = 6;
  rope.inv_freq = {1, 0.5f, 0.25f};
  rope.cos.assign(3 * 4, 1);
  rope.sin.assign(3 * 4, 0);
  problem.rope = rope;
  return problem;
}

using Change = std::function<void(AttentionProblem&)>;

void Refuse(const Change& change, const std::string& field, const std::string& got,
            const std::string& want) {
  AttentionProblem problem = Right();
  change(problem);
  test::ExpectInputError([&] { Validate(problem); }, field, got, want);
}

void Accept(const char* what, const Change& change) {
  AttentionProblem problem = Right();
  change(problem);
  EXPECT_NO_THROW(Validate(problem)) << what;
}

TEST(Validate, AcceptsWhatIsRight) {
  Accept("all of it", [](auto&) {});
  Accept("no rope", [](auto& p) { p.rope.reset(), p.q_positions.clear(), p.k_positions.clear(); });
  Accept("no tables", [](auto& p) { p.rope->cos.clear(), p.rope->sin.clear(); });
  Accept("no inv_freq", [](auto& p) { p.rope->inv_freq.clear(); });
  Accept("rule full", [](auto& p) { p.mask = {{MaskRule::kFull}, 2, 3, 4, {}, {}}; });
  Accept("window of 1", [](auto& p) { p.mask.spec.window_keys = 1; });
  Accept("largest window", [](auto& p) { p.mask.spec.window_keys = INT64_MAX; });
  Accept("largest id", [](auto& p) { p.mask.k_ids[7] = INT64_MAX; });
  Accept("largest position",
         [](auto& p) { p.rope->cos.clear(), p.rope->sin.clear(), p.k_positions[7] = 2147483647; });
  Accept("llama3", [](auto& p) { p.rope->type = RopeType::kLlama3, p.rope->factor = 8; });
  Accept("the least scale",
         [](auto& p) { p.softmax_scale = std::numeric_limits<float>::denorm_min(); });
}

TEST(Validate, Tensors) {
  Refuse([](auto& p) { p.q.data = nullptr; }, "q", "no tensor", "BF16 [2, 3, 4, 8]");
  Refuse([](auto& p) { p.v.data = nullptr; }, "v", "no tensor", "BF16 [2, 4, 2, 8]");
  Refuse([](auto& p) { p.q.dtype = DType::kI32; }, "q", "I32", "BF16, F16 or F32");
  Refuse([](auto& p) { p.q.dtype = DType::kF64; }, "q", "F64", "BF16, F16 or F32");
  Refuse([](auto& p) { p.k.dtype = DType::kF16; }, "k", "F16", "BF16, the dtype of the problem");
  Refuse([](auto& p) { p.v.dtype = DType::kF32; }, "v", "F32", "BF16, the dtype of the problem");
  Refuse([](auto& p) { p.q.shape[1] = 4; }, "q", "shape [2, 4, 4, 8]",
         "[2, 3, 4, 8] as [B, S, H, D]");
  Refuse([](auto& p) { p.k.shape[0] = 1; }, "k", "shape [1, 4, 2, 8]",
         "[2, 4, 2, 8] as [B, S, H, D]");
  Refuse([](auto& p) { p.v.shape[3] = 7; }, "v", "shape [2, 4, 2, 7]",
         "[2, 4, 2, 8] as [B, S, H, D]");
  Refuse([](auto& p) { p.v.stride[3] = 2; }, "v", "a stride of 2 elements along D", "1");
}

// Sets a size in the shape and in every tensor that has it.
void Resize(AttentionProblem& p, AttentionShape shape) {
  p.shape = shape;
  p.q.shape = {shape.B, shape.Sq, shape.Hq, shape.D};
  p.k.shape = p.v.shape = {shape.B, shape.Skv, shape.Hkv, shape.D};
}

TEST(Validate, Sizes) {
  Refuse(
      [](auto& p) {
        Resize(p, {0, 3, 4, 4, 2, 8});
      },
      "q", "shape [0, 3, 4, 8]", "every size >= 1");
  Refuse(
      [](auto& p) {
        Resize(p, {2, 0, 4, 4, 2, 8});
      },
      "q", "shape [2, 0, 4, 8]", "every size >= 1");
  Refuse(
      [](auto& p) {
        Resize(p, {2, 3, 0, 4, 2, 8});
      },
      "k", "shape [2, 0, 2, 8]", "every size >= 1");
  Refuse(
      [](auto& p) {
        Resize(p, {2, 3, 4, 4, 0, 8});
      },
      "k", "shape [2, 4, 0, 8]", "every size >= 1");
  Refuse(
      [](auto& p) {
        Resize(p, {2, 3, 4, -4, 2, 8});
      },
      "q", "shape [2, 3, -4, 8]", "every size >= 1");
  Refuse([](auto& p) { Resize(p, {2, 3, 4, 4, 2, 257}); }, "q", "head dimension 257", "1..256");
  Refuse(
      [](auto& p) {
        Resize(p, {2, 3, 4, 4, 3, 8});
      },
      "k", "3 heads", "a number that divides the 4 heads of q");
  Refuse(
      [](auto& p) {
        Resize(p, {2, 3, 4, 2, 4, 8});
      },
      "k", "4 heads", "a number that divides the 2 heads of q");
}

// Sizes whose product wraps round to something harmless.
TEST(Validate, SizesThatOverflow) {
  const int64_t huge = int64_t{1} << 32;
  Refuse(
      [=](auto& p) {
        Resize(p, {huge, huge, 4, 4, 2, 8});
      },
      "q", "shape [4294967296, 4294967296, 4, 8]", "fewer than 2^63 bytes");
  Refuse(
      [=](auto& p) {
        Resize(p, {2, 3, huge, 4 * huge, huge, 8});
      },
      "k", "shape [2, 4294967296, 4294967296, 8]", "fewer than 2^63 bytes");
  Refuse(
      [=](auto& p) {
        Resize(p, {2, 3, INT64_MAX, 4, 2, 8});
      },
      "k", "shape [2, 9223372036854775807, 2, 8]", "fewer than 2^63 bytes");
}

TEST(Validate, Mask) {
  Refuse([](auto& p) { p.mask.Skv = 3; }, "mask", "[B, Sq, Skv] = [2, 3, 3]",
         "[2, 3, 4] as q and k have");
  Refuse([](auto& p) { p.mask.spec.window_keys = 0; }, "mask.window_keys", "0", "null or >= 1");
  Refuse([](auto& p) { p.mask.spec.window_keys = INT64_MIN; }, "mask.window_keys",
         "-9223372036854775808", "null or >= 1");
  Refuse([](auto& p) { p.mask.k_ids.clear(); }, "document_ids", "none",
         "8, one for each of [B, S] = [2, 4]");
  Refuse([](auto& p) { p.mask.k_ids.pop_back(); }, "document_ids", "7 numbers",
         "8, one for each of [B, S] = [2, 4]");
  Refuse([](auto& p) { p.mask.q_ids.push_back(1); }, "q_document_ids", "7 numbers",
         "6, one for each of [B, S] = [2, 3]");
  Refuse([](auto& p) { p.mask.k_ids[6] = -1; }, "document_ids", "-1 at [1, 2]", "ids >= 0");
  Refuse([](auto& p) { p.mask.q_ids[5] = -7; }, "q_document_ids", "-7 at [1, 2]", "ids >= 0");
  // Ids that nothing reads are still not allowed to be wrong.
  Refuse([](auto& p) { p.mask.spec.rule = MaskRule::kFull, p.mask.k_ids[0] = -1; }, "document_ids",
         "-1 at [0, 0]", "ids >= 0");
}

TEST(Validate, SoftmaxScale) {
  const auto refuse = [](float scale, const char* got) {
    Refuse([=](auto& p) { p.softmax_scale = scale; }, "softmax_scale", got, "finite and > 0");
  };
  refuse(0, "0");
  refuse(-0.125f, "-0.125");
  refuse(std::numeric_limits<float>::infinity(), "inf");
  refuse(std::numeric_limits<float>::quiet_NaN(), "nan");
}

TEST(Validate, Positions) {
  Refuse([](auto& p) { p.k_positions.clear(); }, "position_ids", "none",
         "8, one for each of [B, S] = [2, 4]");
  Refuse([](auto& p) { p.q_positions.pop_back(); }, "q_position_ids", "5 numbers",
         "6, one for each of [B, S] = [2, 3]");
  Refuse([](auto& p) { p.k_positions[4] = -1; }, "position_ids", "-1 at [1, 0]", "0..2147483647");
  Refuse([](auto& p) { p.q_positions[1] = int64_t{1} << 31; }, "q_position_ids",
         "2147483648 at [0, 1]", "0..2147483647");
  Refuse([](auto& p) { p.rope.reset(), p.k_positions[0] = -1; }, "position_ids", "-1 at [0, 0]",
         "0..2147483647");
}

TEST(Validate, RopeNumbers) {
  Refuse([](auto& p) { p.rope->recipe.clear(); }, "rope.recipe", "no name",
         "the name of a RoPE recipe");
  for (const int64_t wrong : {-2, 0, 1, 5, 10}) {
    Refuse([=](auto& p) { p.rope->rotary_dim = wrong; }, "rope.rotary_dim", std::to_string(wrong),
           "an even number in 2..8");
  }
  const std::string want = "finite and > 0 as F32";
  Refuse([](auto& p) { p.rope->rope_theta = 0; }, "rope.rope_theta", "0", want);
  Refuse([](auto& p) { p.rope->rope_theta = -1; }, "rope.rope_theta", "-1", want);
  Refuse([](auto& p) { p.rope->rope_theta = 1e39; }, "rope.rope_theta", "1e+39", want);
  Refuse([](auto& p) { p.rope->rope_theta = 1e-60; }, "rope.rope_theta", "1e-60", want);
  Refuse([](auto& p) { p.rope->rope_theta = std::numeric_limits<double>::quiet_NaN(); },
         "rope.rope_theta", "nan", want);
  Refuse([](auto& p) { p.rope->type = RopeType::kLinear, p.rope->factor = 0; }, "rope.factor", "0",
         want);
  const auto refuse_llama3 = [](const Change& change, const char* field, const char* got,
                                const std::string& wanted) {
    Refuse([&](auto& p) { p.rope->type = RopeType::kLlama3, change(p); }, field, got, wanted);
  };
  refuse_llama3([](auto& p) { p.rope->factor = -8; }, "rope.factor", "-8", want);
  refuse_llama3([](auto& p) { p.rope->low_freq_factor = 0; }, "rope.low_freq_factor", "0", want);
  refuse_llama3([](auto& p) { p.rope->high_freq_factor = -4; }, "rope.high_freq_factor", "-4",
                want);
  refuse_llama3([](auto& p) { p.rope->high_freq_factor = 1; }, "rope.high_freq_factor", "1",
                "more than low_freq_factor, 1");
  refuse_llama3([](auto& p) { p.rope->original_max_position_embeddings = 0; },
                "rope.original_max_position_embeddings", "0", ">= 1");
}

TEST(Validate, RopeTypesByLengthAndYarn) {
  const auto with = [](RopeType type, const Change& change) {
    return [type, change](auto& p) {
      RopeConfig& rope = *p.rope;
      rope.type = type;
      rope.factor = 2;
      rope.max_position_embeddings = 4096;
      rope.short_factor = rope.long_factor = {1, 2, 3};
      rope.sequence_length = 4;  // positions run to 3
      change(p);
    };
  };
  const auto nothing = [](auto&) {};
  for (const RopeType type : {RopeType::kDynamic, RopeType::kYarn, RopeType::kLongrope}) {
    const std::string name(Name(type));
    Accept(name.c_str(), with(type, nothing));
    Refuse(with(type, [](auto& p) { p.rope->attention_factor = 0; }), "rope.attention_factor", "0",
           "finite and > 0 as F32");
  }
  for (const RopeType type : {RopeType::kDynamic, RopeType::kLongrope}) {
    Refuse(with(type, [](auto& p) { p.rope->sequence_length = 5; }), "rope.sequence_length", "5",
           "4, the greatest position plus one");
  }
  Refuse(with(RopeType::kDynamic, [](auto& p) { p.rope->max_position_embeddings = 0; }),
         "rope.max_position_embeddings", "0", ">= 1");
  Refuse(with(RopeType::kDynamic, [](auto& p) { p.rope->rotary_dim = 2; }), "rope.rotary_dim", "2",
         ">= 4");
  Refuse(with(RopeType::kYarn, [](auto& p) { p.rope->beta_slow = 0; }), "rope.beta_slow", "0",
         "finite and > 0 as F32");
  Refuse(with(RopeType::kYarn, [](auto& p) { p.rope->rope_theta = 1; }), "rope.rope_theta", "1",
         "a number whose log is not 0");
  Refuse(with(RopeType::kLongrope,
              [](auto& p) {
                p.rope->long_factor = {1, 2};
              }),
         "rope.long_factor", "2 numbers", "3, half of rotary_dim 6");
  Refuse(with(RopeType::kLongrope, [](auto& p) { p.rope->short_factor[1] = -1; }),
         "rope.short_factor", "-1", "finite and > 0 as F32");
  Refuse(with(RopeType::kLongrope, [](auto& p) { p.rope->original_max_position_embeddings = 1; }),
         "rope.original_max_position_embeddings", "1", ">= 2");
}

TEST(Validate, RopeTables) {
  Refuse([](auto& p) { p.rope->inv_freq.pop_back(); }, "inv_freq", "2 numbers",
         "3, half of rotary_dim 6");
  Refuse([](auto& p) { p.rope->cos.clear(); }, "cos", "no tensor", "both cos and sin, or neither");
  Refuse([](auto& p) { p.rope->sin.clear(); }, "sin", "no tensor", "both cos and sin, or neither");
  Refuse([](auto& p) { p.rope->cos.resize(13); }, "cos", "13 numbers",
         "rows of 3, half of rotary_dim 6");
  Refuse([](auto& p) { p.rope->sin.resize(15); }, "sin", "15 numbers", "12, as cos has");
  // Positions run to 3, so four rows are needed, whichever side uses the last.
  Refuse([](auto& p) { p.rope->cos.resize(9), p.rope->sin.resize(9); }, "cos", "3 rows",
         "more than the largest position, 3");
  Refuse([](auto& p) { p.q_positions[2] = 4; }, "cos", "4 rows",
         "more than the largest position, 4");
}

TEST(DefaultSoftmaxScale, IsCorrectlyRounded) {
  mpfr_t d, scale;
  mpfr_init2(d, 64);
  mpfr_init2(scale, 24);  // f32's precision, so that mpfr_rec_sqrt rounds once, and to f32
  for (int64_t D = 1; D <= kMaxHeadDim; ++D) {
    mpfr_set_si(d, D, MPFR_RNDN);
    mpfr_rec_sqrt(scale, d, MPFR_RNDN);
    EXPECT_EQ(std::bit_cast<uint32_t>(DefaultSoftmaxScale(D)),
              std::bit_cast<uint32_t>(mpfr_get_flt(scale, MPFR_RNDN)))
        << "D " << D;
  }
  mpfr_clears(d, scale, nullptr);
  EXPECT_EQ(DefaultSoftmaxScale(1), 1.0f);
  EXPECT_EQ(DefaultSoftmaxScale(64), 0.125f);
  EXPECT_EQ(std::bit_cast<uint32_t>(DefaultSoftmaxScale(128)), 0x3db504f3u);
}

TEST(AttentionShape, KeyHead) {
  const AttentionShape shape{1, 1, 1, 8, 2, 16};
  EXPECT_EQ(shape.KeyHead(0), 0);
  EXPECT_EQ(shape.KeyHead(3), 0);
  EXPECT_EQ(shape.KeyHead(4), 1);
  EXPECT_EQ(shape.KeyHead(7), 1);
}

TEST(RopeConfig, Names) {
  EXPECT_EQ(Name(RopePairing::kHalf), "half");
  EXPECT_EQ(Name(RopePairing::kInterleaved), "interleaved");
  EXPECT_EQ(Name(RopeType::kDefault), "default");
  EXPECT_EQ(Name(RopeType::kLinear), "linear");
  EXPECT_EQ(Name(RopeType::kLlama3), "llama3");
}

}  // namespace
}  // namespace bitanchor
