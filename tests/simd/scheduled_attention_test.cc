// The engine of schedules gives the definition's sets, to the bit, on every target.
#include "simd/scheduled_attention.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "lib/replay/scheduled_attention.h"
#include "lib/replay/sequences.h"
#include "lib/tensor/error.h"
#include "simd/replay_plan.h"
#include "tests/support/every_engine.h"
#include "tests/support/random_problem.h"

namespace bitanchor {
namespace {

using simd::ScheduledAnswer;
using testing::OwnedProblem;
using testing::Values;

ScheduledAnswer ByDefinition(const AttentionProblem& problem, const Schedule& schedule,
                             const replay::SpecialFunctions& functions) {
  const AttentionShape& shape = problem.shape;
  const size_t rows = static_cast<size_t>(shape.B * shape.Sq * shape.Hq);
  const size_t D = static_cast<size_t>(shape.D);
  ScheduledAnswer answer{std::vector<uint16_t>(rows * D, 0x1234),
                         std::vector<uint16_t>(rows * D, 0x1234), std::vector<float>(rows, -7),
                         std::vector<float>(rows, -7)};
  const auto store = [&](std::vector<uint16_t>& to, size_t at, float value) {
    StoreRounded(problem.dtype, reinterpret_cast<std::byte*>(&to[at]), value);
  };
  for (const replay::Sequence& sequence : replay::SequencesOf(problem, schedule)) {
    for (size_t n = 0; n < sequence.queries.size(); ++n) {
      if (!sequence.answers[n]) continue;
      for (int64_t h = 0; h < shape.Hq; ++h) {
        const replay::ScheduledRow row =
            AnswerOf(problem, schedule, functions, sequence, h, static_cast<int64_t>(n));
        const int64_t token = sequence.b * shape.Sq + sequence.queries[n];
        const size_t at = static_cast<size_t>(token * shape.Hq + h) * D;
        for (size_t d = 0; d < D; ++d) {
          store(answer.o_low, at + d, row.o[d].low);
          store(answer.o_high, at + d, row.o[d].high);
        }
        const size_t lse =
            static_cast<size_t>((sequence.b * shape.Hq + h) * shape.Sq + sequence.queries[n]);
        answer.lse_low[lse] = Canonical(row.lse.low);
        answer.lse_high[lse] = Canonical(row.lse.high);
      }
    }
  }
  return answer;
}

// How many numbers were compared, and how many of them were pinned, how many finite.
struct Compared {
  int64_t all = 0, pinned = 0, finite = 0, lse = 0, lse_finite = 0;
};

void Count(DType dtype, const ScheduledAnswer& answer, Compared& compared) {
  for (size_t n = 0; n < answer.o_low.size(); ++n) {
    const uint16_t bits = answer.o_low[n];
    ++compared.all;
    compared.pinned += bits == answer.o_high[n];
    compared.finite += std::isfinite(dtype == DType::kBF16 ? ToF32(BF16{bits}) : ToF32(F16{bits}));
  }
  for (const float lse : answer.lse_low) {
    ++compared.lse;
    compared.lse_finite += std::isfinite(lse);
  }
}

void ExpectSame(const ScheduledAnswer& got, const ScheduledAnswer& want, const std::string& what) {
  ASSERT_EQ(got.o_low.size(), want.o_low.size());
  ASSERT_EQ(got.lse_low.size(), want.lse_low.size());
  for (size_t n = 0; n < want.o_low.size(); ++n) {
    ASSERT_EQ(got.o_low[n], want.o_low[n]) << what << ", o low at " << n;
    ASSERT_EQ(got.o_high[n], want.o_high[n]) << what << ", o high at " << n;
  }
  const auto bits = [](float x) { return std::bit_cast<uint32_t>(x); };
  for (size_t n = 0; n < want.lse_low.size(); ++n) {
    ASSERT_EQ(bits(got.lse_low[n]), bits(want.lse_low[n])) << what << ", lse low at " << n;
    ASSERT_EQ(bits(got.lse_high[n]), bits(want.lse_high[n])) << what << ", lse high at " << n;
  }
}

// On one thread of each target; counts into `compared`.
void ExpectOfEveryTarget(const AttentionProblem& problem, const Schedule& schedule,
                         const replay::SpecialFunctions& functions, const std::string& what,
                         Compared& compared) {
  const ScheduledAnswer want = ByDefinition(problem, schedule, functions);
  for (const simd::Target& target : simd::Targets()) {
    simd::EngineOptions options;
    options.target = target.bit;
    options.threads = 1;
    ExpectSame(ScheduledAttention(problem, schedule, functions, options), want,
               target.name + " " + what);
    if (::testing::Test::HasFatalFailure()) return;
  }
  Count(problem.dtype, want, compared);
}

// A schedule with one tile for both masks; every other field as the first schedule has it.
class Variant {
 public:
  Variant(const std::string& unit, int64_t head_dim, const Tile& tile)
      : tiles_{{head_dim, tile, tile}}, schedule_(Schedules()[0]) {
    schedule_.unit = unit;
    schedule_.tiles = tiles_;
  }
  Variant(const Variant&) = delete;
  Variant& operator=(const Variant&) = delete;
  Schedule& operator*() { return schedule_; }
  std::string Name() const {
    return schedule_.unit + " tile " + std::to_string(tiles_[0].full.queries) + "x" +
           std::to_string(tiles_[0].full.keys) + " order " +
           std::to_string(static_cast<int>(schedule_.order)) + " argument " +
           std::to_string(static_cast<int>(schedule_.exp_argument)) + " sum " +
           std::to_string(static_cast<int>(schedule_.row_sum)) + " fused " +
           std::to_string(schedule_.fused_row_sum) + " normalisation " +
           std::to_string(static_cast<int>(schedule_.normalisation));
  }

 private:
  HeadDimTiles tiles_[1];
  Schedule schedule_;
};

replay::SpecialFunctions WithinUlp(int ulp) {
  replay::SpecialFunctions functions;
  functions.ulp = ulp;
  return functions;
}

constexpr MaskSpec kFull{.rule = MaskRule::kFull, .causal = false};
constexpr MaskSpec kCausal{.corner = Corner::kBottomRight};
constexpr MaskSpec kDocument{.rule = MaskRule::kDocument};
constexpr MaskSpec kFullDocument{.rule = MaskRule::kDocument, .causal = false};
constexpr MaskSpec kAnchor{.rule = MaskRule::kAnchor};

TEST(ScheduledAttention, SchedulesMasksAndShapes) {
  struct Case {
    AttentionShape shape;
    MaskSpec mask;
  };
  const Case kCases[] = {
      {{1, 150, 150, 2, 1, 128}, kCausal},      {{2, 131, 131, 1, 1, 64}, kFull},
      {{1, 40, 170, 4, 2, 64}, kCausal},        {{1, 140, 75, 1, 1, 128}, kCausal},
      {{1, 3, 200, 2, 2, 128}, kFull},          {{2, 120, 120, 1, 1, 64}, kDocument},
      {{1, 150, 150, 2, 1, 64}, kFullDocument}, {{1, 160, 160, 1, 1, 128}, kAnchor},
      {{1, 1, 90, 2, 1, 64}, kCausal},          {{1, 128, 128, 1, 1, 64}, kCausal},
  };
  Compared compared;
  uint64_t seed = 1;
  for (const Schedule& schedule : Schedules()) {
    for (const Case& one : kCases) {
      if (schedule.name == "flash-attention-2/sm8x" && one.shape.D == 64) continue;  // as sm80
      const DType dtype = ++seed % 2 == 0 ? DType::kBF16 : DType::kF16;
      const OwnedProblem owned =
          testing::MakeProblem(one.shape, dtype, one.mask, Values::kNormal, seed);
      ExpectOfEveryTarget(owned.problem, schedule, WithinUlp(2),
                          schedule.name + " seed " + std::to_string(seed), compared);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(compared.pinned, compared.all / 2);
  EXPECT_LT(compared.pinned, compared.all);
  EXPECT_LT(compared.lse_finite, compared.lse);  // 140 queries on 75 keys
}

TEST(ScheduledAttention, EveryVariant) {
  Compared compared;
  for (int n = 0; n < 48; ++n) {
    const bool half = n % 5 < 2;
    Variant variant(half ? "turing" : "hopper", 64, {32, 32});
    (*variant).order = n % 2 == 0 ? TileOrder::kLastFirst : TileOrder::kFirstFirst;
    (*variant).row_sum = n / 2 % 2 == 0 ? RowSum::kQuads : RowSum::kAscending;
    (*variant).fused_row_sum = n / 4 % 2 == 0;
    (*variant).normalisation =
        n / 8 % 2 == 0 ? Normalisation::kReciprocal : Normalisation::kDivision;
    (*variant).exp_argument = static_cast<ExpArgument>(n / 16);
    const OwnedProblem owned =
        testing::MakeProblem({1, 70, 70, 1, 1, 64}, half ? DType::kF16 : DType::kBF16,
                             n % 3 == 0 ? kFull : kCausal, Values::kNormal, 100 + n);
    ExpectOfEveryTarget(owned.problem, *variant, WithinUlp(n % 7 == 0 ? 0 : 2), variant.Name(),
                        compared);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(compared.pinned, compared.all / 2);
  EXPECT_LT(compared.pinned, compared.all);
}

TEST(ScheduledAttention, TilesAndUnits) {
  Compared compared;
  uint64_t seed = 200;
  for (const char* unit : {"volta", "turing", "ampere", "ada", "hopper", "hopper-wgmma"}) {
    for (const Tile& tile : {Tile{16, 256}, Tile{256, 32}, Tile{48, 176}, Tile{64, 96}}) {
      if (++seed % 3 == 0) continue;
      Variant variant(unit, 64, tile);
      const OwnedProblem owned =
          testing::MakeProblem({1, tile.queries == 256 ? 135 : 20, 270, 1, 1, 64}, DType::kF16,
                               seed % 5 < 2 ? kFull : kCausal, Values::kNormal, seed);
      ExpectOfEveryTarget(owned.problem, *variant, WithinUlp(2), variant.Name(), compared);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_LT(compared.pinned, compared.all);
  // Head dimensions of more than one panel; tiles that the loops do not know are the definition's.
  for (const Tile& tile : {Tile{64, 64}, Tile{64, 36}}) {
    Variant variant("ampere", 192, tile);
    const OwnedProblem owned =
        testing::MakeProblem({1, 17, 70, 1, 1, 192}, DType::kBF16, kCausal, Values::kNormal, 7);
    ExpectOfEveryTarget(owned.problem, *variant, WithinUlp(2), variant.Name(), compared);
  }
}

// What is drawn, times a factor for q and k; here and there another number.
struct Hostile {
  Values values;
  float factor;
  float other;
  int every;        // 0: nowhere
  float scale = 0;  // 0: as usual
};

void Spoil(OwnedProblem& owned, const Hostile& hostile, uint64_t seed) {
  std::mt19937_64 random(seed);
  const DType dtype = owned.problem.dtype;
  const auto change = [&](std::vector<std::byte>& bytes, float factor) {
    for (size_t n = 0; n < bytes.size(); n += 2) {
      float x = LoadF32(dtype, &bytes[n]) * factor;
      if (hostile.every != 0 && random() % static_cast<uint64_t>(hostile.every) == 0) {
        x = hostile.other;
      }
      StoreRounded(dtype, &bytes[n], x);
    }
  };
  change(owned.q, hostile.factor);
  change(owned.k, hostile.factor);
  change(owned.v, 1);
}

TEST(ScheduledAttention, HostileNumbers) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Hostile kHostile[] = {
      {Values::kNormal, 100, 0, 0},            // one key has all the weight
      {Values::kNormal, 8, 0, 0},              // some weights vanish
      {Values::kNormal, 3e15f, 0, 0},          // RN(M c) is far from M c; f16: infinities
      {Values::kNormal, 1000, 0, 0, 300},      // the same by about 2^7: any power, some infinite
      {Values::kNormal, 800, 0, 7, 900},       //
      {Values::kPositive, 500, 0, 3, 2000},    //
      {Values::kInteger, 900, 0, 3, 500},      //
      {Values::kNormal, 3e18f, 1e-30f, 3},     // scores overflow
      {Values::kNormal, 1e-19f, 0, 5},         // scores about 2^-126; f16: zeros
      {Values::kNormal, 2e-20f, 0, 0, 1e38f},  // sums of products below 2^-126
      {Values::kWide, 1, 0, 0},                //
      {Values::kWide, 3e4f, -0.0f, 4},         //
      {Values::kSubnormal, 1, 0, 0},           //
      {Values::kSubnormal, 1e6f, 1, 50},       //
      {Values::kInteger, 1, 0, 0},             // equal scores
      {Values::kInteger, 0, -0.0f, 2},         // zeros
      {Values::kNormal, 1, kInfinity, 700},    //
      {Values::kNormal, 1, -kInfinity, 90},    //
      {Values::kNormal, 1, std::nanf(""), 900},
      {Values::kPositive, 5, std::nanf(""), 40},
      // A few weights of a group in more than one way each.
      {Values::kNormal, 4, 0, 0},
      {Values::kNormal, 4, 0, 9},
      {Values::kPositive, 3, 0, 2},
  };
  Compared compared;
  uint64_t seed = 300;
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    for (const Hostile& hostile : kHostile) {
      constexpr int kOthers[] = {0, 3000, 40000};
      for (const int ulp : {2, kOthers[(seed / 2 + (dtype == DType::kF16)) % 3]}) {
        ++seed;
        Variant variant(seed % 3 == 0 ? "hopper" : "ampere", 64, {32, 32});
        (*variant).exp_argument = static_cast<ExpArgument>(seed % 5 % 3);
        (*variant).order = seed / 2 % 2 == 0 ? TileOrder::kLastFirst : TileOrder::kFirstFirst;
        OwnedProblem owned = testing::MakeProblem(
            {1, 15, 75, 1, 1, 64}, dtype, seed % 7 == 0 ? kFull : kCausal, hostile.values, seed);
        Spoil(owned, hostile, seed);
        owned.problem.softmax_scale *= seed % 11 == 0 ? 1e30f : seed % 13 == 0 ? 1e-36f : 1;
        ExpectOfEveryTarget(
            owned.problem, *variant, WithinUlp(ulp),
            variant.Name() + " ulp " + std::to_string(ulp) + " seed " + std::to_string(seed),
            compared);
        if (HasFatalFailure()) return;
      }
    }
  }
  EXPECT_GT(compared.finite, compared.all / 3);
  EXPECT_LT(compared.finite, compared.all);
  EXPECT_GT(compared.pinned, compared.all / 3);
  EXPECT_LT(compared.pinned, compared.all);
}

// What a GPU answered is taken as it is, where it is known.
TEST(ScheduledAttention, Tables) {
  std::vector<float> exp2(size_t{1} << 22), reciprocal(size_t{1} << 23);
  for (size_t n = 0; n < reciprocal.size(); ++n) {
    const float x = std::bit_cast<float>(0x3f800000u + static_cast<uint32_t>(n));
    reciprocal[n] = std::nextafter(1 / x, n % 3 == 0 ? 0.0f : n % 3 == 1 ? 1.0f : 1 / x);
  }
  replay::SpecialFunctions functions;
  functions.exp2.first = 0xbf800000u;  // from -1 to -2
  for (size_t n = 0; n < exp2.size(); ++n) {
    const float x = std::bit_cast<float>(functions.exp2.first + static_cast<uint32_t>(n));
    exp2[n] = static_cast<float>(std::exp2(static_cast<double>(x)) * (1 - 1e-7 * (n % 4)));
  }
  functions.exp2.values = exp2;
  Compared compared;
  for (const bool both : {false, true}) {
    if (both) functions.reciprocal.values = reciprocal;
    const OwnedProblem owned =
        testing::MakeProblem({1, 140, 140, 1, 1, 64}, DType::kF16, kCausal, Values::kNormal, 400);
    ExpectOfEveryTarget(owned.problem, Schedules()[0], functions, "tables", compared);
    if (HasFatalFailure()) return;
    // A GPU that answers something else, subnormal numbers and NaN among it.
    exp2.assign(exp2.size(), 1e-39f);
    exp2[5] = std::nanf("");
  }
  EXPECT_LT(compared.pinned, compared.all);
}

TEST(ScheduledAttention, ThreadsAndHeads) {
  const OwnedProblem owned =
      testing::MakeProblem({2, 150, 150, 4, 2, 64}, DType::kF16, kAnchor, Values::kNormal, 5);
  const ScheduledAnswer want = ByDefinition(owned.problem, Schedules()[0], WithinUlp(2));
  testing::ForEveryEngine([&](const simd::EngineOptions& options, const std::string& what) {
    ExpectSame(ScheduledAttention(owned.problem, Schedules()[0], WithinUlp(2), options), want,
               what);
  });
}

TEST(ScheduledAttention, RefusesWhatTheScheduleCannotHave) {
  MaskSpec window;
  window.window_keys = 7;
  const OwnedProblem owned =
      testing::MakeProblem({1, 9, 9, 1, 1, 64}, DType::kBF16, window, Values::kNormal, 1);
  EXPECT_THROW(simd::ScheduledAttention(owned.problem, Schedules()[0], {}, {}), InputError);
}

// The powers on lanes, of one f32 in 4093.
TEST(ReplayRows, PowersAreTheFunctionsSets) {
  for (const simd::Target& target : simd::Targets()) {
    const simd::ReplayKernels kernels = simd::ReplayKernelsOf(target.bit);
    int64_t checked = 0, open = 0;
    for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 16 * 4093) {
      alignas(64) float s[16], x[16], low[16], high[16];
      for (uint32_t i = 0; i < 16; ++i) {
        const float drawn = std::bit_cast<float>(static_cast<uint32_t>(bits) + i * 4093);
        s[i] = std::fabs(drawn) < 0x1p-126f ? 0 : drawn;
      }
      const int ulp = static_cast<int>(bits / 16 % 3);
      kernels.powers({ExpArgument::kScaled, 1, 0, 0, ulp}, s, 16, x, low, high);
      for (size_t i = 0; i < 16; ++i) {
        if (low[i] == simd::kOpenPower) {
          ++open;
          continue;
        }
        const replay::Admissible want = WithinUlp(ulp).Exp2(s[i]);
        ASSERT_EQ(std::bit_cast<uint32_t>(low[i]), std::bit_cast<uint32_t>(want.low))
            << target.name << " of " << s[i];
        ASSERT_EQ(std::bit_cast<uint32_t>(high[i]), std::bit_cast<uint32_t>(want.high))
            << target.name << " of " << s[i];
        ++checked;
      }
    }
    EXPECT_GT(checked, 1000000 * 3 / 4) << target.name;
    EXPECT_GT(open, 0) << target.name;
  }
}

}  // namespace
}  // namespace bitanchor
