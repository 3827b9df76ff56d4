// The definition of schedules against FlashAttention-2's kernel written out thread by thread
// (quad_oracle.h): the same bits where special functions are correctly rounded, and whatever any
// other GPU within their bounds answers is in the set.
#include "lib/replay/scheduled_attention.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "lib/number/elementary.h"
#include "tests/replay/quad_oracle.h"
#include "tests/replay/schedule_cases.h"
#include "tests/support/random_problem.h"

namespace {

namespace number = bitanchor::number;
namespace replay = bitanchor::replay;
using bitanchor::AttentionProblem;
using bitanchor::FindSchedule;
using bitanchor::Schedule;
using bitanchor::replay::Admissible;
using bitanchor::replay::AnswerOf;
using bitanchor::replay::CorrectlyRounded;
using bitanchor::replay::Place;
using bitanchor::replay::ScheduledRow;
using bitanchor::replay::SequencesOf;
using bitanchor::replay::SpecialFunctions;
using bitanchor::testing::Case;
using bitanchor::testing::Cases;
using bitanchor::testing::CorrectlyRoundedGpu;
using bitanchor::testing::ForRows;
using bitanchor::testing::Gpu;
using bitanchor::testing::kBF16;
using bitanchor::testing::kCausal;
using bitanchor::testing::kF16;
using bitanchor::testing::kSM80;
using bitanchor::testing::kSM90;
using bitanchor::testing::MakeProblem;
using bitanchor::testing::OracleRow;
using bitanchor::testing::OwnedProblem;
using bitanchor::testing::ProblemOf;
using bitanchor::testing::RowAnswer;
using bitanchor::testing::RowPlace;
using bitanchor::testing::SameNumber;
using bitanchor::testing::Say;
using bitanchor::testing::SeedOf;
using bitanchor::testing::Values;

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

// Equal weights of whole numbers: quotients that are ties in f16, which o rcp(l) misses.
void MakeMeans(OwnedProblem& owned) {
  const AttentionProblem& p = owned.problem;
  for (int64_t s = 0; s < p.shape.Sq; ++s) {
    for (int64_t d = 0; d < p.shape.D; ++d) {
      StoreRounded(kF16, owned.Element(owned.q, p.q, 0, s, 0, d), 0.0f);
      const float whole = static_cast<float>(2000 + (s * s * 7 + d * d * 3 + s * d) % 97);
      StoreRounded(kF16, owned.Element(owned.v, p.v, 0, s, 0, d), whole);
    }
  }
}

// Scores about -4.5, so that the LSE of a hundred is about 0, where an ulp of l moves it by many.
void MakeLSEsNear0(OwnedProblem& owned) {
  const AttentionProblem& p = owned.problem;
  owned.problem.softmax_scale = 0.05f;
  for (int64_t s = 0; s < p.shape.Sq; ++s) {
    StoreRounded(kF16, owned.Element(owned.q, p.q, 0, s, 0, 0), -9.0f);
    StoreRounded(kF16, owned.Element(owned.k, p.k, 0, s, 0, 0), 10.0f);
  }
}

// What no schedule of the table does: the other choices of its fields, each and together.
TEST(OtherSchedulesTest, AreTheKernelThreadByThread) {
  using bitanchor::testing::Kernel;
  const Case c{"other", kSM80, kF16, {1, 150, 150, 1, 1, 128}, kCausal, 0, Values::kNormal,
               0,       0,     5};
  Gpu gpu = CorrectlyRoundedGpu(false, false);
  for (int choice = 1; choice <= 7; ++choice) {
    Schedule schedule = *FindSchedule(kSM80);
    OwnedProblem owned = ProblemOf(c);
    const AttentionProblem& p = owned.problem;
    Kernel kernel;
    const bool all = choice == 7;
    int64_t differs = 0;  // from FlashAttention-2
    if (choice == 1 || all) {
      schedule.exp_argument = bitanchor::ExpArgument::kScaled;
      kernel.exponent = Kernel::kScaled;
    }
    if (choice == 2) {
      schedule.exp_argument = bitanchor::ExpArgument::kShifted;
      kernel.exponent = Kernel::kShifted;
    }
    if (choice == 3 || all) {
      schedule.order = bitanchor::TileOrder::kFirstFirst;
      kernel.first_tile_first = true;
    }
    if (choice == 4 || choice == 5 || all) {
      schedule.fused_row_sum = false;
      kernel.rescale_sum_apart = true;
    }
    if (choice == 5 || all) {
      schedule.row_sum = bitanchor::RowSum::kAscending;
      kernel.one_sum = true;
    }
    if (choice == 6 || all) {
      schedule.normalisation = bitanchor::Normalisation::kDivision;
      kernel.divide = true;
    }
    choice == 6 ? MakeMeans(owned) : MakeLSEsNear0(owned);
    ForRows(SequencesOf(p, schedule), c, [&](const RowPlace& at) {
      const ScheduledRow got = AnswerOf(p, schedule, CorrectlyRounded(), at.sequence, 0, at.n);
      RowAnswer want;
      std::optional<Admissible> lse;
      for (gpu.lse_fusion = 0; gpu.lse_fusion < 3; ++gpu.lse_fusion) {
        want = OracleRow(gpu, c, p, 0, 0, at.token, kernel);
        lse = lse ? Union(*lse, want.lse) : Admissible(want.lse);
      }
      gpu.lse_fusion = 2;
      const RowAnswer usual = OracleRow(gpu, c, p, 0, 0, at.token);
      EXPECT_TRUE(SameNumber(got.lse.low, lse->low) && SameNumber(got.lse.high, lse->high))
          << choice;
      differs += want.lse != usual.lse;
      for (size_t d = 0; d < want.o.size(); ++d) {
        EXPECT_TRUE(got.o[d].IsPinned() && SameNumber(got.o[d].low, want.o[d]))
            << choice << " " << d;
        differs += !SameNumber(want.o[d], usual.o[d]);
      }
    });
    EXPECT_GT(differs, 0) << choice;
  }
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

// With tables that are far from the correctly rounded value.
TEST(TablesTest, DecideWhereTheyKnow) {
  const Case c{"tables", kSM80, kF16, {1, 150, 150, 1, 1, 64}, kCausal};
  const OwnedProblem owned = ProblemOf(c);
  const uint32_t first = std::bit_cast<uint32_t>(-4.0f), one = std::bit_cast<uint32_t>(1.0f);
  std::vector<float> powers(1u << 20), reciprocals(1u << 23);
  for (uint32_t n = 0; n < powers.size(); ++n) {
    powers[n] = number::Exp2(std::bit_cast<float>(first + n)) * (1 + 0x1p-9f * (n % 5));
  }
  for (uint32_t n = 0; n < reciprocals.size(); ++n) {
    reciprocals[n] = (1 + 0x1p-9f * (n % 5)) / std::bit_cast<float>(one + n);
  }
  SpecialFunctions functions;
  functions.exp2 = {first, powers};
  functions.reciprocal = {one, reciprocals};
  int known = 0;
  Gpu gpu = RandomGpu(6, false, false);
  const auto without = gpu.ex2;
  gpu.ex2 = [&](float x) {
    const uint32_t at = std::bit_cast<uint32_t>(x) - first;
    known += at < powers.size();
    return at < powers.size() ? powers[at] : without(x);
  };
  gpu.rcp = [&](float x) {
    const int exponent = std::ilogb(x);
    const float mantissa = std::ldexp(x, -exponent);
    return std::ldexp(reciprocals[std::bit_cast<uint32_t>(mantissa) - one], -exponent);
  };
  const AttentionProblem& p = owned.problem;
  const Schedule& schedule = *FindSchedule(kSM80);
  ForRows(SequencesOf(p, schedule), c, [&](const RowPlace& at) {
    const ScheduledRow got = AnswerOf(p, schedule, functions, at.sequence, 0, at.n);
    const RowAnswer want = OracleRow(gpu, c, p, 0, 0, at.token);
    EXPECT_TRUE(got.lse.Contains(want.lse));
    for (size_t d = 0; d < want.o.size(); ++d) EXPECT_TRUE(got.o[d].Contains(want.o[d])) << d;
  });
  EXPECT_GT(known, 20);
}

}  // namespace
