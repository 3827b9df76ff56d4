// The problems that schedules are tested on, and the oracle's answer to a row of one.
#ifndef BITANCHOR_TESTS_REPLAY_SCHEDULE_CASES_H_
#define BITANCHOR_TESTS_REPLAY_SCHEDULE_CASES_H_

#include <algorithm>
#include <limits>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "lib/problem/attention_problem.h"
#include "lib/replay/admissible.h"
#include "lib/replay/sequences.h"
#include "tests/replay/quad_oracle.h"
#include "tests/support/random_problem.h"

namespace bitanchor::testing {

using replay::Admissible;
using replay::Place;
using replay::Sequence;

struct Case {
  std::string name, schedule;
  DType dtype;
  AttentionShape shape;
  MaskSpec mask;
  int64_t document = 0;  // tokens of each
  Values values = Values::kNormal;
  float scale = 0;    // 0: the usual one
  int specials = 0;   // infinities and NaNs put somewhere
  int64_t every = 9;  // of the rows
};

inline void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

inline constexpr MaskSpec kCausal{MaskRule::kFull, true, std::nullopt, Corner::kBottomRight};
inline constexpr MaskSpec kFull{MaskRule::kFull, false, std::nullopt, Corner::kBottomRight};
inline constexpr MaskSpec kDocuments{MaskRule::kDocument, true};
inline constexpr MaskSpec kDocumentsFull{MaskRule::kDocument, false};
inline constexpr MaskSpec kAnchor{MaskRule::kAnchor, true};
inline constexpr auto kBF16 = DType::kBF16, kF16 = DType::kF16;
inline constexpr char kSM80[] = "flash-attention-2/sm80", kSM8x[] = "flash-attention-2/sm8x",
                      kSM90[] = "flash-attention-2/sm90-mma";

inline std::vector<Case> Cases() {
  return {
      {"causal", kSM80, kBF16, {1, 200, 200, 4, 2, 128}, kCausal},
      {"causal_f16_64", kSM90, kF16, {1, 193, 193, 2, 1, 64}, kCausal},
      {"causal_f16", kSM80, kF16, {1, 140, 140, 1, 1, 128}, kCausal},
      {"causal_sm90", kSM90, kBF16, {2, 150, 150, 1, 1, 128}, kCausal},
      {"causal_sm8x", kSM8x, kBF16, {1, 200, 200, 1, 1, 128}, kCausal},
      {"whole_tiles", kSM80, kBF16, {1, 128, 128, 1, 1, 128}, kCausal},
      {"full", kSM80, kBF16, {1, 40, 150, 2, 2, 128}, kFull},
      {"full_sm8x", kSM8x, kF16, {1, 30, 100, 1, 1, 128}, kFull},
      {"full_64", kSM90, kBF16, {1, 30, 260, 1, 1, 64}, kFull},
      {"later_queries", kSM80, kBF16, {1, 64, 201, 1, 1, 128}, kCausal},
      {"rows_without_keys", kSM80, kBF16, {1, 200, 140, 1, 1, 128}, kCausal},
      {"one_query", kSM8x, kF16, {8, 1, 130, 4, 2, 128}, kCausal, 0, Values::kNormal, 0, 0, 1},
      {"one_key", kSM80, kF16, {1, 5, 1, 1, 1, 64}, kFull, 0, Values::kNormal, 0, 0, 1},
      {"documents", kSM80, kBF16, {2, 150, 150, 1, 1, 64}, kDocuments, 41},
      {"documents_full", kSM8x, kBF16, {1, 130, 130, 1, 1, 128}, kDocumentsFull, 97},
      {"documents_of_1",
       kSM80,
       kBF16,
       {1, 9, 9, 1, 1, 128},
       kDocuments,
       1,
       Values::kNormal,
       0,
       0,
       1},
      {"anchor", kSM90, kBF16, {2, 160, 160, 2, 1, 128}, kAnchor, 70},
      {"anchor_f16", kSM80, kF16, {1, 100, 100, 1, 1, 64}, kAnchor, 33},
      {"great_scores", kSM80, kBF16, {1, 150, 150, 1, 1, 128}, kCausal, 0, Values::kNormal, 100},
      {"huge_scores", kSM90, kBF16, {1, 140, 140, 1, 1, 64}, kCausal, 0, Values::kNormal, 1e6f},
      {"tiny_scores", kSM90, kBF16, {1, 140, 140, 1, 1, 64}, kCausal, 0, Values::kNormal, 1e-37f},
      {"subnormal_scale", kSM80, kF16, {1, 70, 70, 1, 1, 64}, kCausal, 0, Values::kNormal, 1e-40f},
      {"integers", kSM80, kF16, {1, 150, 150, 1, 1, 64}, kCausal, 0, Values::kInteger},
      {"wide", kSM80, kBF16, {1, 150, 150, 1, 1, 64}, kCausal, 0, Values::kWide},
      {"wide_sm90", kSM90, kBF16, {1, 150, 150, 1, 1, 64}, kCausal, 0, Values::kWide},
      {"subnormals", kSM80, kBF16, {1, 150, 150, 1, 1, 64}, kCausal, 0, Values::kSubnormal},
      {"subnormals_f16", kSM90, kF16, {1, 150, 150, 1, 1, 64}, kCausal, 0, Values::kSubnormal},
      {"odd_scale", kSM80, kBF16, {1, 90, 90, 1, 1, 64}, kCausal, 0, Values::kNormal, 0.3f},
      {"overflowing_weights",
       kSM80,
       kBF16,
       {1, 300, 300, 1, 1, 64},
       kCausal,
       0,
       Values::kNormal,
       1e9f},
      {"far_weights", kSM90, kF16, {1, 40, 300, 1, 1, 128}, kFull, 0, Values::kNormal, 3e8f},
      {"all_minus_infinity",
       kSM80,
       kBF16,
       {1, 300, 300, 1, 1, 64},
       kCausal,
       0,
       Values::kNormal,
       0,
       -1},
      {"all_minus_infinity_whole",
       kSM80,
       kBF16,
       {1, 256, 256, 1, 1, 64},
       kCausal,
       0,
       Values::kNormal,
       0,
       -1},
      {"all_minus_infinity_full",
       kSM80,
       kF16,
       {1, 20, 260, 1, 1, 64},
       kFull,
       0,
       Values::kNormal,
       0,
       -1},
      {"specials", kSM80, kBF16, {1, 200, 200, 1, 1, 64}, kCausal, 0, Values::kNormal, 0, 3, 5},
      {"many_specials",
       kSM80,
       kBF16,
       {1, 150, 150, 1, 1, 64},
       kCausal,
       0,
       Values::kNormal,
       0,
       60,
       5},
      {"specials_whole",
       kSM90,
       kBF16,
       {1, 256, 256, 1, 1, 64},
       kCausal,
       0,
       Values::kNormal,
       0,
       40,
       7},
      {"specials_full", kSM80, kF16, {1, 40, 150, 1, 1, 64}, kFull, 0, Values::kNormal, 0, 30, 5},
  };
}

inline uint64_t SeedOf(const Case& c) {
  uint64_t seed = 1469598103934665603u;
  for (const char letter : c.name) seed = (seed ^ static_cast<uint8_t>(letter)) * 1099511628211u;
  return seed;
}

inline OwnedProblem ProblemOf(const Case& c) {
  OwnedProblem owned = MakeProblem(c.shape, c.dtype, c.mask, c.values, SeedOf(c));
  AttentionProblem& p = owned.problem;
  if (c.scale != 0) p.softmax_scale = c.scale;
  if (c.document != 0) SetIds(p.mask, c.document);
  for (int64_t s = 0; c.specials < 0 && s < c.shape.Skv; ++s) {
    StoreRounded(c.dtype, owned.Element(owned.k, p.k, 0, s, 0, 0), 1.0f);
    if (s >= c.shape.Sq) continue;
    StoreRounded(c.dtype, owned.Element(owned.q, p.q, 0, s, 0, 0), -HUGE_VALF);
  }
  std::mt19937_64 random(SeedOf(c) + 1);
  const auto below = [&](int64_t n) {
    return static_cast<int64_t>(random() % static_cast<uint64_t>(n));
  };
  for (int n = 0; n < c.specials; ++n) {
    const float specials[] = {HUGE_VALF, -HUGE_VALF, std::numeric_limits<float>::quiet_NaN()};
    const float x = specials[below(3)];
    const int64_t which = below(3), d = below(c.shape.D);
    if (which == 0) {
      StoreRounded(c.dtype, owned.Element(owned.q, p.q, 0, below(c.shape.Sq), 0, d), x);
    } else if (which == 1) {
      StoreRounded(c.dtype, owned.Element(owned.k, p.k, 0, below(c.shape.Skv), 0, d), x);
    } else {
      StoreRounded(c.dtype, owned.Element(owned.v, p.v, 0, below(c.shape.Skv), 0, d), x);
    }
  }
  return owned;
}

// The oracle's own notion of which call of the kernel a token is in.
struct Call {
  std::vector<int64_t> queries, keys;
  int64_t row = 0;
};
inline Call CallOf(const AttentionProblem& p, int64_t b, int64_t token) {
  Call call;
  const auto in = [&](int64_t other) {
    if (p.mask.spec.rule == MaskRule::kFull) return true;
    const int64_t own = p.mask.q_ids[static_cast<size_t>(b * p.shape.Sq + token)];
    const int64_t id = p.mask.k_ids[static_cast<size_t>(b * p.shape.Skv + other)];
    return id == own || (p.mask.spec.rule == MaskRule::kAnchor && id == 0);
  };
  for (int64_t n = 0; n < p.shape.Sq; ++n) {
    if (!in(n)) continue;
    if (n == token) call.row = static_cast<int64_t>(call.queries.size());
    call.queries.push_back(n);
  }
  for (int64_t n = 0; n < p.shape.Skv; ++n) {
    if (in(n)) call.keys.push_back(n);
  }
  return call;
}

inline std::vector<float> TokenOf(const TensorView& tensor, int64_t b, int64_t s, int64_t h) {
  std::vector<float> numbers;
  for (int64_t d = 0; d < tensor.shape[3]; ++d) numbers.push_back(tensor.At(b, s, h, d));
  return numbers;
}

inline RowAnswer OracleRow(const Gpu& gpu, const Case& c, const AttentionProblem& p, int64_t b,
                           int64_t h, int64_t token, Kernel kernel = {}) {
  const Call call = CallOf(p, b, token);
  std::vector<std::vector<float>> k, v;
  for (const int64_t key : call.keys) {
    k.push_back(TokenOf(p.k, b, key, h * p.shape.Hkv / p.shape.Hq));
    v.push_back(TokenOf(p.v, b, key, h * p.shape.Hkv / p.shape.Hq));
  }
  // mha_fwd: a single query is not causal.
  kernel.Is_causal = p.mask.spec.causal && p.shape.Sq > 1;
  // run_mha_fwd_hdim64 and 128.
  kernel.kBlockM = kernel.kBlockN = 128;
  if (p.shape.D == 128) {
    kernel.kBlockN = 64;
    if (c.schedule == kSM8x) (kernel.Is_causal ? kernel.kBlockM : kernel.kBlockN) /= 2;
  }
  kernel.Is_even_MN = p.mask.spec.rule == MaskRule::kFull && p.shape.Sq % kernel.kBlockM == 0 &&
                      p.shape.Skv % kernel.kBlockN == 0;
  QuadOfThreads quad(gpu, kernel, p.softmax_scale);
  return quad.Run(TokenOf(p.q, b, token, h), k, v, call.row,
                  static_cast<int64_t>(call.queries.size()));
}

struct RowPlace {
  const Sequence& sequence;
  int64_t n, token, h;
};

// Some of the rows that the sequences answer for: the first, the last and every so many.
template <typename Visit>
void ForRows(const std::vector<Sequence>& sequences, const Case& c, const Visit& visit) {
  int64_t row = 0;
  for (const Sequence& sequence : sequences) {
    const int64_t count = static_cast<int64_t>(sequence.queries.size());
    for (int64_t n = 0; n < count; ++n) {
      if (!sequence.answers[static_cast<size_t>(n)]) continue;
      if (row++ % c.every != 0 && n != count - 1 && n != 63 && n != 64 && n != 127) continue;
      visit(RowPlace{sequence, n, sequence.queries[static_cast<size_t>(n)], row % c.shape.Hq});
    }
  }
}

inline bool SameNumber(float x, float y) {
  return (std::isnan(x) && std::isnan(y)) ||
         (!std::isnan(x) && !std::isnan(y) && Place(x) == Place(y));
}

inline std::string Say(const Admissible& set) {
  return std::to_string(set.low) + " .. " + std::to_string(set.high);
}

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_REPLAY_SCHEDULE_CASES_H_
