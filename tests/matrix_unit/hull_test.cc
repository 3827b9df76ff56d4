// The hull of a group's answers against all of them: every c of an interval, every choice of a,
// every reading.
#include "lib/matrix_unit/hull.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>

#include "lib/matrix_unit/dot_add.h"
#include "tests/matrix_unit/draw.h"

namespace {

using bitanchor::Format;
using bitanchor::NumberKind;
using bitanchor::Unpack;
using bitanchor::Unpacked;
using bitanchor::matrix_unit::Arithmetic;
using bitanchor::matrix_unit::DotAdd;
using bitanchor::matrix_unit::DotAddHull;
using bitanchor::matrix_unit::Hull;
using bitanchor::matrix_unit::Models;
using bitanchor::matrix_unit::Operand;
using bitanchor::matrix_unit::Reading;
using bitanchor::testing::Draw;
using bitanchor::testing::Model;
using bitanchor::testing::NameOf;
using bitanchor::testing::Result;
using bitanchor::testing::Results;

int64_t Ordered(const Format& format, uint32_t bits) {
  const int64_t size = static_cast<int64_t>(bits & (format.SignBit() - 1));
  return (bits & format.SignBit()) != 0 ? ~size : size;
}
uint32_t Bits(const Format& format, int64_t ordered) {
  return static_cast<uint32_t>(ordered < 0 ? format.SignBit() | static_cast<uint64_t>(~ordered)
                                           : static_cast<uint64_t>(ordered));
}
bool IsNaN(const Format& format, uint32_t bits) {
  return (bits & (format.SignBit() - 1)) > format.InfinityBits();
}

struct Group {
  std::vector<uint32_t> a_low, a_high, b;  // bits; each a is one or the other
  Hull c;
};

std::vector<Unpacked> Operands(const Model& model, const std::vector<uint32_t>& bits) {
  std::vector<Unpacked> operands;
  for (const uint32_t x : bits) operands.push_back(Operand(model, x));
  return operands;
}

// Every answer; `visit` takes its bits.
template <typename Visit>
void Enumerate(const Model& model, const Result& result, const Group& group, const Visit& visit) {
  std::vector<size_t> open;
  for (size_t k = 0; k < group.b.size(); ++k) {
    if (group.a_low[k] != group.a_high[k]) open.push_back(k);
  }
  const auto low = Operands(model, group.a_low), high = Operands(model, group.a_high);
  const auto b = Operands(model, group.b);
  for (uint32_t choice = 0; choice < uint32_t{1} << open.size(); ++choice) {
    std::vector<Unpacked> a = low;
    for (size_t n = 0; n < open.size(); ++n) {
      if (choice >> n & 1) a[open[n]] = high[open[n]];
    }
    const int64_t last = Ordered(result.storage, group.c.high);
    for (int64_t at = Ordered(result.storage, group.c.low); at <= last; ++at) {
      for (const Reading& reading : result.readings) {
        bool corner = false;
        visit(DotAdd(model, result, reading, a, b, Bits(result.storage, at), corner));
      }
    }
  }
}

Hull BruteForce(const Model& model, const Result& result, const Group& group) {
  std::optional<int64_t> low, high;
  bool nan = false;
  Enumerate(model, result, group, [&](uint32_t bits) {
    if (IsNaN(result.storage, bits)) {
      nan = true;
      return;
    }
    const int64_t at = Ordered(result.storage, bits);
    low = std::min(low.value_or(at), at);
    high = std::max(high.value_or(at), at);
  });
  if (nan && !low) return {result.nan, result.nan};
  if (nan) {
    return {static_cast<uint32_t>(result.storage.SignBit() | result.storage.InfinityBits()),
            result.nan};
  }
  return {Bits(result.storage, *low), Bits(result.storage, *high)};
}

bool Contains(const Format& format, const Hull& hull, uint32_t bits) {
  if (IsNaN(format, hull.high)) return !IsNaN(format, hull.low) || IsNaN(format, bits);
  return !IsNaN(format, bits) && Ordered(format, hull.low) <= Ordered(format, bits) &&
         Ordered(format, bits) <= Ordered(format, hull.high);
}

Hull HullOf(const Model& model, const Result& result, const Group& group) {
  return DotAddHull(model, result, Operands(model, group.a_low), Operands(model, group.a_high),
                    Operands(model, group.b), group.c);
}

std::string Say(const Group& group) {
  std::string text = "c " + std::to_string(group.c.low) + " " + std::to_string(group.c.high);
  for (size_t k = 0; k < group.b.size(); ++k) {
    text += "\n  " + std::to_string(group.a_low[k]) + " " + std::to_string(group.a_high[k]) +
            " * " + std::to_string(group.b[k]);
  }
  return text;
}

class HullTest : public ::testing::TestWithParam<Model> {};

// An interval of c of at most so many steps, about something that matters.
Hull DrawC(const Result& result, Draw& draw, uint32_t answer_without_c, uint32_t most) {
  const Format& format = result.storage;
  const int64_t infinity = static_cast<int64_t>(format.InfinityBits());
  int64_t about = Ordered(format, draw.Bits(static_cast<int>(draw.Below(Draw::kWays))));
  const uint32_t way = draw.Below(8);
  if (way == 0) about = 0;
  if (way == 1) about = -1;
  if (way == 2 && !IsNaN(format, answer_without_c)) {  // what the products cancel
    about = Ordered(format, answer_without_c ^ static_cast<uint32_t>(format.SignBit()));
  }
  if (way == 3) {  // a border between binades
    about = static_cast<int64_t>(draw.Below(static_cast<uint32_t>(infinity >> format.StoredBits())))
            << format.StoredBits();
    if (draw.Below(2) == 0) about = ~about;
  }
  if (way >= 6 && !IsNaN(format, answer_without_c)) {  // such a border above the products
    const int64_t size = static_cast<int64_t>(answer_without_c & (format.SignBit() - 1));
    const int64_t field = (size >> format.StoredBits()) + draw.Below(27) - 3;
    about = std::max<int64_t>(field, 0) << format.StoredBits();
    if (draw.Below(2) == 0) about = ~about;
  }
  if (way == 4 && draw.Below(4) == 0) about = draw.Below(2) == 0 ? infinity : ~infinity;
  about = std::clamp(about, ~infinity, infinity);
  const int64_t low = about - draw.Below(most), high = about + draw.Below(most);
  return {Bits(format, std::max(low, ~infinity)), Bits(format, std::min(high, infinity))};
}

// So that products are about 2^-152, of which 16 vanish singly and not together.
uint32_t TinyFactor(const Format& format, Draw& draw) {
  const uint32_t normal = uint32_t{1} << format.StoredBits();
  const uint32_t exponent = static_cast<uint32_t>(-78 - format.min_exponent + 1) + draw.Below(4);
  return exponent * normal + draw.Below(normal);
}

Group DrawGroup(const Model& model, const Result& result, Draw& draw, uint32_t most_open,
                uint32_t most_c) {
  const uint32_t infinity = static_cast<uint32_t>(model.format.InfinityBits());
  const bool has_infinity = model.format.specials == bitanchor::Specials::kIEEE;
  Group group;
  const int way = static_cast<int>(draw.Below(Draw::kWays));
  const uint32_t sign_bit = static_cast<uint32_t>(model.format.SignBit());
  const bool tiny = model.format.min_exponent < -78 && draw.Below(5) == 0;
  const bool one_sign = draw.Below(2) == 0;  // so that what is cut off adds up
  const uint32_t all_negative = draw.Below(2) == 0 ? sign_bit : 0;
  const uint32_t L = static_cast<uint32_t>(model.products);
  const uint32_t count = one_sign ? L : 1 + draw.Below(L);
  uint32_t open = 0;
  for (uint32_t k = 0; k < count; ++k) {
    // The weights are not negative, as softmax's; now and then they are.
    uint32_t a = draw.Bits(way) & ~sign_bit;
    const uint32_t sign = !one_sign && draw.Below(3) == 0 ? sign_bit : 0;
    if (draw.Below(40) == 0) a = infinity + draw.Below(2);
    group.a_low.push_back(a | sign);
    group.a_high.push_back(a | sign);
    if (open < most_open && draw.Below(3) == 0 && a + (has_infinity ? 0 : 1) < infinity) {
      ++open;
      (sign == 0 ? group.a_high : group.a_low).back() = (a + 1) | sign;
    }
    uint32_t b = draw.Bits(draw.Below(8) == 0 ? static_cast<int>(draw.Below(Draw::kWays)) : way);
    if (one_sign) b = (b & ~sign_bit) | all_negative;
    if (tiny) {
      b = (b & sign_bit) | TinyFactor(model.format, draw);
      a = TinyFactor(model.format, draw);
      group.a_low.back() = group.a_high.back() = a | sign;
    }
    if (draw.Below(30) == 0) b = infinity + draw.Below(2);
    group.b.push_back(b);
  }
  bool corner = false;
  const uint32_t without_c = DotAdd(model, result, result.readings[0], Operands(model, group.a_low),
                                    Operands(model, group.b), 0, corner);
  group.c = DrawC(result, draw, without_c, most_c);
  return group;
}

TEST_P(HullTest, IsWhatGoingThroughAllGives) {
  const Model& model = GetParam();
  int finite = 0, wide = 0, anything = 0, nan = 0;
  for (const Result* result : Results(model)) {
    Draw draw(model.format, 20);
    constexpr uint32_t kSteps[] = {2, 3, 5, 40};
    for (int n = 0; n < 1500; ++n) {
      const Group group = DrawGroup(model, *result, draw, 3, kSteps[n % 4]);
      const Hull want = BruteForce(model, *result, group), got = HullOf(model, *result, group);
      const bool high_nan = IsNaN(result->storage, want.high);
      const bool low_nan = IsNaN(result->storage, want.low);
      finite += !high_nan;
      nan += low_nan;
      anything += high_nan && !low_nan;
      wide += want.low != want.high;
      ASSERT_EQ(got.low, want.low) << "case " << n << " " << Say(group);
      ASSERT_EQ(got.high, want.high) << "case " << n << " " << Say(group);
    }
  }
  EXPECT_GT(finite, 300);
  EXPECT_GT(wide, 150);
  const bool has_infinity = model.format.specials == bitanchor::Specials::kIEEE;
  EXPECT_TRUE(anything > 0 || !has_infinity);  // inf - inf of some
  EXPECT_GT(nan, 0);
}

// Wide ones by samples: never narrower than what is in them.
TEST_P(HullTest, HoldsWhatIsDrawnFromIt) {
  const Model& model = GetParam();
  int64_t bounded = 0;
  for (const Result* result : Results(model)) {
    const Format& format = result->storage;
    const uint32_t infinity = static_cast<uint32_t>(model.format.InfinityBits());
    Draw draw(model.format, 21);
    for (int n = 0; n < 400; ++n) {
      Group group = DrawGroup(model, *result, draw, 0, 1 + (1u << draw.Below(31)));
      for (size_t k = 0; k < group.b.size() && n % 3 != 0; ++k) {  // many, or far ones
        const uint32_t a = group.a_low[k] & ~static_cast<uint32_t>(model.format.SignBit());
        if (a >= infinity || group.a_low[k] != a) continue;
        group.a_high[k] = std::min(a + draw.Below(n % 3 == 1 ? 2 : 9), infinity - 1);
      }
      const Hull hull = HullOf(model, *result, group);
      bounded += !IsNaN(format, hull.high);
      const auto b = Operands(model, group.b);
      const int64_t low = Ordered(format, group.c.low), high = Ordered(format, group.c.high);
      for (int sample = 0; sample < 30; ++sample) {
        std::vector<uint32_t> a = group.a_low;
        for (size_t k = 0; k < a.size(); ++k) {
          if (a[k] != group.a_high[k]) a[k] += draw.Below(group.a_high[k] - a[k] + 1);
        }
        const uint64_t steps = static_cast<uint64_t>(high - low) + 1;
        const int64_t at = low + static_cast<int64_t>(
                                     (uint64_t{draw.Below(1u << 31)} * 2 + draw.Below(2)) % steps);
        for (const Reading& reading : result->readings) {
          bool corner = false;
          const uint32_t d =
              DotAdd(model, *result, reading, Operands(model, a), b, Bits(format, at), corner);
          ASSERT_TRUE(Contains(format, hull, d))
              << "case " << n << ": " << d << " not in " << hull.low << " .. " << hull.high << " "
              << Say(group);
        }
      }
    }
  }
  EXPECT_GT(bounded, 200);
}

TEST_P(HullTest, OfAnythingIsAnything) {
  const Model& model = GetParam();
  const std::vector<uint32_t> one = {model.format.StoredBits() > 0 ? 1u : 0u};
  const Format& format = model.f32.storage;
  const uint32_t minus_infinity = static_cast<uint32_t>(format.SignBit() | format.InfinityBits());
  const Hull got = HullOf(model, model.f32, {one, one, one, {minus_infinity, model.f32.nan}});
  EXPECT_EQ(got.low, minus_infinity);
  EXPECT_TRUE(IsNaN(format, got.high));
  const Hull nan = HullOf(model, model.f32, {one, one, one, {model.f32.nan, model.f32.nan}});
  EXPECT_EQ(nan, (Hull{model.f32.nan, model.f32.nan}));
}

std::vector<Model> Truncated() {
  std::vector<Model> models;
  for (const Model& model : Models()) {
    if (model.arithmetic == Arithmetic::kTruncatedSum) models.push_back(model);
  }
  return models;
}

INSTANTIATE_TEST_SUITE_P(Models, HullTest, ::testing::ValuesIn(Truncated()),
                         [](const auto& test) { return NameOf(test.param); });

}  // namespace
