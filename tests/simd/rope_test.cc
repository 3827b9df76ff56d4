// The engine's RoPE against the definition, and both inside the contract's set.
#include "simd/rope.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <utility>

#include "lib/exact/rope_interval.h"
#include "lib/scalar/rope.h"
#include "simd/targets.h"
#include "tests/support/random_problem.h"
#include "tests/support/rope_config.h"

namespace bitanchor {
namespace {

using testing::MakeRopeConfig;
using testing::Values;

struct Input {
  std::vector<std::byte> bytes;
  TensorView view;
  std::vector<int64_t> positions;
};

Input MakeInput(DType dtype, const Shape4& shape, Values values, uint64_t seed) {
  Input input;
  std::mt19937_64 random(seed);
  testing::Fill(input.bytes, input.view, dtype, shape, values, random);
  for (int64_t n = 0; n < shape[0] * shape[1]; ++n) {
    const int64_t known[] = {0, 1, 8188, 8191, 15962, 65536, 131071, (1 << 24) + 1, INT32_MAX};
    input.positions.push_back(n % 3 == 0 ? known[n / 3 % 9]
                                         : static_cast<int64_t>(random() % 200000));
  }
  return input;
}

TEST(Rope, EngineEqualsDefinitionAndBothAreInTheSet) {
  int64_t pinned = 0, elements = 0;
  for (const RopeRecipe& recipe : RopeRecipes()) {
    for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
      for (const RopeType type : {RopeType::kDefault, RopeType::kLinear, RopeType::kLlama3,
                                  RopeType::kDynamic, RopeType::kYarn, RopeType::kLongrope}) {
        if (!TakesRopeType(recipe, type)) continue;
        for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
          const Values values =
              pairing == RopePairing::kHalf ? Values::kNormal : Values::kSubnormal;
          const Shape4 shape = {2, 13, 2, 40};
          const Input input = MakeInput(dtype, shape, values, 17);
          const RopeConfig config =
              MakeRopeConfig(recipe, type, pairing, type == RopeType::kLinear ? 34 : 40);
          std::vector<std::byte> want(input.bytes.size());
          scalar::ApplyRope(config, recipe, input.view, input.positions,
                            DenseView<std::byte>(dtype, want.data(), shape));
          for (const simd::Target& target : simd::Targets()) {
            simd::EngineOptions options;
            options.target = target.bit;
            std::vector<std::byte> got(want.size());
            simd::ApplyRope(config, recipe, input.view, input.positions, options,
                            DenseView<std::byte>(dtype, got.data(), shape));
            EXPECT_TRUE(got == want)
                << recipe.name << " " << DTypeName(dtype) << " " << target.name;
          }
          const exact::RopeIntervals intervals(config, recipe, dtype, 2);
          const TensorView answer = DenseView<const std::byte>(dtype, want.data(), shape);
          std::vector<Interval> token;
          for (int64_t s = 0; s < shape[1]; ++s) {
            intervals.Token(input.view, 1, s, input.positions[shape[1] + s], token);
            for (int64_t e = 0; e < shape[2] * shape[3]; ++e) {
              const float got = answer.At(1, s, e / shape[3], e % shape[3]);
              if (std::isnan(got)) {  // positions beyond f16: an infinite angle
                EXPECT_TRUE(dtype == DType::kF16 && recipe.angle == StageFormat::kModel);
                EXPECT_TRUE(std::isnan(token[e].low));
                continue;
              }
              EXPECT_EQ(got, static_cast<float>(token[e].want));
              EXPECT_TRUE(token[e].low <= got && got <= token[e].high);
              pinned += dtype == DType::kBF16 && token[e].low == token[e].high;
              elements += dtype == DType::kBF16;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(pinned,
            elements * 95 / 100);  // in bf16 nearly every element has one admissible pattern
}

// One call in every way the engine can be asked for it, against the definition. Bytes around and
// between the output's rows must stay as they were.
struct Case {
  std::string what;  // for messages
  RopeConfig config;
  const RopeRecipe* recipe;
  DType dtype;
  Shape4 shape;
  Layout layout = Layout::kBSHD;
  size_t offset_bytes = 0;  // of the tensors from an aligned address
  std::vector<std::byte> bytes;
  std::vector<int64_t> positions;
  bool in_place = false;
};

int64_t finite_results = 0, all_results = 0;

void ExpectDefinition(const Case& c, int threads = 1) {
  const size_t size =
      DTypeBytes(c.dtype) * static_cast<size_t>(c.shape[0] * c.shape[1] * c.shape[2] * c.shape[3]);
  ASSERT_EQ(c.bytes.size(), size);
  const TensorView in = DenseView<const std::byte>(c.dtype, c.bytes.data(), c.shape, c.layout);
  std::vector<std::byte> want(size);
  const MutableTensorView want_view = DenseView(c.dtype, want.data(), c.shape, c.layout);
  scalar::ApplyRope(c.config, *c.recipe, in, c.positions, want_view);
  for (size_t at = 0; at < size; at += DTypeBytes(c.dtype)) {
    finite_results += std::isfinite(LoadF32(c.dtype, &want[at]));
    ++all_results;
  }
  ASSERT_FALSE(simd::Targets().empty());
  for (const simd::Target& target : simd::Targets()) {
    simd::EngineOptions options;
    options.target = target.bit;
    options.threads = threads;
    constexpr std::byte kGuard{0xA5};
    std::vector<std::byte> input(size + 256), output(size + 256, kGuard);
    std::byte* const from = input.data() + 64 + c.offset_bytes;
    std::memcpy(from, c.bytes.data(), size);
    std::byte* const to = c.in_place ? from : output.data() + 64 + c.offset_bytes;
    simd::ApplyRope(c.config, *c.recipe,
                    DenseView<const std::byte>(c.dtype, from, c.shape, c.layout), c.positions,
                    options, DenseView(c.dtype, to, c.shape, c.layout));
    if (std::memcmp(to, want.data(), size) != 0) {
      size_t at = 0;
      while (to[at] == want[at]) ++at;
      at -= at % DTypeBytes(c.dtype);
      ADD_FAILURE() << c.what << " " << c.recipe->name << " " << DTypeName(c.dtype) << " "
                    << Name(c.config.pairing) << " R " << c.config.rotary_dim << " D " << c.shape[3]
                    << " " << target.name << " element " << at / DTypeBytes(c.dtype)
                    << std::hexfloat << ": in " << LoadF32(c.dtype, &c.bytes[at]) << ", got "
                    << LoadF32(c.dtype, to + at) << ", want " << LoadF32(c.dtype, &want[at]);
    }
    if (c.in_place) continue;
    for (size_t n = 0; n < 64 + c.offset_bytes; ++n) EXPECT_EQ(output[n], kGuard);
    for (size_t n = 64 + c.offset_bytes + size; n < output.size(); ++n)
      EXPECT_EQ(output[n], kGuard);
  }
}

constexpr Values kAllValues[] = {Values::kNormal, Values::kWide, Values::kSubnormal,
                                 Values::kInteger};

// Ordinary values with, one in `rare`, an arbitrary bit pattern: NaN, infinities, the largest, the
// least. Rare enough that most vectors hold none and some hold one.
std::vector<std::byte> MixedBytes(DType dtype, const Shape4& shape, Values values, int rare,
                                  std::mt19937_64& random) {
  std::vector<std::byte> bytes;
  TensorView view;
  testing::Fill(bytes, view, dtype, shape, values, random);
  const size_t size = DTypeBytes(dtype);
  constexpr uint16_t kSpecial[] = {0x7FC0, 0xFFFF, 0x7F80, 0xFF80, 0x7F7F, 0xFF7F, 0x7C00,
                                   0xFC00, 0x7BFF, 0x7F81, 0x0001, 0x8001, 0x0080, 0x8000,
                                   0x0000, 0x007F, 0x1FFF, 0x2000, 0x5FFF, 0x6000};
  for (size_t at = 0; at < bytes.size(); at += size) {
    if (random() % rare != 0) continue;
    const uint64_t pick = random();
    uint32_t bits = static_cast<uint32_t>(pick >> 32);
    if (pick % 2 == 0) bits = uint32_t{kSpecial[pick / 2 % 20]} << (size == 4 ? 16 : 0);
    std::memcpy(&bytes[at], &bits, size);
  }
  return bytes;
}

std::vector<int64_t> MixedPositions(int64_t tokens, std::mt19937_64& random) {
  std::vector<int64_t> positions(tokens);
  for (int64_t& p : positions) {
    p = random() % 4 == 0 ? static_cast<int64_t>(random() % 3)
                          : static_cast<int64_t>(random() >> (33 + random() % 31));
  }
  return positions;
}

TEST(Rope, EveryDTypeRecipePairingWidthAndLayout) {
  std::mt19937_64 random(5);
  finite_results = all_results = 0;
  int64_t n = 0;
  for (const RopeRecipe& recipe : RopeRecipes()) {
    for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
      for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
        for (const auto& [R, D] : {std::pair<int64_t, int64_t>{2, 2},
                                   {2, 3},
                                   {6, 8},
                                   {16, 33},
                                   {30, 64},
                                   {34, 40},
                                   {62, 62},
                                   {64, 64},
                                   {66, 100},
                                   {64, 128},
                                   {96, 96},
                                   {128, 128},
                                   {130, 160},
                                   {256, 256}}) {
          Case c;
          c.what = "mixed";
          c.config = MakeRopeConfig(recipe, RopeType::kDefault, pairing, R);
          c.recipe = &recipe;
          c.dtype = dtype;
          c.shape = {2, 5, 3, D};
          c.layout = n % 2 == 0 ? Layout::kBSHD : Layout::kBHSD;
          c.offset_bytes = static_cast<size_t>(n % 3);  // odd addresses too
          c.in_place = n % 5 == 0;
          c.bytes = MixedBytes(dtype, c.shape, kAllValues[n % 4], n % 7 < 4 ? 50 : 1 << 30, random);
          c.positions = MixedPositions(10, random);
          if (n % 2 == 0) {  // the same positions in both batches: tables are shared
            for (int64_t s = 0; s < 5; ++s) c.positions[5 + s] = c.positions[s];
          }
          ExpectDefinition(c, 1 + static_cast<int>(n % 3));
          ++n;
        }
      }
    }
  }
  EXPECT_GT(finite_results, all_results * 7 / 10);
}

// Recipes that nobody has: every format at every stage that may have it.
TEST(Rope, EveryFormatAtEveryStage) {
  std::mt19937_64 random(8);
  constexpr StageFormat kFormats[] = {StageFormat::kModel, StageFormat::kF32, StageFormat::kTF32,
                                      StageFormat::kBF16, StageFormat::kF16};
  constexpr AngleRule kRules[] = {AngleRule::kProduct, AngleRule::kDivision, AngleRule::kIterated};
  const Shape4 shape = {1, 9, 1, 40};
  int64_t n = 0;
  finite_results = all_results = 0;
  for (const StageFormat operands : kFormats) {
    for (const StageFormat angle : kFormats) {
      for (const StageFormat table : kFormats) {
        for (const AngleRule rule : kRules) {
          RopeRecipe recipe = *FindRopeRecipe("meta-llama");
          recipe.name = "synthetic";
          recipe.rule = rule;
          recipe.operands = operands;
          recipe.angle = angle;
          recipe.table = table;
          if (table == StageFormat::kModel) recipe.apply = RopeApply::kThreeRoundings;
          for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
            Case c;
            c.what = fmt::format("rule {} formats {} {} {}", static_cast<int>(rule),
                                 static_cast<int>(operands), static_cast<int>(angle),
                                 static_cast<int>(table));
            c.config = MakeRopeConfig(recipe, RopeType::kDefault, recipe.pairing, 34);
            c.recipe = &recipe;
            c.dtype = dtype;
            c.shape = shape;
            c.bytes = MixedBytes(dtype, shape, kAllValues[n++ % 4], 1 << 30, random);
            c.positions = MixedPositions(9, random);
            if (n % 3 == 0 && TakesInverseFrequencies(recipe)) {
              // Angles below f32's normal numbers, seen where x1 is zero: y1 = -x2 angle.
              for (int64_t i = 0; i < 17; ++i) {
                const float significand = 1 + static_cast<float>(random() % 4096) / 4096;
                c.config.inv_freq.push_back(
                    std::ldexp(significand, -120 - static_cast<int>(random() % 29)));
              }
              for (size_t at = 0; at < c.bytes.size(); at += 2 * DTypeBytes(dtype)) {
                StoreRounded(dtype, &c.bytes[at], 0.0f);
              }
            }
            ExpectDefinition(c);
          }
        }
      }
    }
  }
  EXPECT_GT(finite_results, all_results / 2);
}

// Tables and inverse frequencies that no model has.
TEST(Rope, GivenTablesAndFrequencies) {
  std::mt19937_64 random(6);
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const float odd[] = {0.0f,     -0.0f,    kInf,     -kInf,    std::nanf(""), 1e-40f, -1e-45f,
                       3e38f,    1.0f,     0x1p-32f, 0x1p-33f, 16.0f,         15.99f, 1e-30f,
                       65504.0f, 65520.0f, 0x1p31f,  0x1p-24f, 0x1p-26f,      7.0f};
  const int64_t R = 66, half = R / 2, P = 40;
  for (const RopeRecipe& recipe : RopeRecipes()) {
    for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
      for (const bool tables : {false, true}) {
        if (!tables && !TakesInverseFrequencies(recipe)) continue;
        for (const Values values : kAllValues) {
          for (const int rare :
               {1, 20, 1 << 30}) {  // how often one of `odd` stands in for a number
            Case c;
            c.what = tables ? "tables" : "frequencies";
            c.recipe = &recipe;
            c.config =
                MakeRopeConfig(recipe, RopeType::kDefault,
                               rare == 20 ? RopePairing::kInterleaved : RopePairing::kHalf, R);
            c.dtype = dtype;
            c.shape = {1, P, 2, 70};
            const auto pick = [&](float usual) {
              return random() % rare == 0 ? odd[random() % 20] : usual;
            };
            if (tables) {
              for (int64_t n = 0; n < P * half; ++n) {
                const float angle = static_cast<float>(random() % 10000) / 100;
                c.config.cos.push_back(pick(std::cos(angle)));
                c.config.sin.push_back(pick(std::sin(angle)));
              }
            } else {
              for (int64_t i = 0; i < half; ++i)
                c.config.inv_freq.push_back(pick(std::exp2(-static_cast<float>(i) / 3)));
            }
            for (int64_t s = 0; s < P; ++s) c.positions.push_back(tables ? P - 1 - s : s * s * s);
            c.bytes = MixedBytes(dtype, c.shape, values, 100, random);
            ExpectDefinition(c);
          }
        }
      }
    }
  }
}

// bf16, "3R": every product of two significands, and so every way in which one is rounded. With
// x2 = 2^-60 the second product is too small to count.
TEST(Rope, EveryProductOfBF16Significands) {
  for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
    Case c;
    c.what = "products";
    c.recipe = FindRopeRecipe("hf-llama");
    c.config = MakeRopeConfig(*c.recipe, RopeType::kDefault, pairing, 256);
    c.dtype = DType::kBF16;
    c.shape = {1, 128, 1, 256};
    for (uint32_t s = 0; s < 128; ++s) {  // position s: cos has significand s, x1 has all of them
      c.positions.push_back(s);
      const size_t row = c.bytes.size();
      c.bytes.resize(row + 512);
      for (uint32_t i = 0; i < 128; ++i) {
        c.config.cos.push_back(ToF32(BF16{static_cast<uint16_t>(0x3F80 | s)}));
        c.config.sin.push_back(i % 2 == 0 ? 0x1p-32f : -0x1p-32f);
        const uint16_t x1 = static_cast<uint16_t>(0x3F80 | i | (s % 2 == 0 ? 0 : 0x8000));
        const uint16_t x2 = 0x2180;  // 2^-60
        const bool half = pairing == RopePairing::kHalf;
        std::memcpy(&c.bytes[row + 2 * (half ? i : 2 * i)], &x1, 2);
        std::memcpy(&c.bytes[row + 2 * (half ? i + 128 : 2 * i + 1)], &x2, 2);
      }
    }
    ExpectDefinition(c);
  }
}

// bf16, "1R": x1 = 1 and a small x2 make the f32 sum cos itself: every significand of a sum is
// rounded.
TEST(Rope, EverySignificandOfASum) {
  constexpr int64_t kTokens = 4096;
  Case c;
  c.what = "sums";
  c.recipe = FindRopeRecipe("transformer-engine");
  c.config = MakeRopeConfig(*c.recipe, RopeType::kDefault, RopePairing::kHalf, 256);
  c.dtype = DType::kBF16;
  c.shape = {1, kTokens, 1, 256};
  c.config.cos.resize(kTokens * 128);
  c.config.sin.assign(kTokens * 128, 0x1p-32f);
  for (int64_t s = 0; s < kTokens; ++s) {
    c.positions.push_back(s);
    for (int64_t i = 0; i < 256; ++i) {
      const uint16_t x = i < 128 ? (s % 2 == 0 ? 0x3F80 : 0xBF80) : 0x2180;
      const size_t at = c.bytes.size();
      c.bytes.resize(at + 2);
      std::memcpy(&c.bytes[at], &x, 2);
    }
  }
  for (uint32_t begin = 0; begin < 1 << 23; begin += kTokens * 128) {
    for (uint32_t n = 0; n < kTokens * 128; ++n)
      c.config.cos[n] = std::bit_cast<float>(0x3F800000u + begin + n);
    ExpectDefinition(c);
  }
}

// Large enough that results go past the caches; several threads.
TEST(Rope, StreamedResults) {
  std::mt19937_64 random(7);
  for (const DType dtype : {DType::kBF16, DType::kF32}) {
    for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
      const RopeRecipe& recipe = *FindRopeRecipe("hf-llama");
      const RopeConfig config = MakeRopeConfig(recipe, RopeType::kDefault, pairing, 128);
      const Shape4 shape = {1, dtype == DType::kBF16 ? 2049 : 1025, 32, 128};
      std::vector<std::byte> bytes =
          MixedBytes(dtype, {1, 16, 32, 128}, Values::kNormal, 300, random);
      const size_t size = DTypeBytes(dtype) * static_cast<size_t>(shape[1] * 32 * 128);
      while (bytes.size() < size)
        bytes.insert(bytes.end(), bytes.begin(),
                     bytes.begin() + std::min(bytes.size(), size - bytes.size()));
      const TensorView in = DenseView<const std::byte>(dtype, bytes.data(), shape);
      const std::vector<int64_t> positions = MixedPositions(shape[1], random);
      std::vector<std::byte> want(size), got(size + 64);
      scalar::ApplyRope(config, recipe, in, positions, DenseView(dtype, want.data(), shape));
      std::byte* const aligned =
          got.data() + (64 - reinterpret_cast<uintptr_t>(got.data()) % 64) % 64;
      for (const simd::Target& target : simd::Targets()) {
        simd::EngineOptions options;
        options.target = target.bit;
        options.threads = 2;
        std::fill(got.begin(), got.end(), std::byte{0});
        simd::ApplyRope(config, recipe, in, positions, options, DenseView(dtype, aligned, shape));
        EXPECT_EQ(std::memcmp(aligned, want.data(), size), 0) << DTypeName(dtype) << target.name;
      }
    }
  }
}

// Backward is forward with tables whose sines have the other sign, which is how given tables can
// ask for it; and it takes the same stages on every target, computed tables included.
TEST(Rope, BackwardIsTheRotationBack) {
  for (const RopeRecipe& recipe : RopeRecipes()) {
    for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
      const Shape4 shape = {2, 21, 3, 72};
      const Input input = MakeInput(dtype, shape, Values::kNormal, 5);
      const RopeConfig computed = MakeRopeConfig(recipe, RopeType::kDefault, recipe.pairing, 64);
      RopeConfig given = computed, turned;
      std::vector<int64_t> positions(input.positions.size());
      for (size_t n = 0; n < positions.size(); ++n) positions[n] = static_cast<int64_t>(n * 5 % 47);
      for (int64_t n = 0; n < 47 * 32; ++n) {
        given.cos.push_back(std::cos(static_cast<float>(n)));
        given.sin.push_back(std::sin(static_cast<float>(n)));
      }
      turned = given;
      for (float& s : turned.sin) s = -s;
      std::vector<std::byte> forward(input.bytes.size()), want(forward), want_computed(forward);
      scalar::ApplyRope(turned, recipe, input.view, positions,
                        DenseView(dtype, forward.data(), shape));
      scalar::ApplyRope(given, recipe, input.view, positions, DenseView(dtype, want.data(), shape),
                        RopeDirection::kBackward);
      EXPECT_TRUE(forward == want) << recipe.name;
      scalar::ApplyRope(computed, recipe, input.view, input.positions,
                        DenseView(dtype, want_computed.data(), shape), RopeDirection::kBackward);
      for (const simd::Target& target : simd::Targets()) {
        simd::EngineOptions options;
        options.target = target.bit;
        std::vector<std::byte> got(input.bytes.size());
        simd::ApplyRope(given, recipe, input.view, positions, options,
                        DenseView(dtype, got.data(), shape), RopeDirection::kBackward);
        EXPECT_TRUE(got == want) << recipe.name << " " << target.name;
        simd::ApplyRope(computed, recipe, input.view, input.positions, options,
                        DenseView(dtype, got.data(), shape), RopeDirection::kBackward);
        EXPECT_TRUE(got == want_computed) << recipe.name << " " << target.name;
      }
    }
  }
}

// A libm an ulp or two off stays inside; the other pairing and a bf16 angle do not.
TEST(Rope, TheSetHoldsOtherLibmsAndRefusesFaults) {
  const RopeRecipe& recipe = *FindRopeRecipe("meta-llama");
  const Shape4 shape = {1, 30, 1, 64};
  const Input input = MakeInput(DType::kBF16, shape, Values::kNormal, 3);
  RopeConfig config = MakeRopeConfig(recipe, RopeType::kDefault, RopePairing::kInterleaved, 64);
  const exact::RopeIntervals intervals(config, recipe, DType::kBF16, 2);
  const std::vector<float> inv_freq = InverseFrequencies(config, recipe);
  int64_t outside_other_pairing = 0;
  std::vector<Interval> token;
  for (int64_t s = 0; s < 30; ++s) {
    const int64_t position = input.positions[s];
    intervals.Token(input.view, 0, s, position, token);
    for (int64_t i = 0; i < 32; ++i) {
      const float angle = static_cast<float>(position) * inv_freq[i];
      float c = static_cast<float>(std::cos(static_cast<double>(angle)));
      float n = static_cast<float>(std::sin(static_cast<double>(angle)));
      for (int step = 0; step < (s + i) % 3; ++step) {
        c = std::nextafter(c, i % 2 == 0 ? 2.0f : -2.0f);
        n = std::nextafter(n, i % 4 < 2 ? 2.0f : -2.0f);
      }
      const float x1 = input.view.At(0, s, 0, 2 * i), x2 = input.view.At(0, s, 0, 2 * i + 1);
      const float y1 =
          ToF32(ToBF16(s % 2 == 0 ? std::fma(x1, c, -(x2 * n)) : std::fma(-x2, n, x1 * c)));
      const float y2 = ToF32(ToBF16(s % 2 == 0 ? std::fma(x2, c, x1 * n) : x2 * c + x1 * n));
      EXPECT_TRUE(token[2 * i].low <= y1 && y1 <= token[2 * i].high);
      EXPECT_TRUE(token[2 * i + 1].low <= y2 && y2 <= token[2 * i + 1].high);
    }
    config.pairing = RopePairing::kHalf;
    std::vector<Interval> other;
    exact::RopeIntervals(config, recipe, DType::kBF16, 2).Token(input.view, 0, s, position, other);
    config.pairing = RopePairing::kInterleaved;
    for (int64_t d = 0; d < 64; ++d) {
      outside_other_pairing += other[d].want < token[d].low || other[d].want > token[d].high;
    }
  }
  EXPECT_GT(outside_other_pairing, 1000);
}

}  // namespace
}  // namespace bitanchor
