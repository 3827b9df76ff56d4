// The definition of schedules against FlashAttention-2's kernel written out thread by thread
// (quad_oracle.h): the same bits where special functions are correctly rounded, and whatever any
// other GPU within their bounds answers is in the set.
#include "lib/replay/scheduled_attention.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <string>

#include "lib/number/elementary.h"
#include "lib/replay/flushed_arithmetic.h"
#include "tests/replay/quad_oracle.h"
#include "tests/support/random_problem.h"

namespace {

using bitanchor::AttentionProblem;
using bitanchor::AttentionShape;
using bitanchor::Corner;
using bitanchor::DType;
using bitanchor::FindSchedule;
using bitanchor::MaskRule;
using bitanchor::MaskSpec;
using bitanchor::Schedule;
using bitanchor::TensorView;
namespace number = bitanchor::number;
namespace replay = bitanchor::replay;
using bitanchor::replay::Admissible;
using bitanchor::replay::AnswerOf;
using bitanchor::replay::CorrectlyRounded;
using bitanchor::replay::Place;
using bitanchor::replay::ScheduledRow;
using bitanchor::replay::Sequence;
using bitanchor::replay::SequencesOf;
using bitanchor::replay::SpecialFunctions;
using bitanchor::testing::CorrectlyRoundedGpu;
using bitanchor::testing::Gpu;
using bitanchor::testing::MakeProblem;
using bitanchor::testing::OwnedProblem;
using bitanchor::testing::QuadOfThreads;
using bitanchor::testing::RowAnswer;
using bitanchor::testing::Values;

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

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

constexpr MaskSpec kCausal{MaskRule::kFull, true, std::nullopt, Corner::kBottomRight};
constexpr MaskSpec kFull{MaskRule::kFull, false, std::nullopt, Corner::kBottomRight};
constexpr MaskSpec kDocuments{MaskRule::kDocument, true};
constexpr MaskSpec kDocumentsFull{MaskRule::kDocument, false};
constexpr MaskSpec kAnchor{MaskRule::kAnchor, true};
constexpr auto kBF16 = DType::kBF16, kF16 = DType::kF16;
constexpr char kSM80[] = "flash-attention-2/sm80", kSM8x[] = "flash-attention-2/sm8x",
               kSM90[] = "flash-attention-2/sm90-mma";

std::vector<Case> Cases() {
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

uint64_t SeedOf(const Case& c) {
  uint64_t seed = 1469598103934665603u;
  for (const char letter : c.name) seed = (seed ^ static_cast<uint8_t>(letter)) * 1099511628211u;
  return seed;
}

OwnedProblem ProblemOf(const Case& c) {
  OwnedProblem owned = MakeProblem(c.shape, c.dtype, c.mask, c.values, SeedOf(c));
  AttentionProblem& p = owned.problem;
  if (c.scale != 0) p.softmax_scale = c.scale;
  if (c.document != 0) bitanchor::testing::SetIds(p.mask, c.document);
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
Call CallOf(const AttentionProblem& p, int64_t b, int64_t token) {
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

std::vector<float> TokenOf(const TensorView& tensor, int64_t b, int64_t s, int64_t h) {
  std::vector<float> numbers;
  for (int64_t d = 0; d < tensor.shape[3]; ++d) numbers.push_back(tensor.At(b, s, h, d));
  return numbers;
}

RowAnswer OracleRow(const Gpu& gpu, const Case& c, const AttentionProblem& p, int64_t b, int64_t h,
                    int64_t token) {
  const Call call = CallOf(p, b, token);
  std::vector<std::vector<float>> k, v;
  for (const int64_t key : call.keys) {
    k.push_back(TokenOf(p.k, b, key, h * p.shape.Hkv / p.shape.Hq));
    v.push_back(TokenOf(p.v, b, key, h * p.shape.Hkv / p.shape.Hq));
  }
  bitanchor::testing::Kernel kernel;
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

bool SameNumber(float x, float y) {
  return (std::isnan(x) && std::isnan(y)) ||
         (!std::isnan(x) && !std::isnan(y) && Place(x) == Place(y));
}

std::string Say(const Admissible& set) {
  return std::to_string(set.low) + " .. " + std::to_string(set.high);
}

class ScheduleTest : public ::testing::TestWithParam<Case> {};

TEST_P(ScheduleTest, IsTheKernelThreadByThread) {
  const Case& c = GetParam();
  const OwnedProblem owned = ProblemOf(c);
  const AttentionProblem& p = owned.problem;
  const Schedule& schedule = *FindSchedule(c.schedule);
  const bool hopper = c.schedule == kSM90;
  Gpu gpu = CorrectlyRoundedGpu(hopper, c.dtype == kBF16);
  int64_t elements = 0, pinned = 0, finite = 0;
  ForRows(SequencesOf(p, schedule), c, [&](const RowPlace& at) {
    const ScheduledRow got = AnswerOf(p, schedule, CorrectlyRounded(), at.sequence, at.h, at.n);
    const std::string where = c.name + " token " + std::to_string(at.token);
    std::optional<Admissible> lse;
    for (const int floor : {-126, hopper ? -133 : -132}) {
      gpu.least_exponent = floor;
      for (gpu.lse_fusion = 0; gpu.lse_fusion < 3; ++gpu.lse_fusion) {
        const RowAnswer want = OracleRow(gpu, c, p, at.sequence.b, at.h, at.token);
        lse = lse ? Union(*lse, want.lse) : Admissible(want.lse);
        for (size_t d = 0; d < want.o.size() && gpu.lse_fusion == 0; ++d) {
          ASSERT_TRUE(got.o[d].Contains(want.o[d]))
              << where << " d " << d << ": got " << Say(got.o[d]) << ", want " << want.o[d];
          if (floor != -126) continue;
          ++elements;
          pinned += got.o[d].IsPinned();
          finite += std::isfinite(want.o[d]) && got.o[d].IsPinned();
        }
        // The functions do not depend on the fusion; one reading alone is new.
        if (floor != -126 && c.values != Values::kSubnormal) break;
      }
    }
    EXPECT_TRUE(got.lse.Contains(lse->low) && got.lse.Contains(lse->high))
        << where << " lse: got " << Say(got.lse) << ", want " << Say(*lse);
    if (c.values == Values::kNormal) {  // no readings: exactly the three forms
      EXPECT_TRUE(SameNumber(got.lse.low, lse->low) && SameNumber(got.lse.high, lse->high))
          << where << " lse: got " << Say(got.lse) << ", want " << Say(*lse);
    }
  });
  EXPECT_GT(elements, 0);
  EXPECT_GE(pinned, c.values == Values::kSubnormal ? elements / 2 : elements);
  const bool mostly_finite =
      c.specials >= 0 && c.specials < 10 && c.scale != 1e-40f && c.scale < 1e8f;
  EXPECT_TRUE(finite > elements / 3 || !mostly_finite) << finite << " of " << elements;
  RecordProperty("pinned", static_cast<int>(pinned));
}

// Row 10 of 100 passes a tile without any of its keys first; of 11 it does not.
TEST(MaskedTilesTest, LeaveNoTraceButOfValuesThatAreNotFinite) {
  const Schedule& schedule = *FindSchedule(kSM80);
  for (const int64_t special : {int64_t{0}, int64_t{11}, int64_t{99}}) {
    OwnedProblem longer = MakeProblem({1, 100, 100, 1, 1, 128}, kBF16, kCausal, Values::kNormal, 5);
    AttentionProblem& p = longer.problem;
    AttentionProblem shorter = p;
    shorter.shape.Sq = shorter.shape.Skv = shorter.mask.Sq = shorter.mask.Skv = 11;
    if (special > 0) {
      StoreRounded(kBF16, longer.Element(longer.v, p.v, 0, special, 0, 3), HUGE_VALF);
    }
    const SpecialFunctions functions;
    const auto row = [&](const AttentionProblem& problem) {
      return AnswerOf(problem, schedule, functions, SequencesOf(problem, schedule)[0], 0, 10);
    };
    const ScheduledRow got = row(p), want = row(shorter);
    for (size_t d = 0; d < got.o.size(); ++d) {
      if (special > 0 && d == 3) {  // 0 * inf
        EXPECT_TRUE(got.o[d].IsNaN());
        continue;
      }
      EXPECT_TRUE(SameNumber(got.o[d].low, want.o[d].low)) << d;
      EXPECT_TRUE(SameNumber(got.o[d].high, want.o[d].high)) << d;
    }
    EXPECT_TRUE(SameNumber(got.lse.low, want.lse.low) && SameNumber(got.lse.high, want.lse.high));
  }
}

TEST(ExponentScaleTest, IsAProductInF64) {
  int differs = 0;  // from one in f32
  for (int D = 1; D <= 256; ++D) {
    const float scale = bitanchor::DefaultSoftmaxScale(D);
    const double product = double{scale} * 1.4426950408889634074;
    EXPECT_EQ(replay::ExponentScale(scale), static_cast<float>(product)) << D;
    differs += replay::ExponentScale(scale) != scale * 1.44269504f;
  }
  EXPECT_GT(differs, 20);
}

INSTANTIATE_TEST_SUITE_P(Kernels, ScheduleTest, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });

// A GPU whose functions are off by some ulp within their bounds, as a hash of the operand says.
uint64_t Hash(uint64_t seed, float x) {
  uint64_t h = seed ^ std::bit_cast<uint32_t>(x) * 0x9e3779b97f4a7c15u;
  h = (h ^ h >> 31) * 0xbf58476d1ce4e5b9u;
  return h ^ h >> 29;
}

float Off(float x, int64_t steps) {
  if (!std::isfinite(x) && steps > 0) return x;
  const int64_t place = Place(x) + (x < 0 ? -steps : steps);
  return replay::AtPlace(x > 0 || x == 0 ? std::max<int64_t>(place, 0) : place);
}

Gpu RandomGpu(uint64_t seed, bool hopper, bool bf16) {
  Gpu gpu = CorrectlyRoundedGpu(hopper, bf16);
  const auto steps = [seed](float x, uint64_t salt) {
    if (seed % 4 == 0) return int64_t{2};
    if (seed % 4 == 1) return int64_t{-2};
    return static_cast<int64_t>(Hash(seed + salt, x) % 5) - 2;
  };
  gpu.ex2 = [=](float x) {
    if (x == 0 || !std::isfinite(x)) return number::Exp2(x);
    return Off(number::Exp2(x), steps(x, 1));
  };
  gpu.rcp = [=](float x) {
    if (x == 0 || !std::isfinite(x)) return 1 / x;
    return Off(1 / x, steps(x, 2));
  };
  gpu.lg2 = [=](float x) {
    if (x == 0 || !std::isfinite(x)) return static_cast<float>(std::log2(x));
    const double exact = std::log2(static_cast<double>(x));
    const double error = static_cast<double>(Hash(seed + 3, x) % 2001) / 1000 - 1;
    const double y = exact + 0.999 * error * 0x1p-22 * std::max(1.0, std::fabs(exact));
    return static_cast<float>(y);
  };
  gpu.least_exponent = Hash(seed, 5) % 2 == 0 ? -126 : (hopper ? -133 : -132);
  gpu.lse_fusion = static_cast<int>(Hash(seed, 6) % 3);
  return gpu;
}

class SetTest : public ::testing::TestWithParam<Case> {};

TEST_P(SetTest, HoldsEveryGpu) {
  Case c = GetParam();
  c.every = c.every * 3 + 1;
  const OwnedProblem owned = ProblemOf(c);
  const AttentionProblem& p = owned.problem;
  const Schedule& schedule = *FindSchedule(c.schedule);
  const SpecialFunctions functions;
  uint64_t seed = SeedOf(c) % 1000;
  int64_t elements = 0, pinned = 0;
  ForRows(SequencesOf(p, schedule), c, [&](const RowPlace& at) {
    const ScheduledRow got = AnswerOf(p, schedule, functions, at.sequence, at.h, at.n);
    for (const Admissible& o : got.o) pinned += o.IsPinned();
    for (int n = 0; n < 3; ++n) {
      const Gpu gpu = RandomGpu(++seed, c.schedule == kSM90, c.dtype == kBF16);
      const RowAnswer want = OracleRow(gpu, c, p, at.sequence.b, at.h, at.token);
      EXPECT_TRUE(got.lse.Contains(want.lse))
          << c.name << " token " << at.token << " lse " << Say(got.lse) << " without " << want.lse;
      for (size_t d = 0; d < want.o.size(); ++d) {
        ASSERT_TRUE(got.o[d].Contains(want.o[d]))
            << c.name << " seed " << seed << " token " << at.token << " d " << d << ": "
            << Say(got.o[d]) << " without " << want.o[d];
        ++elements;
      }
    }
  });
  EXPECT_GT(elements, 0);
  const bool usual = c.values == Values::kNormal && c.scale == 0;
  EXPECT_TRUE(pinned * 3 > elements * 8 / 10 || !usual) << pinned << " of " << elements / 3;
}

INSTANTIATE_TEST_SUITE_P(Kernels, SetTest, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
