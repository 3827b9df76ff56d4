#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "lib/problem/layout.h"
#include "tests/digest/cases.h"
#include "tests/digest/draw.h"

namespace bitanchor::digest {
namespace {

// What q, k and v hold. scale 0: RN_f32(1/sqrt(D)).
struct Style {
  const char* name;
  Values queries_and_keys, values;
  float scale;
  int finite_percent;
};

constexpr Style kNormal{"normal", Values::kNormal, Values::kNormal, 0, 100};
constexpr Style kWide{"wide", Values::kWide, Values::kWide, 0, 100};
constexpr Style kStyles[] = {
    kNormal,
    kWide,
    {"subnormal", Values::kSubnormal, Values::kSubnormal, 0, 100},
    {"tiny-values", Values::kNormal, Values::kSubnormal, 0, 100},
    {"integer", Values::kInteger, Values::kInteger, 1, 100},    // equal maxima, exact cancellations
    {"fading", Values::kNormal, Values::kNormal, 8, 100},       // weights down to subnormals and 0
    {"steep", Values::kNormal, Values::kWide, 300, 100},        // one weight is all
    {"huge-values", Values::kNormal, Values::kHuge, 0, 10},     // sums that overflow on the way
    {"special", Values::kRareSpecial, Values::kSpecial, 0, 5},  // Inf and NaN of every kind
};

struct Problem {
  AttentionShape shape;
  DType dtype = DType::kBF16;
  MaskSpec mask;
  Style style = kNormal;
  std::vector<int64_t> k_ids = {};  // of one batch; empty: four documents, anchor token 0
};

// Document ids of a mask with a rule. Query i's is that of the key where it stands.
void FillIds(const Problem& spec, Mask& mask) {
  if (mask.spec.rule == MaskRule::kFull) return;
  const int64_t length = std::max<int64_t>(1, mask.Skv / 4);
  for (int64_t b = 0; b < mask.B; ++b) {
    for (int64_t j = 0; j < mask.Skv; ++j) {
      const bool anchor = mask.spec.rule == MaskRule::kAnchor && j == 0;
      mask.k_ids.push_back(!spec.k_ids.empty() ? spec.k_ids[j] : anchor ? 0 : 1 + (j + b) / length);
    }
    for (int64_t i = 0; i < mask.Sq; ++i) {
      const int64_t at = std::clamp<int64_t>(i + mask.Offset(), 0, mask.Skv - 1);
      mask.q_ids.push_back(mask.k_ids[b * mask.Skv + at]);
    }
  }
}

enum class Pass { kForward, kBackward };

void Compute(const Problem& spec, const AttentionRecipe& recipe, Pass pass, Engine& engine,
             Results& results) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = spec.shape;
  const Shape4 q_shape = {B, Sq, Hq, D}, k_shape = {B, Skv, Hkv, D};
  const uint64_t seed = static_cast<uint64_t>(Sq * 1000003 + Skv * 1009 + D);
  const auto q = DrawTensor(spec.style.queries_and_keys, spec.dtype, q_shape, 3 * seed);
  const auto k = DrawTensor(spec.style.queries_and_keys, spec.dtype, k_shape, 3 * seed + 1);
  const auto v = DrawTensor(spec.style.values, spec.dtype, k_shape, 3 * seed + 2);
  AttentionProblem problem;
  problem.shape = spec.shape;
  problem.dtype = spec.dtype;
  problem.q = DenseView(spec.dtype, q.data(), q_shape);
  problem.k = DenseView(spec.dtype, k.data(), k_shape);
  problem.v = DenseView(spec.dtype, v.data(), k_shape);
  problem.softmax_scale = spec.style.scale != 0 ? spec.style.scale : DefaultSoftmaxScale(D);
  problem.mask.spec = spec.mask;
  problem.mask.B = B;
  problem.mask.Sq = Sq;
  problem.mask.Skv = Skv;
  FillIds(spec, problem.mask);
  Validate(problem);

  if (pass == Pass::kBackward) {
    const auto dout = DrawTensor(spec.style.values, spec.dtype, q_shape, 3 * seed + 5);
    std::vector<std::byte> dq(q.size()), dk(k.size()), dv(v.size());
    engine.AttentionBackward(
        problem, recipe, DenseView(spec.dtype, dout.data(), q_shape),
        {DenseView(spec.dtype, dq.data(), q_shape), DenseView(spec.dtype, dk.data(), k_shape),
         DenseView(spec.dtype, dv.data(), k_shape)});
    for (const auto& gradient : {dq, dk, dv}) results.Add(spec.dtype, gradient);
    return;
  }
  std::vector<std::byte> o(q.size());
  std::vector<float> lse(B * Hq * Sq);
  engine.AttentionForward(problem, recipe, DenseView(spec.dtype, o.data(), q_shape), lse.data());
  results.Add(spec.dtype, o);
  // A row that sees no key has the LSE -inf: how many do is the mask's business.
  results.Add(lse);
}

// One case per recipe over all the problems given. Gradients overflow sooner, so fewer need be
// finite.
void Add(std::vector<Case>& cases, const std::string& name, const std::vector<Problem>& problems,
         int finite_percent, Pass pass = Pass::kForward) {
  const bool forward = pass == Pass::kForward;
  for (const AttentionRecipe& recipe : AttentionRecipes()) {
    cases.push_back(
        {fmt::format("{}/{}/{}", forward ? "attention" : "attention-backward", recipe.name, name),
         forward ? Operation::kAttention : Operation::kAttentionBackward,
         forward ? finite_percent : finite_percent / 2,
         [problems, &recipe, pass](Engine& engine, Results& results) {
           for (const Problem& problem : problems) Compute(problem, recipe, pass, engine, results);
         }});
  }
}

constexpr DType kDTypes[] = {DType::kBF16, DType::kF16, DType::kF32};
constexpr MaskSpec kCausal{};
constexpr MaskSpec kAnchor{MaskRule::kAnchor, true, std::nullopt, Corner::kTopLeft};

// Every style of values in every dtype, grouped heads, ragged in lanes and blocks.
void AddStyles(std::vector<Case>& cases, Pass pass) {
  for (const Style& style : kStyles) {
    for (const DType dtype : kDTypes) {
      Add(cases, fmt::format("style/{}/{}", style.name, DTypeName(dtype)),
          {{{2, 67, 67, 4, 2, 24}, dtype, kAnchor, style},
           {{1, 50, 50, 2, 1, 64}, dtype, kCausal, style}},
          style.finite_percent, pass);
    }
  }
}

// Lengths around one lane, one vector, one block of queries and one block of keys.
void AddLengths(std::vector<Case>& cases) {
  for (const int64_t S : {1,  2,  3,  4,  5,  7,  8,  9,  11, 12, 13, 15, 16,  17,  23, 24,
                          25, 31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 96, 127, 129, 130}) {
    Add(cases, fmt::format("length/{}", S),
        {{{1, S, S, 2, 1, 8}, DType::kBF16, kCausal, kNormal},
         {{1, S, S, 1, 1, 8}, DType::kF32, {MaskRule::kFull, false}, kWide}},
        100);
  }
}

void AddHeadDims(std::vector<Case>& cases, Pass pass) {
  for (const int64_t D : {1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 64, 65, 127, 128, 255, 256}) {
    std::vector<Problem> problems;
    for (const DType dtype : kDTypes) {
      problems.push_back({{1, 34, 34, 1, 1, D}, dtype, kCausal, kNormal});
      problems.push_back({{1, 34, 34, 1, 1, D}, dtype, kCausal, kWide});
    }
    Add(cases, fmt::format("head-dim/{}", D), problems, 100, pass);
  }
}

// Rules, both corners, windows, with and without causal, queries and keys of unequal number; some
// rows see nothing.
void AddMasks(std::vector<Case>& cases, Pass pass) {
  for (const MaskRule rule : {MaskRule::kFull, MaskRule::kDocument, MaskRule::kAnchor}) {
    for (const bool causal : {true, false}) {
      for (const Corner corner : {Corner::kTopLeft, Corner::kBottomRight}) {
        for (const int64_t window : {0, 1, 9, 70}) {
          MaskSpec mask{rule, causal, std::nullopt, corner};
          if (window != 0) mask.window_keys = window;
          std::vector<Problem> problems;
          for (const auto& [Sq, Skv] :
               {std::pair{50, 50}, {5, 130}, {130, 5}, {1, 300}, {96, 100}}) {
            problems.push_back({{2, Sq, Skv, 2, 1, 16}, DType::kBF16, mask, kNormal});
            problems.push_back({{1, Sq, Skv, 3, 3, 3}, DType::kF32, mask, kWide});
          }
          Add(cases,
              fmt::format("mask/{}/{}/{}/window-{}", Name(rule), causal ? "causal" : "all",
                          Name(corner), window),
              problems, 60, pass);
        }
      }
    }
  }
}

// A few new queries against a cache of keys.
void AddDecode(std::vector<Case>& cases) {
  for (int64_t Sq = 1; Sq <= 16; ++Sq) {
    const MaskSpec mask{MaskRule::kFull, true, std::nullopt, Corner::kBottomRight};
    Add(cases, fmt::format("decode/{}", Sq),
        {{{1, Sq, 333 + Sq, 8, 2, 64}, DType::kBF16, mask, kNormal},
         {{2, Sq, 100, 2, 2, 40}, kDTypes[Sq % 3], mask, kWide}},
        100);
  }
}

// The ways to pack documents into a sequence, and one sequence longer than any block.
void AddPackings(std::vector<Case>& cases, Pass pass) {
  const std::vector<int64_t> lengths = {17, 64, 3, 49};
  const struct {
    const char* name;
    DocumentLayout layout;
  } packings[] = {
      {"shared-anchor", SharedAnchor(lengths)},
      {"anchor-copies", AnchorCopies(lengths)},
      {"intra-document", IntraDocument(lengths, true)},
      {"interleaved-chunks",
       InterleavedChunks({20, 30}, {{1, 0, 10}, {0, 0, 20}, {1, 10, 1}, {1, 11, 19}})},
  };
  for (const auto& [name, layout] : packings) {
    const int64_t S = static_cast<int64_t>(layout.document_ids.size());
    const MaskSpec mask{layout.rule, true, std::nullopt, Corner::kTopLeft};
    Add(cases, fmt::format("packing/{}", name),
        {{{1, S, S, 4, 2, 32}, DType::kBF16, mask, kNormal, layout.document_ids},
         {{1, S, S, 2, 2, 32}, DType::kF32, mask, kWide, layout.document_ids}},
        100, pass);
  }
  Add(cases, "long", {{{1, 520, 520, 1, 1, 64}, DType::kBF16, kAnchor, kNormal}}, 100, pass);
}

// Arguments <= 0 whose exponential lies within 2^-48 (relative) of the middle between two f32,
// where a vector exp must not trust its first answer. Found by a search over all of them.
constexpr uint32_t kHardExp[] = {
    0xc16912cd, 0xbbf0edf1, 0xbae0e25c, 0xb3000000, 0xbc2a461a, 0xc0781533, 0xbbb70ee8,
    0xc13d6631, 0xbcb8f40f, 0xbfbfa14b, 0xb7f4c0ea, 0xb7c9c09f, 0xbf81eadf, 0xbf76fd92,
    0xba7242a6, 0xbdb393eb, 0xc159fa1e, 0xc0382e72, 0xbee0e6cd, 0xb6b50020, 0xb616000b,
    0xb5d4000b, 0xb3000001, 0xb3c00001, 0xb4200001, 0xb4b00002, 0xc236e4b4, 0xc2b2e798,
};

// One document per argument x, of two keys with scores 0 and x. Their values are -2^k, next below
// e^x, and 1: e^x - 2^k is exact and shows the last bit of the weight.
void ComputeHardExp(const AttentionRecipe& recipe, Engine& engine, Results& results) {
  std::vector<float> q, k, v;
  Mask mask;
  for (const uint32_t bits : kHardExp) {
    const float x = std::bit_cast<float>(bits);
    const int exponent = static_cast<int>(std::floor(static_cast<double>(x) * 0x1.715476p0));
    q.insert(q.end(), {1, 1});
    k.insert(k.end(), {0, x});
    v.insert(v.end(), {-std::ldexp(1.0f, exponent), 1});
    const int64_t document = static_cast<int64_t>(q.size());
    mask.k_ids.insert(mask.k_ids.end(), {document, document});
  }
  const int64_t S = static_cast<int64_t>(q.size());
  const Shape4 shape = {1, S, 1, 1};
  mask.spec = {MaskRule::kDocument, false};
  mask.B = 1;
  mask.Sq = mask.Skv = S;
  mask.q_ids = mask.k_ids;
  AttentionProblem problem;
  problem.shape = {1, S, S, 1, 1, 1};
  problem.q = DenseView(DType::kF32, std::as_bytes(std::span(q)).data(), shape);
  problem.k = DenseView(DType::kF32, std::as_bytes(std::span(k)).data(), shape);
  problem.v = DenseView(DType::kF32, std::as_bytes(std::span(v)).data(), shape);
  problem.softmax_scale = 1;
  problem.mask = mask;
  Validate(problem);
  std::vector<float> o(S), lse(S);
  engine.AttentionForward(
      problem, recipe, DenseView(DType::kF32, std::as_writable_bytes(std::span(o)).data(), shape),
      lse.data());
  results.Add(o);
  results.Add(lse);
}

void AddHardExp(std::vector<Case>& cases) {
  for (const AttentionRecipe& recipe : AttentionRecipes()) {
    cases.push_back(
        {fmt::format("attention/{}/hard-exp", recipe.name), Operation::kAttention, 100,
         [&recipe](Engine& engine, Results& results) { ComputeHardExp(recipe, engine, results); }});
  }
}

}  // namespace

void AddAttentionCases(std::vector<Case>& cases) {
  AddStyles(cases, Pass::kForward);
  AddLengths(cases);
  AddHeadDims(cases, Pass::kForward);
  AddMasks(cases, Pass::kForward);
  AddDecode(cases);
  AddPackings(cases, Pass::kForward);
  AddHardExp(cases);
  AddStyles(cases, Pass::kBackward);
  AddHeadDims(cases, Pass::kBackward);
  AddMasks(cases, Pass::kBackward);
  AddPackings(cases, Pass::kBackward);
}

}  // namespace bitanchor::digest
