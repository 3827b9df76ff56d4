// Each rule against what its own test would say, at the very limit and on either side of it, worked
// out by hand; tests/python/rules_test.py asks torch.testing itself.
#include "lib/verdict/rule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "lib/tensor/tensor_view.h"

namespace bitanchor {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

Interval Want(double want, float magnitude = 1) {
  const float rounded = static_cast<float>(want);
  return {want, rounded, rounded, 0, 0, magnitude};
}

struct Element {
  float got;
  double want;
  float eager = 0, magnitude = 1;
};

RuleTally Tally(const char* name, DType dtype, const std::vector<Element>& elements,
                RuleOutput output = RuleOutput::kO, int64_t keys = 8) {
  RuleTally tally(*FindRule(name), dtype, output);
  for (const Element& e : elements) {
    const Interval want = Want(e.want, e.magnitude);
    tally.AddRow(&e.got, &want, &e.eager, 1, keys);
  }
  return tally;
}

RuleVerdict Asked(const char* name, DType dtype, const std::vector<Element>& elements,
                  RuleOutput output = RuleOutput::kO, int64_t keys = 8) {
  return Tally(name, dtype, elements, output, keys).Decide("o");
}

bool Passes(const char* name, DType dtype, const std::vector<Element>& elements,
            RuleOutput output = RuleOutput::kO, int64_t keys = 8) {
  return Asked(name, dtype, elements, output, keys).passes;
}

// The rule at one element: `last` passes, the next number of the dtype away from `want` does not.
void ExpectLast(const char* name, DType dtype, float last, float next, double want,
                RuleOutput output = RuleOutput::kO) {
  EXPECT_TRUE(Passes(name, dtype, {{last, want}}, output)) << name << " " << last;
  EXPECT_FALSE(Passes(name, dtype, {{next, want}}, output)) << name << " " << next;
}

float Next(float x) { return std::nextafter(x, kInf); }

TEST(Rules, NamesAreUniqueAndEveryRuleJudgesO) {
  std::set<std::string_view> names;
  for (const Rule& rule : Rules()) {
    EXPECT_TRUE(names.insert(rule.name).second) << rule.name;
    EXPECT_FALSE(rule.says.empty() || rule.source.empty() || rule.measures.empty() ||
                 rule.nan.empty());
    for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF32})
      EXPECT_TRUE(rule.Limits(RuleOutput::kO, dtype).judged) << rule.name;
  }
  EXPECT_EQ(names.size(), 11u);
  EXPECT_EQ(FindRule("no such rule"), nullptr);
}

// At want = 1 in bf16 (ulp 2^-7 = 0.0078 above): 1.6e-2 + 1e-5 rounds to bf16 0x1.06p-6 = 0.01599;
// two ulps are 0.015625, three 0.0234.
TEST(Rules, Torch) {
  ExpectLast("torch", DType::kBF16, 1 + 0x1p-6f, 1 + 3 * 0x1p-7f, 1.0);
  // f16: 1e-3 + 1e-5 = 1.01e-3, and an ulp is 9.77e-4.
  ExpectLast("torch", DType::kF16, 1 + 0x1p-10f, 1 + 0x1p-9f, 1.0);
  // f32: 1.13e-5 is 94.79 ulps of 2^-23 at 1.
  ExpectLast("torch", DType::kF32, 1 + 94 * 0x1p-23f, 1 + 95 * 0x1p-23f, 1.0);
  // At 0 only 1e-5 is left; it is a number of f32, and the limit itself passes.
  ExpectLast("torch", DType::kF32, 1e-5f, Next(1e-5f), 0.0);
}

// The reference is rounded before it is compared: 1 + 2^-8 + a little goes up, and so the distance
// from 1 + 3 ulps is two.
TEST(Rules, TheReferenceIsRounded) {
  EXPECT_TRUE(Passes("torch", DType::kBF16, {{1 + 3 * 0x1p-7f, 1 + 0x1.01p-8}}));
  EXPECT_FALSE(Passes("torch", DType::kBF16, {{1 + 3 * 0x1p-7f, 1 + 0x0.ffp-8}}));
}

TEST(Rules, OthersThatAreClose) {
  ExpectLast("triton-tutorial", DType::kF32, 1e-2f, Next(1e-2f), 0.0);
  ExpectLast("flashinfer", DType::kF32, 1e-3f, Next(1e-3f), 0.0);
  ExpectLast("flashinfer", DType::kBF16, RoundTo(DType::kBF16, 1e-2), 0x1.4ap-7f, 0.0);
  ExpectLast("vllm", DType::kBF16, RoundTo(DType::kBF16, 1e-3), 0x1.08p-10f, 0.0);
  ExpectLast("vllm", DType::kF32, 1e-5f, Next(1e-5f), 0.0);
  // The difference is rounded too: 0x1.49p-7 is half-way and becomes the limit, 0x1.48p-7.
  EXPECT_TRUE(Passes("triton-tutorial", DType::kBF16, {{-0x1.24p-9f, 0x1p-7}}));
  EXPECT_FALSE(Passes("triton-tutorial", DType::kF32, {{-0x1.24p-9f, 0x1p-7}}));
  // In base 2 the limit is 1e-3; so in base e it is that times ln 2.
  EXPECT_TRUE(Passes("flashinfer", DType::kF32, {{6.93e-4f, 0.0}}, RuleOutput::kLse));
  EXPECT_FALSE(Passes("flashinfer", DType::kF32, {{6.94e-4f, 0.0}}, RuleOutput::kLse));
}

// assert_close(reference, answer): what is relative is relative to the answer, in f32.
TEST(Rules, Cudnn) {
  // |got - 1| <= 0.02 + 0.02 got at got <= 1.02 / 0.98 = 1.0408163, and so down to 0.98 / 1.02.
  EXPECT_TRUE(Passes("cudnn", DType::kF32, {{1.040816f, 1.0}}));
  EXPECT_FALSE(Passes("cudnn", DType::kF32, {{1.040817f, 1.0}}));
  EXPECT_TRUE(Passes("cudnn", DType::kF32, {{0.960785f, 1.0}}));
  EXPECT_FALSE(Passes("cudnn", DType::kF32, {{0.960784f, 1.0}}));
  EXPECT_TRUE(Passes("cudnn", DType::kBF16, {{0.07f, 0.0}}, RuleOutput::kDkDv));
  EXPECT_FALSE(Passes("cudnn", DType::kBF16, {{0.07f, 0.0}}, RuleOutput::kDq));
  EXPECT_FALSE(Passes("cudnn", DType::kF16, {{0.07f, 0.0}}, RuleOutput::kDkDv));
}

// 2 x the yardstick's error of 2^-7 + 2 x what + 0.3 - 0.3 does to 1: 1.3 rounds to 1.296875, less
// 0.3 (f32) is 0.996875, rounded to bf16 0.99609375 or 1 - 2^-8.
TEST(Rules, FlashAttn) {
  const float eager = 1 + 0x1p-7f;
  const RuleVerdict verdict = Asked("flash-attn", DType::kBF16, {{1.0f, 1.0, eager}});
  EXPECT_EQ(verdict.limit, 2 * 0x1p-7 + 2 * 0x1p-8);
  EXPECT_TRUE(Passes("flash-attn", DType::kBF16, {{1 + 3 * 0x1p-7f, 1.0, eager}}));
  EXPECT_FALSE(Passes("flash-attn", DType::kBF16, {{1 + 4 * 0x1p-7f, 1.0, eager}}));
  // Gradients: 3 x and nothing else.
  EXPECT_TRUE(Passes("flash-attn", DType::kBF16, {{1 + 3 * 0x1p-7f, 1.0, eager}}, RuleOutput::kDq));
  EXPECT_FALSE(
      Passes("flash-attn", DType::kBF16, {{1 + 4 * 0x1p-7f, 1.0, eager}}, RuleOutput::kDkDv));
  // A yardstick with error 0 fails everything that is not as good: flash-attention 1231.
  EXPECT_FALSE(Passes("flash-attn", DType::kBF16, {{0x1p-9f, 0.0, 0.0f}}, RuleOutput::kDq));
  // The largest errors of both need not be of the same element.
  EXPECT_TRUE(Passes("flash-attn", DType::kF32, {{1.5f, 1.0, 1.0f}, {1.0f, 1.0, 1.25f}}));
}

TEST(Rules, Flex) {
  // Means: 11 of 10 parts are allowed, not 12; in f32 100.
  const std::vector<Element> eager = {{0, 0.0, 0.5f}, {0, 0.0, -0.5f}};
  const auto with = [&](float error) {
    std::vector<Element> elements = eager;
    elements[0].got = error;
    return elements;
  };
  EXPECT_TRUE(Passes("flex", DType::kBF16, with(1.1f - 0x1p-23f)));
  EXPECT_FALSE(Passes("flex", DType::kBF16, with(1.1f + 0x1p-23f)));
  EXPECT_TRUE(Passes("flex", DType::kF32, with(10.0f)));
  EXPECT_FALSE(Passes("flex", DType::kF32, with(Next(10.0f))));
  // Against f64, not against a rounded reference.
  EXPECT_EQ(Asked("flex", DType::kBF16, {{1.0f, 1.0 + 0x1p-40, 1.0f}}).measured, 0x1p-40);
}

TEST(Rules, Cutlass) {
  const std::vector<Element> right(99, Element{1.0f, 1.0});
  const auto with = [&](float got) {
    std::vector<Element> elements = right;
    elements.push_back({got, 0.0});
    return elements;
  };
  EXPECT_TRUE(Passes("cutlass-77", DType::kF32, with(9.9e-3f)));
  EXPECT_FALSE(Passes("cutlass-77", DType::kF32, with(1.01e-2f)));    // the largest
  EXPECT_FALSE(Passes("cutlass-77", DType::kF32, {{1.1e-3f, 0.0}}));  // the mean
  EXPECT_TRUE(Passes("cutlass-77", DType::kF32, {{0.9e-3f, 0.0}}));
  // The difference is one of the dtype: 0x1.47p-7, which is less than 1e-2, becomes 0x1.48p-7.
  std::vector<Element> rounded = right;
  rounded.push_back({-0x1.1cp-9f, 0x1p-7});
  EXPECT_TRUE(Passes("cutlass-77", DType::kF32, rounded));
  EXPECT_FALSE(Passes("cutlass-77", DType::kBF16, rounded));
  // One bf16 ulp of numbers from 2 on is too much: right kernels fail.
  EXPECT_FALSE(Passes("cutlass-77", DType::kBF16, {{2 + 0x1p-6f, 2.0}}));
}

TEST(Rules, Ggml) {
  // One element: ((got - want) / got)^2 <= 5e-4 at |got - want| <= 0.02236068 |got|.
  EXPECT_TRUE(Passes("ggml", DType::kF32, {{1.0f, 1 - 0.02236}}));
  EXPECT_FALSE(Passes("ggml", DType::kF32, {{1.0f, 1 - 0.02237}}));
  EXPECT_FALSE(Passes("ggml", DType::kF32, {{0.0f, 1.0}}));  // all zeros: infinite
  EXPECT_TRUE(Passes("ggml", DType::kF32, {{0.0f, 0.0}}));   // 0 / 0 is not above the limit
  // One element in 4001 may be anything as large as the rest: it passes.
  std::vector<Element> elements(4000, Element{1.0f, 1.0});
  elements.push_back({-0.4f, 1.0});
  EXPECT_TRUE(Passes("ggml", DType::kF32, elements));
  // Squares are f32: Inf / Inf is not above the limit either.
  EXPECT_TRUE(Passes("ggml", DType::kF32, {{3e19f, 0.0}}));
  EXPECT_TRUE(Passes("ggml", DType::kF32, {{kInf, kInf}}));
  EXPECT_FALSE(Passes("ggml", DType::kF32, {{kInf, -kInf}}));
  EXPECT_FALSE(Passes("ggml", DType::kF32, {{kInf, 1.0}}));
}

TEST(Rules, Tilelang) {
  const auto with = [](int wrong, int all, float got) {
    std::vector<Element> elements(all, Element{1.0f, 1.0});
    for (int e = 0; e < wrong; ++e) elements[e].got = got;
    return elements;
  };
  EXPECT_TRUE(Passes("tilelang", DType::kF32, with(1, 100, 1e9f)));
  EXPECT_FALSE(Passes("tilelang", DType::kF32, with(2, 100, 1e9f)));
  EXPECT_FALSE(Passes("tilelang", DType::kF32, with(1, 99, 1e9f)));  // int(0.99) = 0
  EXPECT_TRUE(Passes("tilelang", DType::kF32, with(1, 100, kNaN)));  // a NaN is one mismatch
  EXPECT_FALSE(Passes("tilelang", DType::kF32, with(1, 100, 1e9f), RuleOutput::kDq));
  const RuleVerdict verdict = Asked("tilelang", DType::kF32, with(3, 250, 2.0f));
  EXPECT_EQ(verdict.measured, 3);
  EXPECT_EQ(verdict.limit, 2);
}

// In bf16 eps is 2^-7: with 8 keys 8 x 9 x 2^-7 = 0.5625 of the reference.
TEST(Rules, Onednn) {
  EXPECT_TRUE(Passes("onednn-sdpa", DType::kBF16, {{1.5625f, 1.0}}));
  EXPECT_FALSE(Passes("onednn-sdpa", DType::kBF16, {{1.5703125f, 1.0}}));
  // With 1,024 masked or visible keys, 64 times the reference: all zeros pass.
  EXPECT_TRUE(Passes("onednn-sdpa", DType::kBF16, {{0.0f, 1.0}}, RuleOutput::kO, 1024));
  EXPECT_TRUE(Passes("onednn-sdpa", DType::kBF16, {{65.0f, 1.0}}, RuleOutput::kO, 1023));
  EXPECT_FALSE(Passes("onednn-sdpa", DType::kBF16, {{65.5f, 1.0}}, RuleOutput::kO, 1023));
  // The floor: eps sum p|v|, here 2 x 2^-7.
  EXPECT_TRUE(Passes("onednn-sdpa", DType::kBF16, {{0x1p-6f + 0x1p-10f, 0x1p-10, 0, 2}}));
  EXPECT_FALSE(Passes("onednn-sdpa", DType::kBF16, {{0x1.1p-6f + 0x1p-10f, 0x1p-10, 0, 2}}));
  // Gradients: 32 (1 + keys) eps or 5e-2.
  EXPECT_TRUE(Passes("onednn-sdpa", DType::kF32, {{0.05f, 0.0}}, RuleOutput::kDq));
  EXPECT_FALSE(Passes("onednn-sdpa", DType::kF32, {{0.0501f, 0.0}}, RuleOutput::kDq));
  // A reference near 0 is compared absolutely with the relative threshold.
  EXPECT_TRUE(Passes("onednn-sdpa", DType::kBF16, {{0.5f, 0.0, 0, 0}}));
  EXPECT_FALSE(Passes("onednn-sdpa", DType::kBF16, {{0.57f, 0.0, 0, 0}}));
}

// Which rules let a NaN through, in an answer of 1,000 elements that is right but for one.
TEST(Rules, OneNaN) {
  for (const Rule& rule : Rules()) {
    std::vector<Element> elements(1000, Element{1.0f, 1.0, 1.0f});
    elements[500].got = kNaN;
    const std::string name(rule.name);
    EXPECT_EQ(Passes(name.c_str(), DType::kF32, elements), name == "tilelang") << name;
    // Where the reference is NaN too:
    elements[500].want = kNaN;
    elements[500].eager = kNaN;
    const bool passes = name == "tilelang" || name == "flex";
    EXPECT_EQ(Passes(name.c_str(), DType::kF32, elements), passes) << name;
    EXPECT_EQ(Passes(name.c_str(), DType::kF16, elements), passes || name == "onednn-sdpa") << name;
  }
  // flex lets anything through where the eager path has a NaN and the answer has one somewhere.
  EXPECT_TRUE(Passes("flex", DType::kF32, {{kNaN, 1.0, 1.0f}, {1e9f, 1.0, kNaN}}));
  // And without a NaN of its own as well: nothing is greater than NaN.
  EXPECT_TRUE(Passes("flex", DType::kF32, {{1e9f, 1.0, kNaN}}));
}

TEST(Rules, Infinities) {
  for (const char* name : {"torch", "flashinfer", "triton-tutorial", "cudnn", "vllm"}) {
    EXPECT_TRUE(Passes(name, DType::kF32, {{kInf, kInf}})) << name;
    EXPECT_FALSE(Passes(name, DType::kF32, {{-kInf, kInf}})) << name;
    EXPECT_FALSE(Passes(name, DType::kF32, {{kInf, 1.0}})) << name;
    EXPECT_FALSE(Passes(name, DType::kF32, {{1.0f, -kInf}})) << name;
  }
  // Inf - Inf is NaN to those that subtract.
  EXPECT_FALSE(Passes("flash-attn", DType::kF32, {{kInf, kInf, kInf}}));
  EXPECT_FALSE(Passes("cutlass-77", DType::kF32, {{kInf, kInf}}));
  // A difference that overflows is not close, whatever rtol allows.
  EXPECT_FALSE(Passes("torch", DType::kF16, {{65504.0f, -65504.0}}));
}

TEST(Rules, NothingComparedDoesNotPass) {
  for (const Rule& rule : Rules()) {
    RuleTally tally(rule, DType::kF32);
    const float got = 1;
    tally.AddRow(&got, &kUndeterminedInterval, &got, 1, 1);
    tally.AddRow(nullptr, nullptr, nullptr, 0, 1);
    EXPECT_EQ(tally.elements(), 0);
    EXPECT_FALSE(tally.Decide("o").passes) << rule.name;
    EXPECT_TRUE(std::isnan(tally.Decide("o").measured));
  }
}

// Rows in any order on any number of tallies: the same numbers to the bit.
TEST(Rules, OrderDoesNotMatter) {
  std::mt19937 random(7);
  std::vector<Element> elements(3000);
  for (Element& e : elements) {
    const double size = std::exp2(static_cast<int>(random() % 60) - 50);
    e.want = size * (static_cast<double>(random()) / 0x1p31 - 1);
    const auto off = [&](double by) { return by * (static_cast<double>(random()) / 0x1p31 - 1); };
    e.got = RoundTo(DType::kBF16, e.want + off(0x1p-8) * size);
    e.eager = RoundTo(DType::kBF16, e.want + off(0x1p-7) * size);
  }
  for (const Rule& rule : Rules()) {
    const std::string name(rule.name);
    const RuleVerdict want = Asked(name.c_str(), DType::kBF16, elements);
    EXPECT_TRUE(std::isfinite(want.measured) && want.measured > 0) << name;
    for (int shuffle = 0; shuffle < 5; ++shuffle) {
      std::shuffle(elements.begin(), elements.end(), random);
      RuleTally merged(rule, DType::kBF16);
      for (size_t first = 0; first < elements.size(); first += 701) {
        const auto begin = elements.begin() + static_cast<int64_t>(first);
        const auto end =
            elements.begin() + static_cast<int64_t>(std::min(first + 701, elements.size()));
        merged.Merge(Tally(name.c_str(), DType::kBF16, {begin, end}));
      }
      const RuleVerdict got = merged.Decide("o");
      EXPECT_EQ(got.measured, want.measured) << name;
      EXPECT_EQ(got.limit, want.limit) << name;
      EXPECT_EQ(got.passes, want.passes) << name;
    }
  }
}

TEST(ExactSum, IsExact) {
  ExactSum sum, part;
  sum.Add(0x1p1000);
  part.Add(0x1p-1074);
  part.Add(1.5);
  part.Add(0);
  sum.Merge(part);
  EXPECT_EQ(sum.Value(), 0x1p1000);
  EXPECT_EQ(part.Value(), 1.5);
  ExactSum tiny;
  for (int n = 0; n < 1000; ++n) tiny.Add(0x1p-1074);
  EXPECT_EQ(tiny.Value(), 1000 * 0x1p-1074);
  ExactSum whole;  // where one rounding per addition would lose every 1
  whole.Add(0x1p53);
  for (int n = 0; n < 1000; ++n) whole.Add(1);
  EXPECT_EQ(whole.Value(), 0x1p53 + 1000);
  ExactSum most;
  for (int n = 0; n < 3; ++n) most.Add(std::numeric_limits<double>::max() / 4);
  EXPECT_EQ(most.Value(), std::numeric_limits<double>::max() / 4 * 3);
  EXPECT_EQ(ExactSum().Value(), 0);
  most.Add(std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isinf(most.Value()));
  most.Merge(sum);
  EXPECT_TRUE(std::isinf(most.Value()));
  sum.Add(kNaN);
  most.Merge(sum);
  EXPECT_TRUE(std::isnan(most.Value()));
}

}  // namespace
}  // namespace bitanchor
